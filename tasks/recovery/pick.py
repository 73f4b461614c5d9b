"""A single file or a single table out of a backup, compared with the manifest like all else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from tasks.backup.validate import same_digest
from tasks.errors import DatasaveError, MismatchError, NoBackup, SourceError, ValidationError
from tasks.platform.files import create_private, private_folder, sha256_of
from tasks.platform.trees import remove_tree
from tasks.records import Contents, CopiedFile, Progress, Table, no_progress
from tasks.recovery.recover import Opened, Recovered, fetch
from tasks.sources.capabilities import SupportsFiles

_ROWS = 1000
# What spreadsheets take for the beginning of a formula, or cut off before one (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def files_that_fit(source: SupportsFiles, opened: Opened, wanted: str) -> list[CopiedFile]:
    """The files of a backup that ``wanted``, a path or pattern, names; known before anything is fetched.

    Raises NoBackup where there is none, SourceError for an unusable pattern.
    """
    files = opened.contents.files
    chosen = source.files_matching(wanted, files)
    if not chosen:
        raise NoBackup(
            f"none of the {len(source.files_matching('*', files)):,} files in {opened.choice.backup.name} "
            f"fits {wanted}",
            hint="Give the path from the folder on (Forms/letter.docx), a name (letter.docx) or a pattern "
            "(*.docx), or take an older backup with --backup.",
        )
    return chosen


def pick_files(
    opened: Opened, chosen: Sequence[CopiedFile], destination: Path, progress: Progress = no_progress
) -> list[Path]:
    """Put some files of a backup into ``destination``, a new folder; nothing else is written.

    The whole archive is read, so that its own digest is proven too. Raises MismatchError where a file is not
    what was recorded, else as ``recover.fetch``.
    """
    names = {file.path for file in chosen}
    private_folder(destination)
    try:
        fetch(opened, destination, progress, names.__contains__)
        for file in chosen:
            _require_same(destination, file)
    except BaseException:
        remove_tree(destination)  # what isn't proven is not left lying about
        raise
    return [destination / file.path for file in chosen]


def pick_table(
    recovered: Recovered, scratch: Path, wanted: str, destination: Path, *, inert: bool = False
) -> Path:
    """Write one table of a recovered copy as CSV into ``destination``, a new folder; the file.

    Read by the engine that opened the copy. NULL is an empty field, everything else stands in quotes; bytes
    that are no text are in hexadecimal after \\x. ``inert``: a text that a spreadsheet would take for a
    formula gets an apostrophe before it. Raises MismatchError where the copy did not pass its checks or the
    table's rows are not those that were counted, SourceError where there is no such table.
    """
    recovered.require(
        f"{recovered.manifest.sealed_name} did not pass its checks",
        "Nothing was taken out. Take another backup or another target.",
    )
    source = recovered.choice.adapter
    with source.open(recovered.folder, scratch) as connection:
        table = _table(source.tables(connection), wanted)
        private_folder(destination)
        plain = re.sub(r"[^\w.-]", "_", table.name)
        path = destination / f"{plain}.csv"
        try:
            rows = _write(connection, table, path, inert=inert)
            _require_rows(recovered.contents, table, rows)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    return path


def _require_same(folder: Path, file: CopiedFile) -> None:
    found = folder / file.path
    if not found.is_file():
        raise MismatchError(
            "the archive lacks a file that its manifest names", hint="Take another backup or another target."
        )
    same_digest(sha256_of(found), file.sha256, "file taken out")


def _require_rows(contents: Contents, table: Table, rows: int) -> None:
    recorded = next((known.rows for known in contents.profile.tables if known.name == table.name), None)
    if rows != recorded:
        raise MismatchError(
            f"table {table.name} gave {rows:,} rows, recorded were {recorded}",
            hint="Take another backup or another target.",
        )


def _table(tables: Sequence[Table], wanted: str) -> Table:
    """The table of that name; without its owner or schema where that is enough to tell it."""
    own = [table for table in tables if not table.name.startswith("(")]
    exact = [table for table in own if table.name == wanted]
    close = [table for table in own if wanted.casefold() in _names(table)]
    found = exact or close
    if len(found) == 1:
        return found[0]
    names = ", ".join(table.name for table in (found or own)[:20])
    raise SourceError(
        f"the backup holds {'several tables' if found else 'no table'} {wanted!r}",
        hint=f"Give one of: {names}.",
    )


def _names(table: Table) -> set[str]:
    return {table.name.casefold(), table.name.rpartition(".")[2].casefold()}


def _write(connection: Any, table: Table, path: Path, *, inert: bool) -> int:
    rows = 0
    try:
        cursor = connection.cursor()
        cursor.execute(f"SELECT * FROM {table.reference}")  # noqa: S608 - quoted by the adapter
        with create_private(path) as stream:
            stream.write(_line([column[0] for column in cursor.description], inert=inert))
            for row in _rows(cursor):
                stream.write(_line(row, inert=inert))
                rows += 1
    except (OSError, DatasaveError):
        raise
    except Exception as error:  # noqa: BLE001 - each driver has its own errors; their texts may quote rows
        raise ValidationError(
            f"cannot read table {table.name} of the copy: {type(error).__name__}",
            hint="The copy is damaged there: take an older backup.",
        ) from None
    return rows


def _rows(cursor: Any) -> Iterator[Sequence[Any]]:
    while rows := cursor.fetchmany(_ROWS):
        yield from rows


def _line(values: Sequence[Any], *, inert: bool) -> bytes:
    fields = (_field(value, inert=inert) for value in values)
    return (",".join(fields) + "\r\n").encode("utf-8", "surrogateescape")


def _field(value: Any, *, inert: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes | bytearray | memoryview):
        value = _text(bytes(value))
    text = str(value).replace('"', '""')
    # A number is no formula, whatever its sign.
    if inert and text.startswith(_FORMULA) and not isinstance(value, int | float | Decimal):
        text = f"'{text}"
    return f'"{text}"'


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return f"\\x{data.hex()}"
