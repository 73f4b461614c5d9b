"""The engine's own checks of a copy, as findings. All is done on a clone, or a new server, in scratch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tasks.errors import ProgramError, ValidationError
from tasks.platform.processes import run
from tasks.records import Finding
from tasks.sources.mariadb.catalog import check_tables, data_tables
from tasks.sources.mariadb.copy import ends_in_order, files_below
from tasks.sources.mariadb.load import load
from tasks.sources.mariadb.programs import Programs
from tasks.sources.mariadb.record import DATA, DUMP, CopyRecord, read_record
from tasks.sources.mariadb.scratch import prepare_clone, served
from tasks.sources.shared.odbc import fetch


def check_copy(copy: Path, scratch: Path, folder: Path | None) -> list[Finding]:
    """Findings on a copy; leaves a stopped server's data in ``scratch``. ``folder`` has the programs."""
    findings: list[Finding] = []
    try:
        record = read_record(copy)
        programs = Programs(folder, record.release)
        steps = _dump_steps if record.method == "dump" else _physical_steps
        for found in steps(programs, copy, record, scratch):
            findings += found
            if any(finding.failed for finding in found):
                break  # what comes after builds on it
    except (ValidationError, ProgramError) as error:
        hint = f" {error.hint}" if error.hint else ""
        findings.append(Finding(check="opens", passed=False, detail=f"{error.message}.{hint}"))
    return findings


def _physical_steps(
    programs: Programs, copy: Path, record: CopyRecord, scratch: Path
) -> Iterator[Sequence[Finding]]:
    yield [_complete(copy, record)]
    prepare_clone(programs, copy, scratch)
    yield [Finding(check="log applied", passed=True, detail="mariadb-backup prepared a clone of the copy")]
    yield _pages(programs, scratch / DATA)
    with served(programs, record, scratch) as connection:
        yield _dictionary(connection, scratch / DATA)
        yield check_tables(connection)
        yield [_has_tables(connection)]


def _dump_steps(
    programs: Programs, copy: Path, record: CopyRecord, scratch: Path
) -> Iterator[Sequence[Finding]]:
    whole = (copy / DUMP).is_file() and ends_in_order(copy / DUMP)
    detail = "the last line is there" if whole else "its last line is missing: it was cut off"
    yield [Finding(check="dump ends", passed=whole, detail=detail)]
    yield load(programs, copy, record, scratch)


def _has_tables(connection: Any) -> Finding:
    count = len(data_tables(connection))
    detail = f"{count} tables" if count else "the database has no tables"
    return Finding(check="has tables", passed=count > 0, detail=detail)


def _complete(copy: Path, record: CopyRecord) -> Finding:
    """Whether the copy holds the files that mariadb-backup wrote, each of its size, and no others."""
    data = copy / DATA
    found = {path.relative_to(data).as_posix(): path.stat().st_size for path in files_below(data)}
    for name in sorted({*found, *record.files}):
        if found.get(name) == record.files.get(name):
            continue
        detail = f"{name} has {found.get(name, 0)} bytes, written were {record.files.get(name, 0)}"
        return Finding(check="copy complete", passed=False, detail=detail)
    # An empty or foreign record would be met by an empty folder.
    whole = "xtrabackup_checkpoints" in found and "mysql/proc.frm" in found
    detail = f"{len(found)} files" if whole else "it holds no data folder of a server"
    return Finding(check="copy complete", passed=whole, detail=detail)


def _pages(programs: Programs, data: Path) -> list[Finding]:
    """The checksum of every page of every InnoDB table, by innochecksum on a stopped, prepared clone."""
    # Not ibdata1: innochecksum takes the pages of its doublewrite buffer for wrong ones (MDEV-37138). The
    # server checks its pages when it starts and reads them.
    program = programs.find("innochecksum")
    files = sorted([*data.glob("*/*.ibd"), *data.glob("undo0*")])
    bad = [file for file in files if not file.stat().st_size or run([program, file]).code != 0]
    findings = [
        Finding(
            check="pages",
            passed=False,
            detail="pages with a wrong checksum, or cut off",
            table=f"{file.parent.name}/{file.stem}",
        )
        for file in bad
    ]
    return findings or [Finding(check="pages", passed=True, detail=f"{len(files)} files, every page checked")]


def _dictionary(connection: Any, data: Path) -> list[Finding]:
    """Whether each table InnoDB knows has its definition and its data: without, it isn't even listed."""
    rows = fetch(connection, "SELECT NAME, SPACE FROM information_schema.INNODB_SYS_TABLES")
    findings = []
    for name, space in rows:
        if "/" not in name or re.search(r"/(#sql|FTS_)", name):
            continue
        base = re.split(r"#[Pp]#", name)[0]
        for file in [f"{base}.frm", *([f"{name}.ibd"] if space else [])]:
            if not (data / file).is_file():
                detail = f"{file} is missing"
                findings.append(Finding(check="dictionary", passed=False, detail=detail, table=base))
    return findings or [
        Finding(check="dictionary", passed=True, detail=f"{len(rows)} entries, all with files")
    ]
