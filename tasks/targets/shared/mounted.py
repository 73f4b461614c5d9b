"""A folder that the system has mounted, as a target: a network drive, a disk, a removable medium."""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from typing_extensions import Buffer

from tasks.errors import TargetMissing
from tasks.platform.files import BLOCK, PRIVATE_FOLDER, create_private, sync_folder
from tasks.records import Progress, Properties, Stat, no_progress
from tasks.targets.base import Target, check_name
from tasks.targets.shared.errors import NO_FILE, SYSTEM_ERRORS, translate
from tasks.targets.shared.marker import MARKER, MEDIUM_MARKER, Medium, another_target, crossed_into
from tasks.targets.shared.transfer import exactly, is_dead, part_name, throttle_to

# Folders that systems put into a drive's root, and that a backup's user may not even read.
_OF_THE_SYSTEM = frozenset({"lost+found", "System Volume Information", "$RECYCLE.BIN"})


class MountedFolder(Target):
    """Objects are files, slots are sub-folders; names that begin with a dot are never objects.

    Every call first asks ``find`` whether the medium is there. What lies in another target's folder inside
    this one is not this one's (marker.py).
    """

    _crosses = False

    def __init__(self, name: str, root: Path, bandwidth: str | None = None) -> None:
        super().__init__(name)
        self.properties = Properties()
        self._root = root
        self._throttle = throttle_to(str(root), bandwidth)

    @abstractmethod
    def find(self, operation: str) -> Medium:
        """The medium on which the folder lies right now. Raises TargetMissing, begun with ``operation``."""

    def put(self, name: str, reader: BinaryIO, size: int, progress: Progress = no_progress) -> Stat:
        """Part file beside the object, fsync, rename, fsync the folder; the medium is checked throughout.

        Part files of dead runs in the same folder go first (see remove_dead_parts), so that they cannot
        keep a full drive full.
        """
        final = self._path(name)
        operation = f"cannot store {name} on {self.name}"
        medium = self.find(operation)
        part = final.with_name(part_name(final.name))
        made: list[Path] = []
        try:
            self._refuse_crossing(final, operation)
            with self._translated(operation, writing=True):
                make_folders(final.parent, self._root, made)
                stream = create_private(part)
            with closed_quietly(stream):
                self._same_medium(medium, operation)
                remove_dead_parts(part, final.name)
                self._fill(stream, reader, size, progress, operation)
            self._same_medium(medium, operation)
            with self._translated(operation, writing=True):
                part.replace(final)
                sync_folder(final.parent)
            self._same_medium(medium, operation)
        except BaseException as error:
            with suppress(OSError):
                part.unlink()
            if isinstance(error, TargetMissing):
                remove_empty(made)
            raise
        return Stat(name=name, bytes=size)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Read an object. On Linux the page cache is dropped first, so that bytes come from the medium.

        Elsewhere the system's cache may answer; a network drive's server may have one of its own.
        """
        operation = f"cannot read {name} on {self.name}"
        path = self._object(name, operation)
        with self._translated(operation):
            raw = MediumReader(path, operation)
        with io.BufferedReader(raw, BLOCK) as stream:
            yield stream

    def stat(self, name: str) -> Stat:
        """Size of an object. Raises ObjectMissing."""
        operation = f"cannot find {name} on {self.name}"
        path = self._object(name, operation)
        with self._translated(operation):
            return Stat(name=name, bytes=path.lstat().st_size)

    def list(self, prefix: str = "") -> list[Stat]:
        """All regular files below the root, but for hidden ones, the system's own folders and other targets'.

        Symbolic links are not followed. Raises TargetMissing also where the medium went away during
        the listing: a list cut short must not look like backups lost.
        """
        operation = f"cannot list {self.name}"
        medium = self.find(operation)
        with self._translated(operation):
            found = [item for item in walk(self._root, self._crosses) if item.name.startswith(prefix)]
        self._same_medium(medium, operation)
        return sorted(found, key=lambda item: item.name)

    def delete(self, name: str) -> None:
        """Remove an object, durably. Raises ObjectMissing."""
        operation = f"cannot delete {name} on {self.name}"
        path = self._object(name, operation)
        self._refuse_crossing(path, operation)
        with self._translated(operation, writing=True):
            path.unlink()
            sync_folder(path.parent)

    def free_space(self) -> int | None:
        """Bytes free for this user; None where the share answers 0/0/0, which means unknown."""
        operation = f"cannot ask {self.name} for its free space"
        self.find(operation)
        with self._translated(operation):
            usage = shutil.disk_usage(self._root)
        return usage.free if any(usage) else None

    def close(self) -> None:
        """Nothing stays open between calls."""

    def _path(self, name: str) -> Path:
        parts = check_name(name).split("/")
        # The marker and part files begin with a dot: no object may take their place.
        if any(part.startswith(".") for part in parts):
            raise ValueError(f"not an object name, since a part of it begins with a dot: {name!r}")
        return self._root.joinpath(*parts)

    def _refuse_crossing(self, path: Path, operation: str) -> None:
        """Raise TargetError where one of the folders that lead to ``path`` is another target's."""
        folder = path.parent
        while folder != self._root:
            if any((folder / marker).exists() for marker in (MARKER, MEDIUM_MARKER)):
                raise another_target(folder.relative_to(self._root).as_posix(), str(self._root), operation)
            folder = folder.parent

    def _object(self, name: str, operation: str) -> Path:
        """The path of an object that is there: never a folder, a link or a pipe."""
        path = self._path(name)
        self.find(operation)
        with self._translated(operation):
            mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            raise NO_FILE.error(operation)
        return path

    def _fill(
        self, stream: BinaryIO, reader: BinaryIO, size: int, progress: Progress, operation: str
    ) -> None:
        """Write, flush and fsync; only what the drive says is translated, not what the reader raises."""
        done = 0
        for block in exactly(reader, size, operation):
            for piece in self._throttle.pieces(block):
                with self._translated(operation, writing=True):
                    stream.write(piece)
                done += len(piece)
                progress(done, size)
        with self._translated(operation, writing=True):
            stream.flush()
            # Some file systems find out only here that there is no room.
            os.fsync(stream.fileno())
            stream.close()

    def _same_medium(self, medium: Medium, operation: str) -> None:
        if self.find(operation) != medium:
            raise TargetMissing(
                f"{operation}: another medium than at the start is at {self._root}",
                hint="Leave the drive in and mounted until the run has ended, then run it again.",
            )

    @contextmanager
    def _translated(self, operation: str, *, writing: bool = False) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno == errno.ENOENT:
                # On a drive that was just unmounted no object is missing: the drive is.
                self.find(operation)
            raise translate(error, operation, writing=writing) from error


