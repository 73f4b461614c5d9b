"""Whether a backup could be made now: the server, the database, our rights in both, the exchange folder.

And the statements that grant those rights.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.errors import SourceError, SourceMissing
from tasks.sources.sqlserver.connection import Row, ServerLogin, bracketed, literal, query
from tasks.sources.sqlserver.errors import RIGHTS, SqlError, failure

OLDEST_MAJOR = 11
_NO_BACKUP_TO_DISK = {
    5: "Azure SQL Database",
    6: "Azure Synapse",
    8: "Azure SQL Managed Instance",
    11: "Synapse",
}

_GRANTS = """\
-- Run as an administrator of the SQL Server that holds the database.
USE [master];
CREATE LOGIN [datasave] WITH PASSWORD = N'<a long password>', CHECK_POLICY = ON;
-- To check backups, and to restore them in scratch under names of their own:
GRANT CREATE ANY DATABASE TO [datasave];
-- Only to show how far a backup is:
GRANT VIEW SERVER STATE TO [datasave];
USE {database};
CREATE USER [datasave] FOR LOGIN [datasave];
-- To back up; this does not let it read a single row:
ALTER ROLE [db_backupoperator] ADD MEMBER [datasave];

-- In the scratch database it reads every table and runs DBCC CHECKDB, which takes db_owner there. Who
-- restores a database owns it; where the server still keeps the old owner's rights inside, `datasave doctor
-- --conformance` says so. Then install a free Express instance, name it as `scratch_server`, and run there:
--   CREATE LOGIN [datasave] WITH PASSWORD = N'<the same password>';
--   ALTER SERVER ROLE [sysadmin] ADD MEMBER [datasave];
-- For a Windows account write CREATE LOGIN [MACHINE\\account] FROM WINDOWS, and that name for [datasave].
-- Let the accounts of the SQL Server service and of Datasave into `backup_folder`, and nobody else.
"""


@dataclass(frozen=True)
class DatabaseState:
    """What was found: sizes in bytes, of the used pages and of all files with the free room in them."""

    version: str
    edition: str
    recovery_model: str
    used: int
    allocated: int


def examine(login: ServerLogin, database: str, *, encrypted_ok: bool) -> DatabaseState:
    """Look at server and database. Raises SourceMissing or SourceError."""
    try:
        with login.connect() as connection:
            version, edition = _version(login, connection)
            row = _database_row(connection, login, database)
            _refuse_unfit(connection, row, database, encrypted_ok=encrypted_ok)
        with login.connect(database) as connection:
            _require_backup_right(connection, database)
            used, allocated = _sizes(connection)
    except SqlError as error:
        operation = f"cannot look at the database {database} on {login.address}"
        raise failure(operation, error) from None
    return DatabaseState(version, edition, str(row["recovery_model_desc"]), used, allocated)


def examine_scratch(login: ServerLogin) -> None:
    """Look whether scratch databases could be made there. Raises SourceError."""
    asked = "SELECT HAS_PERMS_BY_NAME(NULL, NULL, N'CREATE ANY DATABASE') AS allowed"
    try:
        with login.connect() as connection:
            allowed = query(connection, asked)[0]["allowed"]
    except SqlError as error:
        raise failure(f"cannot look at the server {login.address}", error) from None
    if not allowed:
        raise SourceError(
            f"the login may not restore in scratch on {login.address}: CREATE ANY DATABASE is missing",
            hint=RIGHTS,
        )


def examine_folder(folder: Path, state: DatabaseState) -> None:
    """Look whether the folder has room for a backup and a restored database. Raises SourceError."""
    try:
        next(folder.iterdir(), None)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise SourceError(
            f"cannot read the backup folder {folder}: {error.strerror}",
            hint="Make the folder; the SQL Server service and the account of Datasave must both be able to "
            "write there, and nobody else.",
        ) from error
    needed = state.used + state.allocated
    if free < needed:
        raise SourceError(
            f"the backup folder {folder} has {free >> 20} MiB free, a backup and its rehearsal need "
            f"{needed >> 20} MiB",
            hint="Free some space there, or name a folder on a larger disk.",
        )


def grants_for(database: str) -> str:
    """The statements for a login that backs ``database`` up."""
    return _GRANTS.format(database=bracketed(database))


def _version(login: ServerLogin, connection: Any) -> tuple[str, str]:
    row = query(
        connection,
        "SELECT CAST(SERVERPROPERTY(N'ProductVersion') AS nvarchar(128)) AS version, "
        "CAST(SERVERPROPERTY(N'Edition') AS nvarchar(128)) AS edition, "
        "CAST(SERVERPROPERTY(N'EngineEdition') AS int) AS engine",
    )[0]
    if row["engine"] in _NO_BACKUP_TO_DISK:
        raise SourceError(
            f"{login.address} is {_NO_BACKUP_TO_DISK[row['engine']]}, which cannot back up to a disk",
            hint="Use the backups of that service; Datasave needs a SQL Server with disks of its own.",
        )
    if int(str(row["version"]).split(".")[0]) < OLDEST_MAJOR:
        raise SourceError(
            f"{login.address} is SQL Server {row['version']}, older than 2012",
            hint="Upgrade it: Microsoft stopped mending that version.",
        )
    return str(row["version"]), str(row["edition"])


def _database_row(connection: Any, login: ServerLogin, database: str) -> Row:
    columns = "state_desc, recovery_model_desc, is_encrypted, source_database_id"
    rows = query(connection, f"SELECT {columns} FROM sys.databases WHERE name = {literal(database)}")  # noqa: S608 - quoted
    if not rows:
        raise SourceMissing(
            f"there is no database {database} on {login.address}",
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
        raise SourceError(f"the login has no access to the database {database}", hint=RIGHTS)


def _require_backup_right(connection: Any, database: str) -> None:
    name = literal(bracketed(database))
    asked = f"SELECT HAS_PERMS_BY_NAME({name}, N'DATABASE', N'BACKUP DATABASE') AS allowed"
    if not query(connection, asked)[0]["allowed"]:
        raise SourceError(f"the login may not back up the database {database}", hint=RIGHTS)


def _sizes(connection: Any) -> tuple[int, int]:
    """Bytes used, which leaves the log out, and bytes allocated. A filestream's `size` is what it holds."""
    row = query(
        connection,
        "SELECT SUM(CASE type WHEN 0 THEN CAST(FILEPROPERTY(name, N'SpaceUsed') AS bigint) WHEN 1 THEN 0 "
        "ELSE CAST(size AS bigint) END) AS used, SUM(CAST(size AS bigint)) AS allocated "
        "FROM sys.database_files",
    )[0]
    return int(row["used"] or 0) * 8192, int(row["allocated"] or 0) * 8192
