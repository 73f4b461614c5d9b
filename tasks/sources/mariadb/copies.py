"""Work on finished copies: checking them, opening them, putting them back. Needs no plan.

All is done on a clone, or a new server, in scratch; the copy itself is only read.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.errors import ProgramError, SourceError, ValidationError
from tasks.platform.files import BLOCK, create_private
from tasks.records import Finding
from tasks.sources.mariadb import logical as mariadb_dump
from tasks.sources.mariadb import physical as mariadb_physical
from tasks.sources.mariadb.connection import opened
from tasks.sources.mariadb.programs import Programs
from tasks.sources.mariadb.record import DATA, DUMP, CopyRecord, read_record
from tasks.sources.mariadb.scratch import READY, private_server, words_for
from tasks.sources.mariadb.tables import check_tables, tables_of
from tasks.sources.shared.folders import emptied, restoring_into


def validate(copy: Path, scratch: Path, folder: Path | None) -> list[Finding]:
    """Findings on a copy; leaves a stopped server's data in ``scratch``. ``folder`` has the programs."""
    findings: list[Finding] = []
    try:
        record = read_record(copy)
        programs = Programs(folder, record.release)
        steps = _dump_steps if record.method == "dump" else _physical_steps
        for found in steps(programs, copy, record, scratch):
            findings += found
            if not all(finding.passed for finding in found):
                break  # what comes after builds on it
    except (ValidationError, ProgramError) as error:
        hint = f" {error.hint}" if error.hint else ""
        findings.append(Finding(check="opens", passed=False, detail=f"{error.message}.{hint}"))
    return findings


@contextmanager
def opened_copy(copy: Path, scratch: Path, folder: Path | None) -> Iterator[Any]:
    """A connection to a private server on the copy, for reading. Raises ValidationError."""
    record = read_record(copy)
    programs = Programs(folder, record.release)
    if not (scratch / READY).exists():
        _build(programs, copy, record, scratch)
    with served(programs, record, scratch) as connection:
        yield connection


def restore(copy: Path, destination: Path, folder: Path | None) -> Path:
    """Put the copy into ``destination``; the path that a server, or its client, is given."""
    try:
        record = read_record(copy)
    except ValidationError as error:
        raise SourceError(error.message, hint=error.hint) from error
    try:
        with restoring_into(destination):
            try:
                return _restored(copy, record, destination, Programs(folder, record.release))
            except BaseException:
                emptied(destination)
                raise
    except (ProgramError, ValidationError) as error:
        raise SourceError(f"cannot restore into {destination}: {error.message}", hint=error.hint) from error


def _physical_steps(
    programs: Programs, copy: Path, record: CopyRecord, scratch: Path
) -> Iterator[Sequence[Finding]]:
    yield [mariadb_physical.complete(copy, record)]
    mariadb_physical.prepare_clone(programs, copy, scratch)
    yield [Finding(check="log applied", passed=True, detail="mariadb-backup prepared a clone of the copy")]
    yield mariadb_physical.pages(programs, scratch / DATA)
    with served(programs, record, scratch) as connection:
        yield mariadb_physical.dictionary(connection, scratch / DATA)
        yield check_tables(connection)
        yield [_has_tables(connection)]


def _dump_steps(
    programs: Programs, copy: Path, record: CopyRecord, scratch: Path
) -> Iterator[Sequence[Finding]]:
    whole = (copy / DUMP).is_file() and mariadb_dump.ends_in_order(copy / DUMP)
    detail = "the last line is there" if whole else "its last line is missing: it was cut off"
    yield [Finding(check="dump ends", passed=whole, detail=detail)]
    yield mariadb_dump.load(programs, copy, record, scratch)


def _has_tables(connection: Any) -> Finding:
    count = sum(not table.name.startswith("(") for table in tables_of(connection))
    detail = f"{count} tables" if count else "the database has no tables"
    return Finding(check="has tables", passed=count > 0, detail=detail)


def _build(programs: Programs, copy: Path, record: CopyRecord, scratch: Path) -> None:
    try:
        if record.method == "physical":
            mariadb_physical.prepare_clone(programs, copy, scratch)
            return
        wrong = [
            finding for finding in mariadb_dump.load(programs, copy, record, scratch) if not finding.passed
        ]
    except ProgramError as error:
        raise ValidationError(f"cannot open the copy: {error.message}", hint=error.hint) from error
    if wrong:
        raise ValidationError(
            f"cannot open the copy: table {wrong[0].table}: {wrong[0].detail}",
            hint="The dump is not what was recorded: take an older backup.",
        )


@contextmanager
def served(programs: Programs, record: CopyRecord, scratch: Path) -> Iterator[Any]:
    """A connection to a private server over the data folder in ``scratch``. Raises ValidationError."""
    settings: Sequence[str] = mariadb_dump.SCRATCH_SETTINGS
    if record.method == "physical":
        mariadb_physical.require_prepared(scratch / DATA)
        settings = mariadb_physical.settings_of(scratch / DATA)
    with (
        private_server(programs, record, scratch, settings) as socket,
        opened(words_for(socket), record.database) as connection,
    ):
        yield connection


def _restored(copy: Path, record: CopyRecord, destination: Path, programs: Programs) -> Path:
    if record.method == "physical":
        mariadb_physical.clone(copy / DATA, destination)
        mariadb_physical.prepare(programs, destination)
        return destination
    with (copy / DUMP).open("rb") as stream, create_private(destination / DUMP) as restored:
        shutil.copyfileobj(stream, restored, BLOCK)
    return destination / DUMP
