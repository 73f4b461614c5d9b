"""Whether a copy could be made now: server, release, rights, programs, tables. Changes nothing.

A dump leaves out silently, with exit status 0, the triggers and procedures that its account may not see.
So a missing privilege is looked for before, in what SHOW GRANTS says.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tasks.errors import ProgramError, SourceError, SourceMissing
from tasks.sources.mariadb.connection import MariadbLogin, ServerFacts, connected, describe
from tasks.sources.mariadb.copy import OUTSIDE_HINT, live_bytes, outside, unfit
from tasks.sources.mariadb.programs import Programs
from tasks.sources.shared.odbc import fetch

OLDEST = (10, 6)
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ELSEWHERE = (
    "Run Datasave on the machine of the database server for `method: physical`, or set `method: dump`."
)


# BACKUP STAGE, FLUSH; INNODB_SYS_TABLES; the position in the binary log.
PHYSICAL = ("RELOAD", "PROCESS", "BINLOG MONITOR")
DUMP = ("SELECT", "SHOW VIEW", "TRIGGER", "EVENT")
# Blocks commits for the moment in which the dump's snapshot and that of its counts are opened.
DUMP_SERVER = ("RELOAD",)
_OTHER_NAMES = {"BINLOG MONITOR": ("REPLICATION CLIENT",)}
_GRANT = re.compile(r"GRANT (?P<what>.+?) ON (?P<on>.+?) TO ", re.DOTALL)


def ready_to_copy(
    login: MariadbLogin, database: str, method: str, folder: Path | None
) -> tuple[ServerFacts, int]:
    """What the server is, and the bytes that a copy will have. Raises SourceMissing or SourceError.

    ``folder`` is where the plan says the programs are.
    """
    operation = f"back up the database {database} at {login.place}"
    # A physical copy's account may use no database at all.
    with connected(login, operation, database if method == "dump" else None) as connection:
        server = describe(connection)
        if server.mariadb:
            # These queries take a moment: a server that needs longer has a problem of its own.
            fetch(connection, "SET SESSION max_statement_time = 60")
        _require_release(server, method, operation)
        _require_rights(connection, server, database, method, operation)
        _require_programs(Programs(folder, server.name), server, method, operation)
        if method == "dump":
            return server, _ready_to_dump(connection, server, operation)
        return server, _ready_for_files(connection, login, server, database, operation)


def _require_release(server: ServerFacts, method: str, operation: str) -> None:
    if not server.mariadb and method == "physical":
        raise SourceError(
            f"cannot {operation}: this is a MySQL server, whose files mariadb-backup cannot copy",
            hint="Set `method: dump` in the plan.",
        )
    if server.mariadb and server.release < OLDEST:
        raise SourceError(
            f"cannot {operation}: MariaDB {server.name} is older than 10.6",
            hint="Upgrade the server to a release that is still maintained.",
        )


def _require_rights(connection: Any, server: ServerFacts, database: str, method: str, operation: str) -> None:
    lines = [str(line) for (line,) in fetch(connection, "SHOW GRANTS")]
    lacking = missing_rights(method, database, lines, mariadb=server.mariadb)
    if lacking:
        raise SourceError(
            f"cannot {operation}: the account lacks {', '.join(lacking)}",
            hint="Give it the rights that `datasave doctor --grants` prints; a dump without them would be "
            "incomplete.",
        )


def _require_programs(programs: Programs, server: ServerFacts, method: str, operation: str) -> None:
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


def _ready_to_dump(connection: Any, server: ServerFacts, operation: str) -> int:
    unsafe = unfit(connection, history=server.dumps_history)
    if unsafe:
        more = f" and {len(unsafe) - 3} more" if len(unsafe) > 3 else ""
        raise SourceError(
            f"cannot {operation}: a dump beside running work would not hold "
            f"{', '.join(unsafe[:3])}{more} right",
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


def is_here(login: MariadbLogin, server: ServerFacts) -> bool:
    """Whether the server runs on this machine."""
    return login.host in (None, *LOOPBACK) and server.machine.lower() == platform.node().lower()


def _ready_for_files(
    connection: Any, login: MariadbLogin, server: ServerFacts, database: str, operation: str
) -> int:
    """The files must be here, and be this very server's: another's may lie under the same name."""
    if not is_here(login, server):
        raise SourceError(
            f"cannot {operation}: the server runs on another machine ({server.machine})", hint=_ELSEWHERE
        )
    if "/" in server.system_files or "\\" in server.system_files:
        raise SourceError(
            f"cannot {operation}: its system files lie outside the data folder (innodb_data_file_path)",
            hint=OUTSIDE_HINT,
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
        strangers = outside(server.data)
        if strangers:
            raise SourceError(
                f"cannot {operation}: table {strangers[0]} lies outside the data folder",
                hint=OUTSIDE_HINT,
            )
        return live_bytes(server.data)
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


def _require_database(connection: Any, server: ServerFacts, database: str, operation: str) -> None:
    name = database.lower() if server.names_folded == 1 else database
    sql = "SELECT HEX(CONVERT(CONVERT(? USING utf8mb4) USING filename))"
    folder = server.data / bytes.fromhex(str(fetch(connection, sql, name)[0][0])).decode("ascii")
    if not folder.is_dir():
        raise SourceMissing(
            f"cannot {operation}: there is no such database", hint="Check `database` in the plan."
        )
    if not any(folder.glob("*.frm")):
        raise SourceError(f"cannot {operation}: it has no tables", hint="Check `database` in the plan.")


def grants_for(method: str, database: str, account: str, host: str, *, password: bool) -> str:
    """SQL that makes the account with just these rights. The password is left for the reader to put in."""
    who = f"{_text(account)}@{_text(host)}"
    if password:
        lines = [
            "-- Put a password of your own into the first statement, if the account is new.",
            f"CREATE USER IF NOT EXISTS {who} IDENTIFIED BY 'put-a-long-password-here';",
        ]
    else:
        lines = [f"CREATE USER IF NOT EXISTS {who} IDENTIFIED VIA unix_socket;"]
    if method == "physical":
        lines.append(f"GRANT {', '.join(PHYSICAL)} ON *.* TO {who};")
    else:
        lines += [
            f"GRANT {', '.join(DUMP_SERVER)} ON *.* TO {who};",
            f"GRANT {', '.join(DUMP)} ON {pattern_of(database)}.* TO {who};",
            "-- On MySQL put SHOW_ROUTINE ON *.* in the place of SELECT ON mysql.proc.",
            f"GRANT SELECT ON mysql.proc TO {who};",
        ]
    return "\n".join([*lines, ""])


def pattern_of(database: str) -> str:
    """A database's name as GRANT takes it: there _ and % stand for other letters unless escaped."""
    escaped = re.sub(r"([_%\\])", r"\\\1", database)
    return f"`{escaped.replace('`', '``')}`"


