"""Whether a backup could be made now: the server, the database, our rights in both, the folder between."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Any

from tasks.errors import SourceError, SourceMissing
from tasks.sources.sqlserver.connection import Row, Server, bracketed, literal, query, unusable
from tasks.sources.sqlserver.errors import SqlFault
from tasks.sources.sqlserver.exchange import ExchangeFolder

OLDEST_MAJOR = 11
_NO_BACKUP_TO_DISK = {
    5: "Azure SQL Database",
    6: "Azure Synapse",
    8: "Azure SQL Managed Instance",
    11: "Synapse",
}
_GRANTS = "Run what `datasave grants` prints, as an administrator of the SQL Server."


@dataclass(frozen=True)
class State:
    """What was found: sizes in bytes, of the used pages and of all files with the free room in them."""

    version: str
    edition: str
    recovery_model: str
    used: int
    allocated: int


def examine(server: Server, database: str, *, encrypted_ok: bool) -> State:
    """Look at server and database. Raises SourceMissing or SourceError."""
    try:
        with server.connect() as connection:
            version, edition = _version(server, connection)
            row = _database_row(connection, server, database)
            _refuse_unfit(connection, row, database, encrypted_ok=encrypted_ok)
        with server.connect(database) as connection:
            _require_backup_right(connection, database)
            used, allocated = _sizes(connection)
    except SqlFault as fault:
        what = f"look at the database {database} on {server.address}"
        raise unusable(what, fault, SourceMissing if fault.has(911) else SourceError) from None
    return State(version, edition, str(row["recovery_model_desc"]), used, allocated)


def examine_scratch(server: Server) -> None:
    """Look whether scratch databases could be made there. Raises SourceError."""
    asked = "SELECT HAS_PERMS_BY_NAME(NULL, NULL, N'CREATE ANY DATABASE') AS allowed"
    try:
        with server.connect() as connection:
            allowed = query(connection, asked)[0]["allowed"]
    except SqlFault as fault:
        raise unusable(f"look at the server {server.address}", fault) from None
    if not allowed:
        raise SourceError(
            f"the login may not restore in scratch on {server.address}: CREATE ANY DATABASE is missing",
            hint=_GRANTS,
        )


def examine_folder(passage: ExchangeFolder, state: State) -> None:
    """Look whether the folder has room for a backup and a restored database. Raises SourceError."""
    try:
        next(passage.here.iterdir(), None)
        free = shutil.disk_usage(passage.here).free
    except OSError as error:
        raise SourceError(
            f"cannot read the backup folder {passage.here}: {error.strerror}",
            hint="Make the folder; the SQL Server service and the account of Datasave must both be able to "
            "write there, and nobody else.",
        ) from error
    needed = state.used + state.allocated
    if free < needed:
        raise SourceError(
            f"the backup folder {passage.here} has {free >> 20} MiB free, a backup and its rehearsal need "
            f"{needed >> 20} MiB",
            hint="Free some space there, or name a folder on a larger disk.",
        )


def _version(server: Server, connection: Any) -> tuple[str, str]:
    row = query(
        connection,
        "SELECT CAST(SERVERPROPERTY(N'ProductVersion') AS nvarchar(128)) AS version, "
        "CAST(SERVERPROPERTY(N'Edition') AS nvarchar(128)) AS edition, "
        "CAST(SERVERPROPERTY(N'EngineEdition') AS int) AS engine",
    )[0]
    if row["engine"] in _NO_BACKUP_TO_DISK:
        raise SourceError(
            f"{server.address} is {_NO_BACKUP_TO_DISK[row['engine']]}, which cannot back up to a disk",
            hint="Use the backups of that service; Datasave needs a SQL Server with disks of its own.",
        )
    if int(str(row["version"]).split(".")[0]) < OLDEST_MAJOR:
        raise SourceError(
            f"{server.address} is SQL Server {row['version']}, older than 2012",
            hint="Upgrade it: Microsoft stopped mending that version.",
        )
    return str(row["version"]), str(row["edition"])


def _database_row(connection: Any, server: Server, database: str) -> Row:
    columns = "state_desc, recovery_model_desc, is_encrypted, source_database_id"
    rows = query(connection, f"SELECT {columns} FROM sys.databases WHERE name = {literal(database)}")  # noqa: S608 - quoted
    if not rows:
        raise SourceMissing(
            f"there is no database {database} on {server.address}",
            hint="Check `database` in the plan. A login without VIEW ANY DATABASE sees its own ones only.",
        )
    return rows[0]


def _refuse_unfit(connection: Any, row: Row, database: str, *, encrypted_ok: bool) -> None:
    if row["state_desc"] != "ONLINE":
        raise SourceError(
            f"the database {database} is {str(row['state_desc']).lower()}, not online",
            hint="Bring it online, then run the backup again.",
            permanent=False,
        )
    if row["source_database_id"] is not None:
        raise SourceError(
            f"the database {database} is a snapshot of another", hint="Name the database itself in the plan."
        )
    if row["is_encrypted"] and not encrypted_ok:
        raise SourceError(
            f"the database {database} is encrypted by the server (TDE): backups open only with a certificate",
            hint="Back up that certificate (BACKUP CERTIFICATE) to where the holders keep their keys, then "
            "set `certificate_kept: true` in the plan.",
        )
    if not query(connection, f"SELECT HAS_DBACCESS({literal(database)}) AS allowed")[0]["allowed"]:
        raise SourceError(f"the login has no access to the database {database}", hint=_GRANTS)


def _require_backup_right(connection: Any, database: str) -> None:
    name = literal(bracketed(database))
    asked = f"SELECT HAS_PERMS_BY_NAME({name}, N'DATABASE', N'BACKUP DATABASE') AS allowed"
    if not query(connection, asked)[0]["allowed"]:
        raise SourceError(f"the login may not back up the database {database}", hint=_GRANTS)


def _sizes(connection: Any) -> tuple[int, int]:
    """Bytes used, which leaves the log out, and bytes allocated. A filestream's `size` is what it holds."""
    row = query(
        connection,
        "SELECT SUM(CASE type WHEN 0 THEN CAST(FILEPROPERTY(name, N'SpaceUsed') AS bigint) WHEN 1 THEN 0 "
        "ELSE CAST(size AS bigint) END) AS used, SUM(CAST(size AS bigint)) AS allocated "
        "FROM sys.database_files",
    )[0]
    return int(row["used"] or 0) * 8192, int(row["allocated"] or 0) * 8192
