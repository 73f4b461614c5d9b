"""Part files, slot folders and reads past the cache: what the folder target does on a disk."""

from __future__ import annotations

import errno
import io
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from typing_extensions import Buffer

from tasks.platform.files import PRIVATE_FOLDER, sync_folder
from tasks.records import Stat
from tasks.targets.shared.errors import translate

# Folders that systems put into a drive's root, and that a backup's user may not even read.
_OF_THE_SYSTEM = frozenset({"lost+found", "System Volume Information", "$RECYCLE.BIN"})

_PROCESS = secrets.token_hex(4)
_PART = re.compile(r"\.(?P<name>.+)\.(?P<process>[0-9a-f]{8})[0-9a-f]{8}\.part")
_DAY = 86_400


def part_path(final: Path) -> Path:
    """A new name beside ``final`` for the file while it grows; it tells which process writes it."""
    return final.with_name(f".{final.name}.{_PROCESS}{secrets.token_hex(4)}.part")


def remove_dead_parts(own: Path, name: str) -> None:
    """Remove part files of dead runs in the folder of the part file ``own`` of the object ``name``.

    Dead are those of the same object that another process began (the plan's lock lets one run write
    at a time), and any that was not written to for a day by the drive's own clock: ``own`` was
    just made there. One that cannot be removed wastes space; it is no reason to fail a backup.
    """
    with suppress(OSError):
        oldest = own.stat().st_mtime - _DAY
        for path in own.parent.glob(".*.part"):
            part = _PART.fullmatch(path.name)
            if part is None:
                continue
            restarted = part["name"] == name and part["process"] != _PROCESS
            if restarted or path.stat().st_mtime < oldest:
                path.unlink()


class MediumReader(io.FileIO):
    """A file whose pages are dropped from the cache first, and whose read errors are TargetErrors."""

    def __init__(self, path: Path, operation: str) -> None:
        super().__init__(path, "rb")
        self._doing = operation
        if hasattr(os, "posix_fadvise"):
            # Drops clean pages only; put has synced them. Reading back from the cache proves nothing.
            os.posix_fadvise(self.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def readinto(self, buffer: Buffer, /) -> int | None:
        try:
            return super().readinto(buffer)
        except OSError as error:
            raise translate(error, self._doing, writing=False) from error

    def readall(self) -> bytes:
        try:
            return super().readall() or b""
        except OSError as error:
            raise translate(error, self._doing, writing=False) from error


@contextmanager
def closed_quietly(stream: BinaryIO) -> Iterator[None]:
    """Close at the end; after a failed write closing fails the same way again, which says nothing new."""
    try:
        yield
    finally:
        with suppress(OSError):
            stream.close()


def make_folders(folder: Path, root: Path, made: list[Path]) -> None:
    """Make ``folder`` below ``root``, never ``root`` itself, noting in ``made`` what was made."""
    if folder == root:
        return
    make_folders(folder.parent, root, made)
    try:
        folder.mkdir(mode=PRIVATE_FOLDER)
    except FileExistsError:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise
        return
    made.append(folder)
    sync(folder.parent)


def remove_empty(folders: list[Path]) -> None:
    """Remove those of ``folders``, as noted by make_folders, that hold nothing."""
    for folder in reversed(folders):
        with suppress(OSError):
            folder.rmdir()


def sync(folder: Path) -> None:
    """Make renames and deletions in ``folder`` durable where the file system can. Raises OSError."""
    try:
        sync_folder(folder)
    except OSError as error:
        # Some network file systems cannot sync a folder; there the server answers for the rename.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise


def walk(folder: Path, prefix: str = "") -> Iterator[Stat]:
    """The regular files below ``folder`` that can be objects, in no order. Raises OSError."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            if entry.name in _OF_THE_SYSTEM or not _is_ours(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from walk(Path(entry.path), name + "/")
            elif entry.is_file(follow_symlinks=False) and (size := _size(entry)) is not None:
                yield Stat(name=name, bytes=size)


def _is_ours(name: str) -> bool:
    """Whether put could have given this name: not hidden, no backslash, proper Unicode."""
    if name.startswith(".") or "\\" in name:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _size(entry: os.DirEntry[str]) -> int | None:
    """Size in bytes, None if the file was deleted since the folder was read."""
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return None