def missing_rights(method: str, database: str, grants: Iterable[str], *, mariadb: bool = True) -> list[str]:
    """Privileges that the account lacks, given the lines of its SHOW GRANTS."""
    held = [_parsed(line) for line in grants]
    server = _on(held, lambda on: on == "*.*")
    if method == "physical":
        return [f"{name} ON *.*" for name in _lacking(PHYSICAL, server)]
    own = server | _on(held, lambda on: _covers(on, database))
    lacking = [f"{name} ON *.*" for name in _lacking(DUMP_SERVER, server)]
    lacking += [f"{name} ON {database}.*" for name in _lacking(DUMP, own)]
    # Whose code a procedure is, and what it says, is shown to nobody else.
    proc = server | _on(held, lambda on: on.replace("`", "") in ("mysql.proc", "mysql.*"))
    reads_code = "SHOW CREATE ROUTINE" in own or {"SELECT", "SHOW_ROUTINE", "ALL PRIVILEGES"} & proc
    if not reads_code:
        lacking.append("SELECT ON mysql.proc" if mariadb else "SHOW_ROUTINE ON *.*")
    return lacking


def _parsed(line: str) -> tuple[set[str], str]:
    """Privileges and what they are on; nothing for a line that grants a role."""
    found = _GRANT.match(line)
    if found is None:
        return set(), ""
    # Rights on single columns stand in brackets: such a right is not one on the whole.
    names = re.sub(r"\w[\w ]* \([^)]*\)", "", found["what"]).split(",")
    return {name.strip().upper() for name in names if name.strip()}, found["on"]


def _on(held: Sequence[tuple[set[str], str]], fits: Callable[[str], bool]) -> set[str]:
    return set().union(*(names for names, on in held if on and fits(on)))


def _lacking(wanted: Iterable[str], held: set[str]) -> list[str]:
    if "ALL PRIVILEGES" in held:
        return []
    return [name for name in wanted if not held & {name, *_OTHER_NAMES.get(name, ())}]


def _covers(on: str, database: str) -> bool:
    """Whether a GRANT's target, as SHOW GRANTS writes it, covers every table of the database."""
    if not on.startswith("`") or not on.endswith("`.*"):
        return False
    pattern, letters = on[1:-3].replace("``", "`"), ""
    for part in re.findall(r"\\.|.", pattern, re.DOTALL):
        letters += {"_": ".", "%": ".*"}.get(part, re.escape(part[-1]))
    return re.fullmatch(letters, database, re.DOTALL) is not None


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
