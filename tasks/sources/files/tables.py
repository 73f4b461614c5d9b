"""What a copied folder really holds: every stored file read and hashed again, laid out as SQL tables.

The measured copy is a private SQLite database in scratch with one table ``files``, so that the plan's own
checks can ask it (``SELECT COUNT(*) FROM files WHERE path LIKE 'Forms/%'``):

``path``, ``target``    as the index writes them; ``top`` is the first folder of the path, "." above it
``kind``                file, folder, link, or extra: a file of the copy that the index does not know
``size``, ``sha256``    of the file as it lies in the copy, 0 and '' for the others
``mode``                permission bits, octal text
``mtime``, ``mtime_ns`` UTC as "YYYY-MM-DD HH:MM:SS", and nanoseconds since 1970 as text

A file that is missing from the copy has no row.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks.errors import ValidationError
from tasks.platform.files import create_private, sha256_of
from tasks.platform.names import shown, text_of
from tasks.records import Table
from tasks.sources.base import Connection
from tasks.sources.files.index import INDEX, ROOT, Entry, Index, read_index

MEASURED = "files.sqlite"

Row = tuple[str, str, str, int, str, str, str, str, str]
_COLUMNS = ("path", "kind", "size", "sha256", "mode", "mtime", "mtime_ns", "target")
_SCHEMA = """
CREATE TABLE files (top TEXT, path TEXT, kind TEXT, size INTEGER, sha256 TEXT, mode TEXT, mtime TEXT,
    mtime_ns TEXT, target TEXT);
CREATE TABLE measured (index_sha256 TEXT);
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Measured:
    """The copy compared with its index: what is wrong with files, by name, and which are not in it."""

    index: Index
    wrong: list[str]
    extra: list[str]


def measure(copy: Path, scratch: Path) -> Measured:
    """Read every file of the copy, compare it with the index, and lay all out in ``scratch``.

    Raises ValidationError where there is no whole index.
    """
    index = read_index(copy)
    there = dict(_regular_and_odd(copy))
    wrong: list[str] = []
    rows: list[Row] = []
    for entry in index.entries:
        size, sha256 = 0, ""
        if entry.kind == "file":
            defect, size, sha256 = _look(copy, entry, there.pop(entry.stored, None))
            if defect:
                wrong.append(f"{shown(entry.path)} {defect}")
            if size < 0:
                continue
        rows.append(_row(entry, size, sha256))
    extra = sorted(place for place in there if place != INDEX)
    rows += [(ROOT, text_of(place), "extra", 0, "", "", "", "", "") for place in extra]
    _lay_out(scratch / MEASURED, index, rows)
    return Measured(index, wrong, [shown(place) for place in extra])


def open_measured(copy: Path, scratch: Path) -> sqlite3.Connection:
    """The measured copy, for reading; measures it unless ``scratch`` holds what ``measure`` left of it.

    Raises ValidationError where the copy has no whole index.
    """
    index = read_index(copy)
    if not _was_measured(scratch / MEASURED, index):
        measure(copy, scratch)
    return _connect(scratch / MEASURED)


def top_tables(connection: Connection) -> list[Table]:
    """A table for each top-level folder, itself included; "." for the files that lie in none."""
    cursor = connection.cursor()
    tops = [str(row[0]) for row in cursor.execute("SELECT DISTINCT top FROM files ORDER BY top")]
    cursor.close()
    quoted = ((top, top.replace("'", "''")) for top in tops)
    return [
        Table(name=top, reference=f"(SELECT * FROM files WHERE top = '{text}')", columns=_COLUMNS)  # noqa: S608 - quoted
        for top, text in quoted
    ]


def _regular_and_odd(copy: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Everything in the copy that is no folder, by its place."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(copy / folder) as found:
                children = list(found)
        except OSError as error:
            raise ValidationError(
                f"cannot read the folder {shown(folder) or ROOT} of the copy: {error.strerror}",
                hint="Check the rights of the working folder and the disk it lies on.",
            ) from error
        for child in children:
            place = f"{folder}/{child.name}" if folder else child.name
            if child.is_dir(follow_symlinks=False):
                waiting.append(place)
            else:
                yield place, child.stat(follow_symlinks=False)


def _look(copy: Path, entry: Entry, info: os.stat_result | None) -> tuple[str, int, str]:
    """What is wrong with a stored file ("" if nothing), its size (-1 if it is not there) and sha256."""
    if info is None or not stat.S_ISREG(info.st_mode):
        return "is missing", -1, ""
    try:
        sha256 = sha256_of(copy / entry.stored)
    except OSError as error:
        return f"cannot be read ({error.strerror})", -1, ""
    if info.st_size != entry.size:
        return f"has {info.st_size:,} bytes instead of {entry.size:,}", info.st_size, sha256
    return ("" if sha256 == entry.sha256 else "has other contents than were copied"), info.st_size, sha256


def _row(entry: Entry, size: int, sha256: str) -> Row:
    path = text_of(entry.path)
    top, slash, _ = path.partition("/")
    if not slash and entry.kind != "folder":
        top = ROOT
    return (
        top,
        path,
        entry.kind,
        size,
        sha256,
        f"{entry.mode:04o}",
        _moment(entry.mtime_ns),
        str(entry.mtime_ns),
        text_of(entry.target),
    )


def _moment(mtime_ns: int) -> str:
    try:
        when = _EPOCH + timedelta(seconds=mtime_ns // 10**9)
    except OverflowError:
        return ""
    return when.strftime("%Y-%m-%d %H:%M:%S")


def _lay_out(file: Path, index: Index, rows: list[Row]) -> None:
    file.unlink(missing_ok=True)
    try:
        create_private(file).close()
        with closing(sqlite3.connect(file)) as database:
            database.execute("PRAGMA synchronous = OFF")
            database.executescript(_SCHEMA)
            database.executemany("INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            database.execute("CREATE INDEX by_top ON files (top)")
            database.execute("INSERT INTO measured VALUES (?)", (index.sha256,))
            database.commit()
    except (OSError, sqlite3.Error) as error:
        raise ValidationError(
            f"cannot lay out what the copy holds in {file.parent}: {type(error).__name__}",
            hint="Check the free space and the rights of the working folder.",
        ) from None


def _was_measured(file: Path, index: Index) -> bool:
    if not file.is_file():
        return False
    with closing(_connect(file)) as database:
        try:
            found: tuple[str] = database.execute("SELECT index_sha256 FROM measured").fetchone()
        except sqlite3.Error:
            return False
    return found == (index.sha256,)


def _connect(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file, isolation_level=None)
    database.execute("PRAGMA query_only = ON")
    return database
