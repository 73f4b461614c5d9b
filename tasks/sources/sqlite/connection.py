"""Opening SQLite: live databases without ever creating one, finished copies without altering them.

A live file is only ever opened by SQLite itself. On POSIX, closing any other handle of the file would
drop the locks that every connection of this process holds on it (sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from tasks.errors import CopyError, Fault, SourceError, SourceMissing, ValidationError
from tasks.platform.patience import within

PATIENCE = 30.0
"""Seconds to wait for another program's lock, or for the disk to answer, before giving up."""

_PENDING_BYTE = 0x40000000
"""Where SQLite's locks begin: a pending and a reserved byte, then 510 that readers share."""
_WAL_LOCKS = 120
"""In the -shm file: eight locks of the WAL, and one that each open connection shares."""

_LOCKED = Fault(
    SourceError,
    "another program keeps it locked",
    "Another program keeps the database locked: try again when it has finished.",
    permanent=False,
)
_FAULTS: dict[int, Fault[SourceError]] = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_CANTOPEN: Fault(
        SourceError,
        "it cannot be opened",
        "The user who runs the backup must be allowed to read the file and to create files in its folder: "
        "SQLite keeps its -wal, -shm and -journal files there.",
    ),
    sqlite3.SQLITE_READONLY: Fault(
        SourceError,
        "SQLite may not write there",
        "SQLite must write here, for its -wal and -shm files or to finish what an interrupted program left: "
        "let the user who runs the backup write the file and its folder.",
    ),
    sqlite3.SQLITE_NOTADB: Fault(
        SourceError,
        "it is not a database",
        "The file is not an SQLite database, or it is encrypted: check `path:` in the plan. Where it was "
        "backed up before, think of ransomware: take this machine off the network, plug no backup into it.",
    ),
    sqlite3.SQLITE_CORRUPT: Fault(
        SourceError,
        "it is damaged",
        "The database itself is damaged: keep the older backups, and restore the newest that passes.",
    ),
    sqlite3.SQLITE_FULL: Fault(
        SourceError,
        "the disk is full",
        "Free some space on the disk that holds the staging folder, then run it again.",
    ),
    sqlite3.SQLITE_IOERR: Fault(
        SourceError,
        "reading or writing failed",
        "A disk or network share failed while reading or writing: see the system's log.",
    ),
}


def file_uri(path: Path, query: str) -> str:
    """``path`` as a URI that SQLite takes, whatever characters the name has (sqlite.org/uri.html).

    Drive letters need a slash before them. A Windows share keeps its two slashes as part of the path,
    since SQLite refuses an authority.
    """
    text = path.absolute().as_posix()
    if not text.startswith("/"):
        text = f"/{text}"
    return f"file://{quote(os.fsencode(text))}?{query}"


def failure(operation: str, error: sqlite3.Error, *, copying: bool) -> SourceError:
    """The error for a failed ``operation``; a CopyError while ``copying``, which is worth a second try."""
    known = _FAULTS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    if known is None:
        fault = Fault(SourceError, cause_of(error), "")
    else:
        fault = replace(known, cause=f"{known.cause} ({cause_of(error)})")
    if copying:
        fault = replace(fault, kind=CopyError, permanent=False)
    return fault.error(operation)


def cause_of(error: sqlite3.Error) -> str:
    """SQLite's name of the error, with its text only where that cannot hold a row's value.

    Texts about a damaged file quote from it; a plain SQLITE_ERROR is about the schema.
    """
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return f"{name} ({printable(str(error))})" if name == "SQLITE_ERROR" else name


def printable(text: str, limit: int = 200) -> str:
    """``text`` fit for a report: one line, no control characters, at most ``limit`` characters."""
    clean = "".join(char if char.isprintable() else "?" for char in text)
    return clean if len(clean) <= limit else f"{clean[: limit - 1]}…"


