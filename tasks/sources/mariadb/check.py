"""Whether a copy could be made now: server, release, rights, programs, tables. Changes nothing."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from tasks.errors import ProgramError, SourceError, SourceMissing
from tasks.sources.mariadb import grants as mariadb_rights
from tasks.sources.mariadb import logical as mariadb_dump
from tasks.sources.mariadb import physical as mariadb_physical
from tasks.sources.mariadb.connection import Login, Server, connected, describe
from tasks.sources.mariadb.programs import Programs
from tasks.sources.shared.odbc import fetch

OLDEST = (10, 6)
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ELSEWHERE = (
    "Run Datasave on the machine of the database server for `method: physical`, or set `method: dump`."
)


def ready_to_copy(login: Login, database: str, method: str, folder: Path | None) -> tuple[Server, int]:
    """What the server is, and the bytes that a copy will have. Raises SourceMissing or SourceError.

    ``folder`` is where the plan says the programs are.
    """
    operation = f"back up the database {database} at {login.place}"
    # A physical copy's account may use no database at all.
    with connected(login, operation, database if method == "dump" else None) as connection:
        server = describe(connection)
        if server.mariadb:
            # Questions of a moment: a server that cannot answer them by then is in trouble.
            fetch(connection, "SET SESSION max_statement_time = 60")
        _require_release(server, method, operation)
        _require_rights(connection, server, database, method, operation)
        _require_programs(Programs(folder, server.name), server, method, operation)
        if method == "dump":
            return server, _ready_to_dump(connection, operation)
        return server, _ready_for_files(connection, login, server, database, operation)


def _require_release(server: Server, method: str, operation: str) -> None:
    if not server.mariadb and method == "physical":
        raise SourceError(
            f"cannot {operation}: this is a MySQL server, whose files mariadb-backup cannot copy",
            hint="Set `method: dump` in the plan.",
        )
    if server.mariadb and server.release < OLDEST:
        raise SourceError(
            f"cannot {operation}: MariaDB {server.name} is older than 10.6",
            hint="Have the server brought to a release that is still maintained.",
        )


def _require_rights(connection: Any, server: Server, database: str, method: str, operation: str) -> None:
    lines = [str(line) for (line,) in fetch(connection, "SHOW GRANTS")]
    lacking = mariadb_rights.missing(method, database, lines, mariadb=server.mariadb)
    if lacking:
        raise SourceError(
            f"cannot {operation}: the account lacks {', '.join(lacking)}",
            hint="Give it the rights that `datasave doctor --grants` prints; a dump without them would be "
            "incomplete.",
        )


def _require_programs(programs: Programs, server: Server, method: str, operation: str) -> None:
    """Those that copy, and those that will open the copy: better missed now than after the copy."""
    try:
        if method == "physical":
            programs.matching("mariadb-backup", "mariabackup")
            programs.find("innochecksum")
        else:
            programs.matching(*(("mariadb-dump", "mysqldump") if server.mariadb else ("mysqldump",)))
            programs.matching(*(("mariadb", "mysql") if server.mariadb else ("mysql",)))
            if server.mariadb:
                programs.find("mariadb-install-db", "mysql_install_db")
        programs.matching(*(("mariadbd", "mysqld") if server.mariadb else ("mysqld",)))
    except ProgramError as error:
        raise SourceError(f"cannot {operation}: {error.message}", hint=error.hint) from error


def _ready_to_dump(connection: Any, operation: str) -> int:
    unfit = mariadb_dump.unfit(connection)
    if unfit:
        more = f" and {len(unfit) - 3} more" if len(unfit) > 3 else ""
        raise SourceError(
            f"cannot {operation}: a dump beside running work would not hold "
            f"{', '.join(unfit[:3])}{more} right",
            hint="Make them InnoDB (ALTER TABLE … ENGINE=InnoDB), or set `method: physical` in the plan.",
        )
    size = fetch(
        connection,
        "SELECT COUNT(*), SUM(DATA_LENGTH) FROM information_schema.TABLES "
        "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE'",
    )[0]
    if not size[0]:
        raise SourceError(f"cannot {operation}: it has no tables", hint="Check `database` in the plan.")
    return int(size[1] or 0)


def _ready_for_files(connection: Any, login: Login, server: Server, database: str, operation: str) -> int:
    """The files must be here, and be this very server's: another's may lie under the same name."""
    here = login.host in (None, *LOOPBACK) and server.machine.lower() == platform.node().lower()
    if not here:
        raise SourceError(
            f"cannot {operation}: the server runs on another machine ({server.machine})", hint=_ELSEWHERE
        )
    if "/" in server.system_files or "\\" in server.system_files:
        raise SourceError(
            f"cannot {operation}: its system files lie outside the data folder (innodb_data_file_path)",
            hint=mariadb_physical.OUTSIDE_HINT,
        )
    if _encrypted(connection):
        raise SourceError(
            f"cannot {operation}: the server encrypts its files, and a copy of them opens only with its keys",
            hint="Set `method: dump` in the plan: backups are encrypted to your holders anyway.",
        )
    try:
        if not server.data.is_dir() or not os.access(server.data, os.R_OK | os.X_OK):
            raise PermissionError
        _require_database(connection, server, database, operation)
        strangers = mariadb_physical.outside(server.data)
        if strangers:
            raise SourceError(
                f"cannot {operation}: table {strangers[0]} lies outside the data folder",
                hint=mariadb_physical.OUTSIDE_HINT,
            )
        return mariadb_physical.live_bytes(server.data)
    except OSError as error:
        raise SourceError(
            f"cannot {operation}: the data folder {server.data} cannot be read from here",
            hint=f"Run Datasave as the system's account of the server (mysql), or as root. {_ELSEWHERE}",
        ) from error


def _encrypted(connection: Any) -> bool:
    """Whether tables or the log are encrypted by the server: its keys are not in the data folder."""
    counts = fetch(
        connection,
        "SELECT COUNT(*) + @@innodb_encrypt_log + @@aria_encrypt_tables "
        "FROM information_schema.INNODB_TABLESPACES_ENCRYPTION WHERE CURRENT_KEY_VERSION <> 0",
    )
    return bool(counts[0][0])


def _require_database(connection: Any, server: Server, database: str, operation: str) -> None:
    name = database.lower() if server.names_folded == 1 else database
    sql = "SELECT HEX(CONVERT(CONVERT(? USING utf8mb4) USING filename))"
    folder = server.data / bytes.fromhex(str(fetch(connection, sql, name)[0][0])).decode("ascii")
    if not folder.is_dir():
        raise SourceMissing(
            f"cannot {operation}: there is no such database", hint="Check `database` in the plan."
        )
    if not any(folder.glob("*.frm")):
        raise SourceError(f"cannot {operation}: it has no tables", hint="Check `database` in the plan.")
