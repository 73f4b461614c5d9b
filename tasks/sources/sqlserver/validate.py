"""SQL Server's own checks of a backup: its checksums, its header, a restore in scratch, DBCC CHECKDB."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tasks.errors import DatasaveError, SourceError
from tasks.records import Finding
from tasks.sources.sqlserver.connection import literal, query, run_to_end, unusable
from tasks.sources.sqlserver.copy import BACKUP_NAME, recorded_database
from tasks.sources.sqlserver.errors import SqlFault
from tasks.sources.sqlserver.scratch import ScratchServer, leave_note

NO_SERVER = "needs a SQL Server instance: use a plan that names one"
_FULL_DATABASE = 1


def check_copy(bench: ScratchServer, copy: Path, scratch: Path) -> list[Finding]:
    """All findings about the copy, up to the first that did not pass.

    A scratch database is left for ``open`` where all passed, named by a note in ``scratch``; else there is
    none. Raises SourceError where the server, and not the copy, is what does not work.
    """
    backup = copy / BACKUP_NAME
    if not backup.is_file():
        return [Finding(check="backup present", passed=False, detail=f"the copy holds no {BACKUP_NAME}")]
    bench.passage.sweep()
    bench.sweep()
    findings = [
        *_stage("backup checksums", lambda: _verify(bench, backup)),
        *_stage("backup header", lambda: _header(bench, backup, recorded_database(copy))),
    ]
    if not all(finding.passed for finding in findings):
        return findings
    try:
        name = bench.restore(backup)
    except SqlFault as fault:
        return [*findings, _failed("restore in scratch", fault)]
    findings.append(
        Finding(check="restore in scratch", passed=True, detail="restored under a name of its own")
    )
    try:
        findings += _stage("DBCC CHECKDB", lambda: _check_database(bench, name))
        passed = all(finding.passed for finding in findings)
        if passed:
            leave_note(scratch, name)
    except BaseException:
        with suppress(DatasaveError):
            bench.drop(name)
        raise
    if not passed:
        bench.drop(name)
    return findings


def _stage(check: str, run: Callable[[], str]) -> list[Finding]:
    """What ``run`` says of the copy: a detail, or a fault."""
    try:
        return [Finding(check=check, passed=True, detail=run())]
    except _Unfit as unfit:
        return [Finding(check=check, passed=False, detail=str(unfit))]
    except SqlFault as fault:
        return [_failed(check, fault)]


class _Unfit(Exception):
    """What the server says about the copy is not what it should be."""


def _failed(check: str, fault: SqlFault) -> Finding:
    """The finding for a fault of the copy. Raises SourceError where it is the server's or our rights'."""
    if not fault.of_the_copy:
        raise unusable(f"check the backup ({check})", fault, SourceError) from None
    numbers = ", ".join(str(number) for number in dict.fromkeys(fault.numbers))
    return Finding(check=check, passed=False, detail=f"{fault.meaning.cause} (SQL Server error {numbers})")


def _verify(bench: ScratchServer, backup: Path) -> str:
    with bench.passage.placed(backup) as device, bench.server.connect() as connection:
        run_to_end(connection, f"RESTORE VERIFYONLY FROM DISK = {literal(device)} WITH CHECKSUM")
    return "every page has its checksum"


def _header(bench: ScratchServer, backup: Path, database: str) -> str:
    with bench.passage.placed(backup) as device, bench.server.connect() as connection:
        rows = query(connection, f"RESTORE HEADERONLY FROM DISK = {literal(device)}")
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


def _check_database(bench: ScratchServer, name: str) -> str:
    """DBCC CHECKDB, whose every complaint comes as an error."""
    with bench.server.connect() as connection:
        run_to_end(connection, f"DBCC CHECKDB ({literal(name)}) WITH NO_INFOMSGS, ALL_ERRORMSGS")
    return "no errors"