def live_identity(path: Path) -> tuple[int, int]:
    """Which file lies at ``path``: device and file number. Raises SourceMissing, SourceError."""
    try:
        found = within(PATIENCE, str(path), path.stat)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SourceMissing(
            f"cannot back up {path}: there is no such file",
            hint="Check `path:` in the plan, and that the disk it lies on is connected.",
        ) from error
    except OSError as error:
        raise SourceError(
            f"cannot back up {path}: {error.strerror}",
            hint="The user who runs the backup must be allowed to reach and read the file.",
        ) from error
    if not stat.S_ISREG(found.st_mode):
        raise SourceError(
            f"cannot back up {path}: it is not a file",
            hint="`path:` in the plan must name the database file itself, not its folder.",
        )
    return found.st_dev, found.st_ino


@contextmanager
def open_live(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database that others are using; nothing can be written through this connection.

    mode=rw never creates the file, and lets SQLite finish what a killed program left (a hot journal),
    which every reader must do first; without the right to write, SQLite itself falls back to reading.
    mode=ro would leave -wal and -shm files beside the database, possibly of an owner whose files the
    database's own program cannot write. Raises sqlite3.Error.
    """
    with closing(_connect(path, "mode=rw")) as connection:
        connection.execute("PRAGMA query_only = ON")
        yield connection


@contextmanager
def open_copy(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a finished copy; neither the file nor its folder changes. Raises sqlite3.Error.

    ``immutable`` also keeps a copied WAL database from getting -wal and -shm files. Texts come as
    bytes: text that isn't UTF-8 is legal in SQLite and must not stop a backup.

    What the copy's own views and triggers say is not trusted: no other file can be opened, and no library
    be loaded, from here.
    """
    with closing(_connect(path, "mode=ro&immutable=1")) as connection:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.set_authorizer(_nothing_outside)
        connection.text_factory = bytes
        yield connection


def _nothing_outside(
    action: int, first: str | None, second: str | None, _database: str | None, _inner: str | None
) -> int:
    """The authorizer of a copy (sqlite.org/c3ref/set_authorizer.html): no other file, no library."""
    loads = action == sqlite3.SQLITE_FUNCTION and second == "load_extension"
    trusts = action == sqlite3.SQLITE_PRAGMA and first == "trusted_schema" and second is not None
    denied = action == sqlite3.SQLITE_ATTACH or loads or trusts
    return sqlite3.SQLITE_DENY if denied else sqlite3.SQLITE_OK


def file_of_copy(folder: Path) -> Path:
    """The one file a copy consists of. Raises ValidationError: a journal beside it would be ignored."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    if len(found) != 1 or not found[0].is_file():
        names = ", ".join(printable(entry.name, 60) for entry in found[:5])
        raise ValidationError(
            f"cannot read the copy in {folder}: expected one database file, found {names or 'nothing'}",
            hint="A copy of an SQLite database is a single file: restore it again from the archive.",
        )
    return found[0]


def holders(path: Path) -> str:
    """Whether a connection of another process has the database open: words for a message, empty if none.

    Tries the locks themselves (sqlite.org/lockingv3.html, walformat.html) instead of opening it: a last
    connection that closes writes the WAL back, and what is there now must stay as it is. On Windows an open
    database cannot be renamed, which shows in time.
    """
    if sys.platform == "win32":
        return ""
    shared = path.with_name(f"{path.name}-shm")
    for file, start, length in ((path, _PENDING_BYTE, 512), (shared, _WAL_LOCKS, 9)):
        if file.is_file() and not _lockable(file, start, length):
            return "a program that keeps the database open"
    return ""


def _lockable(file: Path, start: int, length: int) -> bool:
    if sys.platform == "win32":
        return True
    import fcntl

    with file.open("r+b", buffering=0) as stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
        except OSError:
            return False
        fcntl.lockf(stream, fcntl.LOCK_UN, length, start)
    return True


def _connect(path: Path, query: str) -> sqlite3.Connection:
    return sqlite3.connect(file_uri(path, query), uri=True, isolation_level=None, timeout=PATIENCE)
