"""Whether a copied folder is whole: every stored file read and hashed again, laid out as SQL tables.

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
from tasks.platform.names import listed, shown, text_of
from tasks.records import Finding, Table
from tasks.sources.base import Connection
from tasks.sources.files.index import INDEX, ROOT, Entry, Index, Notes, read_index

MEASURED = "files.sqlite"
MOST_NAMES = 5
MOST_FINDINGS = 20
"""Files that are listed as wrong before the rest is only counted."""

_EVENTS = {
    "databases": ("left out: live databases", "{}; back them up with a plan of their own kind"),
    "excluded": ("left out: by `exclude`", "{}"),
    "special": ("left out: no files", "sockets, pipes, devices or junctions: {}"),
    "late": ("left out: too new", "made after the copy's last look, in the next backup: {}"),
    "vanished": ("while copying: vanished", "gone before they could be copied: {}"),
    "deleted": ("while copying: deleted", "deleted or renamed after they were copied, still in the copy: {}"),
    "grew": ("while copying: growing", "held as they were when their copying began: {}"),
    "changed": ("while copying: changing", "may be half old and half new: {}"),
    "outside": ("links that lead out", "kept as links; what they lead to is not in this backup: {}"),
}

Row = tuple[str, str, str, int, str, str, str, str, str]
_COLUMNS = ("path", "kind", "size", "sha256", "mode", "mtime", "mtime_ns", "target")
_SCHEMA = """
CREATE TABLE files (top TEXT, path TEXT, kind TEXT, size INTEGER, sha256 TEXT, mode TEXT, mtime TEXT,
    mtime_ns TEXT, target TEXT);
CREATE TABLE measured (index_sha256 TEXT);
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class _Measured:
    """The copy compared with its index: what is wrong with files, by name, and which are not in it."""

    index: Index
    wrong: list[str]
    extra: list[str]


def check_copy(copy: Path, scratch: Path) -> list[Finding]:
    """All findings about a copy; names of files stand in details, never in a check's name.

    Leaves what it measured in ``scratch``, for ``open_measured``.
    """
    try:
        measured = _measure(copy, scratch)
    except ValidationError as error:
        return [Finding(check="index", passed=False, detail=error.message)]
    index = Finding(check="index", passed=True, detail=f"whole, {len(measured.index.entries):,} entries")
    extra = _nothing_else(measured.extra)
    return [index, *_files_whole(measured), extra, *_events(measured.index.notes)]


def open_measured(copy: Path, scratch: Path) -> sqlite3.Connection:
    """The measured copy, for reading; measures it unless ``scratch`` holds what ``check_copy`` left of it.

    Raises ValidationError where the copy has no whole index.
    """
    index = read_index(copy)
    if not _was_measured(scratch / MEASURED, index):
        _measure(copy, scratch)
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


def _files_whole(measured: _Measured) -> list[Finding]:
    check, wrong = "files whole", measured.wrong
    if not wrong:
        sizes = [entry.size for entry in measured.index.entries if entry.kind == "file"]
        detail = f"{len(sizes):,} files, {sum(sizes):,} bytes, each with its recorded sha256"
        return [Finding(check=check, passed=bool(sizes), detail=detail)]
    findings = [Finding(check=check, passed=False, detail=text) for text in wrong[:MOST_FINDINGS]]
    if len(wrong) > MOST_FINDINGS:
        detail = f"{len(wrong) - MOST_FINDINGS:,} more files are not as they were copied"
        findings.append(Finding(check=check, passed=False, detail=detail))
    return findings


def _nothing_else(extra: list[str]) -> Finding:
    named = listed(extra[:MOST_NAMES], len(extra))
    detail = f"not in the index: {named}" if extra else "no file that the index does not know"
    return Finding(check="nothing else", passed=not extra, detail=detail)


def _events(notes: Notes) -> list[Finding]:
    """What was left out or changed while copying: findings that passed, for the report."""
    findings = []
    for sort, (check, detail) in _EVENTS.items():
        count = notes.counts.get(sort, 0)
        if count:
            named = f"{count:,}: {listed(notes.names[sort], count)}"
            findings.append(Finding(check=check, passed=True, detail=detail.format(named)))
    return findings


def _measure(copy: Path, scratch: Path) -> _Measured:
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
    return _Measured(index, wrong, [shown(place) for place in extra])


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
