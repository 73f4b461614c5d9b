"""SQL Server's own checks of a backup: its checksums, its header, a restore in scratch, DBCC CHECKDB."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tasks.errors import DatasaveError
from tasks.records import Finding
from tasks.sources.sqlserver.connection import Row, literal, query, run_to_end
from tasks.sources.sqlserver.copy import BACKUP_NAME, recorded_database
from tasks.sources.sqlserver.errors import SqlError, failure
from tasks.sources.sqlserver.scratch import ScratchServer, leave_note

NO_SERVER = "needs a SQL Server instance: use a plan that names one"
_FULL_DATABASE = 1


def check_copy(server: ScratchServer, copy: Path, scratch: Path) -> list[Finding]:
    """All findings about the copy, up to the first that did not pass.

    A scratch database is left for ``open`` where all passed, named by a note in ``scratch``; else there is
    none. Raises SourceError where the server, and not the copy, is what does not work.
    """
    backup = copy / BACKUP_NAME
    if not backup.is_file():
        return [Finding(check="backup present", passed=False, detail=f"the copy holds no {BACKUP_NAME}")]
    server.exchange.sweep()
    server.sweep()
    findings = [
        *_stage("backup checksums", lambda: _checksums(server, backup)),
        *_stage("backup header", lambda: _header(server, backup, recorded_database(copy))),
    ]
    if not all(finding.passed for finding in findings):
        return findings
    try:
        name = server.restore(backup)
    except SqlError as error:
        return [*findings, _failed("restore in scratch", error)]
    findings.append(
        Finding(check="restore in scratch", passed=True, detail="restored under a name of its own")
    )
    try:
        findings += _stage("DBCC CHECKDB", lambda: _check_database(server, name))
        passed = all(finding.passed for finding in findings)
        if passed:
            leave_note(scratch, name)
    except BaseException:
        with suppress(DatasaveError):
            server.drop(name)
        raise
    if not passed:
        server.drop(name)
    return findings


def _stage(check: str, run: Callable[[], str]) -> list[Finding]:
    """What ``run`` says of the copy: a detail, or a fault."""
    try:
        return [Finding(check=check, passed=True, detail=run())]
    except _Unfit as unfit:
        return [Finding(check=check, passed=False, detail=str(unfit))]
    except SqlError as error:
        return [_failed(check, error)]


class _Unfit(Exception):
    """What the server says about the copy is not what it should be."""


def _failed(check: str, error: SqlError) -> Finding:
    """The finding for a fault of the copy. Raises SourceError where it is the server's or our rights'."""
    if not error.of_the_copy:
        raise failure(f"cannot check the backup ({check})", error) from None
    numbers = ", ".join(str(number) for number in dict.fromkeys(error.numbers))
    return Finding(check=check, passed=False, detail=f"{error.fault.cause} (SQL Server error {numbers})")


def verify(server: ScratchServer, backup: Path) -> None:
    """Have the server check the backup's checksums. Raises SqlError where it finds fault."""
    with server.exchange.placed(backup) as device, server.login.connect() as connection:
        run_to_end(connection, f"RESTORE VERIFYONLY FROM DISK = {literal(device)} WITH CHECKSUM")


def read_headers(server: ScratchServer, backup: Path) -> list[Row]:
    """The header of each backup in the file, one where all is well. Raises SqlError."""
    with server.exchange.placed(backup) as device, server.login.connect() as connection:
        return query(connection, f"RESTORE HEADERONLY FROM DISK = {literal(device)}")


def _checksums(server: ScratchServer, backup: Path) -> str:
    verify(server, backup)
    return "every page has its checksum"


def _header(server: ScratchServer, backup: Path, database: str) -> str:
    rows = read_headers(server, backup)
    if len(rows) != 1:
        raise _Unfit(f"the file holds {len(rows)} backups, not one")
    row = rows[0]
    wanted = {
        "is no full backup of a database": int(row["BackupType"]) == _FULL_DATABASE,
        "holds no checksums": bool(row["HasBackupChecksums"]),
        "was made from damaged pages": not row["IsDamaged"],
        "is not COPY_ONLY": bool(row["IsCopyOnly"]),
        "is of another database than recorded": row["DatabaseName"] == database,
    }
    wrong = [told for told, right in wanted.items() if not right]
    if wrong:
        raise _Unfit(f"the backup {' and '.join(wrong)}")
    return f"full, with checksums, copy only; {str(row['RecoveryModel']).lower()} recovery model"


def _check_database(server: ScratchServer, name: str) -> str:
    """DBCC CHECKDB, whose every complaint comes as an error."""
    with server.login.connect() as connection:
        run_to_end(connection, f"DBCC CHECKDB ({literal(name)}) WITH NO_INFOMSGS, ALL_ERRORMSGS")
    return "no errors"
