"""SQL Anywhere's own checks of a copy, on a clone of it, as findings. Details name tables, never values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tasks.errors import DatasaveError, SourceError, ValidationError
from tasks.records import CopiedFile, Finding
from tasks.sources.shared.folders import copied_files
from tasks.sources.sqlanywhere.catalog import base_tables
from tasks.sources.sqlanywhere.connection import Client
from tasks.sources.sqlanywhere.copy import DATABASE, CopyRecord, read_record
from tasks.sources.sqlanywhere.errors import DONE, cause_of, odbc_failure
from tasks.sources.sqlanywhere.programs import odbc
from tasks.sources.sqlanywhere.scratch import CopyAccess, clone, scratch_engine

MOST_FILES = 20


def check_copy(copy: Path, scratch: Path, access: Callable[[CopyRecord], CopyAccess]) -> list[Finding]:
    """Look at the copy's files, then let a private engine recover and validate a clone of them.

    ``access`` is asked for programs and accounts once the copy's record is read. The copy is hashed before
    and after: that checking left it alone is a finding of its own.
    """
    try:
        record = read_record(copy)
    except ValidationError as error:
        return [_failed("copy", error)]
    before = _files_of(copy)
    findings = list(_files_as_recorded(before, record))
    try:
        granted = access(record)
        _refuse_older_engine(granted, record)
    except DatasaveError as error:
        return [*findings, _failed("engine", error)]
    try:
        folder = clone(copy, scratch)
        with scratch_engine(granted, folder, record.database) as client:
            findings.append(_passed("engine opens a clone", f"recovered by SQL Anywhere {record.major}"))
            findings += _dbvalid(client)
            findings.append(_tables(client))
    except ValidationError as error:
        findings.append(_failed("engine opens a clone", error))
    return [*findings, _unaltered(before, _files_of(copy))]


def _dbvalid(client: Client) -> Iterator[Finding]:
    for check, options in (
        ("tables and indexes (dbvalid)", ()),
        ("pages and checksums (dbvalid -d)", ("-d",)),
    ):
        try:
            code = client.run("dbvalid", *options)
        except DatasaveError as error:
            yield _failed(check, error)
            continue
        detail = "no error found" if code == DONE else cause_of("dbvalid", code)
        yield Finding(check=check, passed=code == DONE, detail=detail)


def _tables(client: Client) -> Finding:
    """An emptied database passes every check of its engine."""
    try:
        with client.connected() as connection:
            count = len(base_tables(connection))
    except SourceError as error:
        return _failed("tables", error)
    except odbc().Error as error:
        return _failed("tables", odbc_failure("cannot list the copy's tables", error))
    detail = f"{count:,} tables" if count else "there is not one table in the copy"
    return Finding(check="tables", passed=count > 0, detail=detail)


def _files_of(copy: Path) -> dict[str, CopiedFile]:
    folder = copy / DATABASE
    return {file.path: file for file in copied_files(folder)}


def _files_as_recorded(found: dict[str, CopiedFile], record: CopyRecord) -> Iterator[Finding]:
    recorded = {file.path: file for file in record.files}
    wrong = [f"{name} is missing" for name in recorded if name not in found]
    wrong += [f"{name} was not in the copy" for name in found if name not in recorded]
    for name, file in found.items():
        told = recorded.get(name)
        if told and file.bytes != told.bytes:
            wrong.append(f"{name} has {file.bytes:,} bytes, recorded were {told.bytes:,}")
        elif told and file.sha256 != told.sha256:
            wrong.append(f"{name} has another sha256 than recorded")
    for detail in wrong[:MOST_FILES]:
        yield Finding(check="files as recorded", passed=False, detail=detail)
    if not wrong:
        yield _passed("files as recorded", f"{len(found)} files of the size and sha256 recorded")


def _refuse_older_engine(access: CopyAccess, record: CopyRecord) -> None:
    if access.install.version < record.major:
        raise ValidationError(
            f"the copy is of SQL Anywhere {record.major}, the engine here is {access.install.version}",
            hint=f"Install SQL Anywhere {record.major} or newer on this machine.",
        )


def _unaltered(before: dict[str, CopiedFile], after: dict[str, CopiedFile]) -> Finding:
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if changed:
        detail = f"checking altered {', '.join(changed)}: later logs no longer apply to this copy"
        return Finding(check="copy left alone", passed=False, detail=detail)
    return _passed("copy left alone", "same sha256 before and after checking")


def _passed(check: str, detail: str) -> Finding:
    return Finding(check=check, passed=True, detail=detail)


def _failed(check: str, error: DatasaveError) -> Finding:
    return Finding(check=check, passed=False, detail=str(error))