def remove_dead_parts(own: Path, name: str) -> None:
    """Remove part files of dead runs in the folder of the part file ``own`` of the object ``name``.

    Their age is by the drive's own clock: ``own`` was just made there. One that cannot be removed wastes
    space; it is no reason to fail a backup.
    """
    with suppress(OSError):
        now = own.stat().st_mtime
        for path in own.parent.glob(".*.part"):
            if is_dead(path.name, name, now - path.stat().st_mtime):
                path.unlink()


class MediumReader(io.FileIO):
    """A file whose pages are dropped from the cache first, and whose read errors are TargetErrors."""

    def __init__(self, path: Path, operation: str) -> None:
        super().__init__(path, "rb")
        self._operation = operation
        if hasattr(os, "posix_fadvise"):
            # Drops clean pages only; put has synced them. Reading back from the cache proves nothing.
            os.posix_fadvise(self.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def readinto(self, buffer: Buffer, /) -> int | None:
        with SYSTEM_ERRORS.translated(self._operation):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with SYSTEM_ERRORS.translated(self._operation):
            return super().readall() or b""


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
    sync_folder(folder.parent)


def remove_empty(folders: list[Path]) -> None:
    """Remove those of ``folders``, as noted by make_folders, that hold nothing."""
    for folder in reversed(folders):
        with suppress(OSError):
            folder.rmdir()


def walk(root: Path, crossing: bool = False) -> Iterator[Stat]:
    """The regular files below ``root`` that can be objects, in no order; ``crossing`` also other targets'.

    Raises OSError.
    """
    waiting = [""]
    # A stack of our own: folders may be nested deeper than Python recurses.
    while waiting:
        folder = waiting.pop()
        with os.scandir(root / folder) as found:
            entries = {entry.name: entry for entry in found}
        left_out = frozenset() if crossing else crossed_into(folder, entries.keys())
        for name in entries.keys() - left_out - _OF_THE_SYSTEM:
            entry, path = entries[name], f"{folder}/{name}" if folder else name
            if not _is_ours(name):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            elif entry.is_file(follow_symlinks=False) and (size := _size(entry)) is not None:
                yield Stat(name=path, bytes=size)


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
