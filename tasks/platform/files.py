"""Files that survive a power cut, folders that nobody else can read, digests taken while reading and writing.

The one place that knows how to publish a file atomically: write beside it, fsync, rename, fsync the
folder (pattern of every database's own commit; see litestream's file replica client).
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from typing_extensions import Buffer

from tasks.errors import StateError
from tasks.platform.ownership import taken_over
from tasks.platform.system_errors import ABSENT, DENIED, FULL, TOO_LARGE, number_of
from tasks.records import Progress, no_progress

BLOCK = 1 << 20
PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)
MORE_ROOM = "Free some space there, or set `state:` in the plan to a folder on a larger disk."


def private_folder(path: Path) -> Path:
    """Make ``path`` (and parents) with mode 0700 and return it; tighten it if it was wider.

    Raises StateError where it cannot be made, is a link or belongs to someone else, who could look in.
    """
    try:
        path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        if cause := taken_over(path):
            raise StateError(
                f"refused the private folder {path}: {cause}",
                hint="Remove it, or name another place: only what this account made itself is private.",
            )
        if sys.platform != "win32" and stat.S_IMODE(path.stat().st_mode) != PRIVATE_FOLDER:
            path.chmod(PRIVATE_FOLDER)
    except OSError as error:
        raise StateError(
            f"cannot make the private folder {path}: {error.strerror}",
            hint="Check the rights of its parent folder, or set `state:` in the plan to another place.",
        ) from error
    return path


@contextmanager
def kept_in_state(operation: str) -> Iterator[None]:
    """Raise StateError, "cannot" do the operation, where the block's writing fails: a full disk above all."""
    try:
        yield
    except OSError as error:
        raise refused_in_state(f"cannot {operation}", error) from error


def refused_in_state(operation: str, error: OSError, path: Path | None = None) -> StateError:
    """The error for what the system refused in a folder of ours; the message begins with ``operation``.

    It names the file where the system did, which may lie elsewhere, else ``path``.
    """
    named = error.filename or path
    where = f"{named}: " if named else ""
    code = number_of(error)
    hint = "Look at the disk that it lies on, then run it again."
    if code in FULL | TOO_LARGE:
        hint = MORE_ROOM
    elif code in DENIED:
        hint = "Give the account that runs Datasave the right to read and write there."
    return StateError(f"{operation}: {where}{error.strerror or error}", hint=hint)


def sync_folder(path: Path) -> None:
    """Make a rename or deletion in ``path`` durable where the file system can. Raises OSError.

    Windows cannot open folders; NTFS journals the rename itself. Some network file systems and shared folders
    of virtual machines refuse to sync a folder: there the server answers for the rename.
    """
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


def create_private(path: str | Path, buffering: int = BLOCK) -> BinaryIO:
    """Open a new file for writing, readable by its owner alone from its first moment on.

    Raises FileExistsError: a name that is already there is never followed or truncated.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(path, flags, PRIVATE_FILE), "wb", buffering=buffering)


def write_new_secret(path: Path, text: str) -> None:
    """Write a secret to a new private file, never over one that exists. Raises StateError."""
    try:
        with create_private(path) as stream:
            stream.write(text.encode("utf-8"))
            stream.flush()
            os.fsync(stream.fileno())
    except FileExistsError as error:
        raise StateError(
            f"{path} exists already", hint="A key is never overwritten: choose another file name."
        ) from error
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        if error.errno in ABSENT:
            raise StateError(
                f"cannot write {path}: {error.strerror}", hint="Make its folder first, or name another place."
            ) from error
        raise refused_in_state("cannot write a secret", error, path) from error


@contextmanager
def atomic_writer(path: Path) -> Iterator[BinaryIO]:
    """Write ``path`` so that it appears whole or not at all; a private file, replaced atomically.

    The temporary file lies in the same folder (a rename across file systems is a copy) and is
    removed when the block raises.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with create_private(temporary) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def write_atomic(path: Path, data: bytes) -> None:
    """Write a small private file whole or not at all."""
    with atomic_writer(path) as stream:
        stream.write(data)


class HashingReader(io.RawIOBase):
    """A reader that keeps the sha256 and the size of all that was read through it."""

    def __init__(self, inner: BinaryIO, progress: Progress = no_progress, total: int = 0) -> None:
        super().__init__()
        self._inner = inner
        self._digest = hashlib.sha256()
        self._progress = progress
        self._total = total
        self.bytes = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data = self._inner.read(size)
        self._digest.update(data)
        self.bytes += len(data)
        self._progress(self.bytes, self._total)
        return data

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def drain(self) -> str:
        """Read on to the end; sha256 of everything, lowercase hex."""
        while self.read(BLOCK):
            pass
        return self.hexdigest()

    @property
    def stream(self) -> BinaryIO:
        """This reader, for functions that ask for a binary file."""
        return cast("BinaryIO", self)

    def hexdigest(self) -> str:
        """sha256 of what was read so far, lowercase hex."""
        return self._digest.hexdigest()


class HashingWriter(io.RawIOBase):
    """A writer that keeps the sha256 and the size of all that was written through it."""

    def __init__(self, inner: BinaryIO) -> None:
        super().__init__()
        self._inner = inner
        self._digest = hashlib.sha256()
        self.bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        view = memoryview(data)
        self._inner.write(view)
        self._digest.update(view)
        self.bytes += view.nbytes
        return view.nbytes

    @property
    def stream(self) -> BinaryIO:
        """This writer, for functions that ask for a binary file."""
        return cast("BinaryIO", self)

    def hexdigest(self) -> str:
        """sha256 of what was written so far, lowercase hex."""
        return self._digest.hexdigest()


def sha256_of(path: str | Path, progress: Progress = no_progress) -> str:
    """sha256 of a file, lowercase hex."""
    with io.FileIO(path) as stream:
        total = os.fstat(stream.fileno()).st_size
        if total < BLOCK and len(data := stream.read(total + 1)) == total:
            progress(total, total)  # all of it at once, as most of many files are read
            return hashlib.sha256(data).hexdigest()
        stream.seek(0)
        return HashingReader(cast("BinaryIO", stream), progress, total).drain()
