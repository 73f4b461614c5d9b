"""A folder that the system has mounted, as a target: a network drive, a disk, a removable medium."""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, TypeVar

from pydantic import Field
from typing_extensions import Buffer

from tasks.errors import TargetMissing
from tasks.platform.files import BLOCK, PRIVATE_FOLDER, create_private, sync_folder
from tasks.platform.patience import NoAnswer, afterwards, within
from tasks.records import Progress, Properties, Stat, no_progress
from tasks.targets.base import Target, TargetOptions, check_name
from tasks.targets.shared.errors import HANGS, NO_FILE, SYSTEM_ERRORS, translate
from tasks.targets.shared.marker import MARKER, MEDIUM_MARKER, Medium, another_target, crossed_into
from tasks.targets.shared.transfer import exactly, is_dead, part_name, throttle_to, time_stamp

# Folders that systems put into a drive's root, and that a backup's user may not even read.
_OF_THE_SYSTEM = frozenset({"lost+found", "System Volume Information", "$RECYCLE.BIN"})


# So much is written before the drive must have it: then the last wait does not grow with the object.
_SYNCED_EVERY = 64 << 20

TIMEOUT = 120

R = TypeVar("R")


class Do(Protocol):
    """Makes a call."""

    def __call__(self, act: Callable[..., R], *arguments: Any) -> R: ...


def directly(act: Callable[..., R], *arguments: Any) -> R:
    """Make a call here and now."""
    return act(*arguments)


class MountedOptions(TargetOptions):
    """What the options of all places have in common that the system has mounted."""

    timeout: int = Field(
        TIMEOUT,
        ge=1,
        le=3600,
        description="Seconds without a sign of life until we give up. A drive that has to wake up, or is "
        "slow, needs some.",
    )


READERS = 4


class MountedFolder(Target):
    """Objects are files, slots are sub-folders; names that begin with a dot are never objects.

    Every call first asks ``find`` whether the medium is there. What lies in another target's folder inside
    this one is not this one's (marker.py). Whatever asks the system about the place is made where it can be
    left behind (platform/patience.py): the system itself waits for ever for a share whose server is gone.
    """

    _crosses = False

    def __init__(self, name: str, root: Path, bandwidth: str | None = None, timeout: float = TIMEOUT) -> None:
        super().__init__(name)
        self.properties = Properties(readers=READERS)
        self._root = root
        self._timeout = timeout
        # What hangs when it hangs.
        self._mount = root
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
        do = self._doing(operation)
        medium = do(self.find, operation)
        part = final.with_name(part_name(final.name))
        made: list[Path] = []
        try:
            self._refuse_crossing(final, operation)
            with self._translated(operation, writing=True):
                do(make_folders, final.parent, self._root, made)
                stream = do(create_private, part)
            with self._closed_quietly(stream, operation):
                self._same_medium(medium, operation)
                do(remove_dead_parts, part, final.name)
                self._fill(stream, reader, size, progress, operation)
            self._same_medium(medium, operation)
            with self._translated(operation, writing=True):
                do(part.replace, final)
                do(sync_folder, final.parent)
            self._same_medium(medium, operation)
        except BaseException as error:
            self._clear_up(operation, part.unlink)
            if isinstance(error, TargetMissing):
                self._clear_up(operation, remove_empty, made)
            raise
        return Stat(name=name, bytes=size)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Read an object. On Linux the page cache is dropped first, so that bytes come from the medium.

        Elsewhere the system's cache may answer; a network drive's server may have one of its own.
        """
        operation = f"cannot read {name} on {self.name}"
        path = self._object(name, operation)
        do = self._doing(operation)
        with self._translated(operation):
            raw = do(MediumReader, path, operation, do, lambda act: self._clear_up(operation, act))
        with io.BufferedReader(raw, BLOCK) as stream:
            yield stream

    def stat(self, name: str) -> Stat:
        """Size of an object. Raises ObjectMissing."""
        operation = f"cannot find {name} on {self.name}"
        path = self._object(name, operation)
        with self._translated(operation):
            return Stat(name=name, bytes=self._doing(operation)(path.lstat).st_size)

    def list(self, prefix: str = "") -> list[Stat]:
        """All regular files below the root, but for hidden ones, the system's own folders and other targets'.

        Symbolic links are not followed. Raises TargetMissing also where the medium went away during
        the listing: a list cut short must not look like backups lost.
        """
        operation = f"cannot list {self.name}"
        do = self._doing(operation)
        medium = do(self.find, operation)
        with self._translated(operation):
            found = [item for item in walk(self._root, self._crosses, do) if item.name.startswith(prefix)]
        self._same_medium(medium, operation)
        return sorted(found, key=lambda item: item.name)

    def delete(self, name: str) -> None:
        """Remove an object, durably. Raises ObjectMissing."""
        operation = f"cannot delete {name} on {self.name}"
        path = self._object(name, operation)
        do = self._doing(operation)
        self._refuse_crossing(path, operation)
        with self._translated(operation, writing=True):
            do(path.unlink)
            do(sync_folder, path.parent)

    def free_space(self) -> int | None:
        """Bytes free for this user; None where the share answers 0/0/0, which means unknown."""
        operation = f"cannot ask {self.name} for its free space"
        do = self._doing(operation)
        do(self.find, operation)
        with self._translated(operation):
            usage = do(shutil.disk_usage, self._root)
        return usage.free if any(usage) else None

    def close(self) -> None:
        """Nothing stays open between calls."""

    def _doing(self, operation: str) -> Do:
        """What makes the calls of an operation; it raises TargetMissing where the place does not answer."""

        def do(act: Callable[..., R], *arguments: Any) -> R:
            try:
                return within(self._timeout, str(self._mount), act, *arguments)
            except NoAnswer as error:
                raise HANGS.error(operation, str(error.strerror)) from error

        return do

    def _clear_up(self, operation: str, act: Callable[..., object], *arguments: Any) -> None:
        """Do it, as far as that goes; where the place hangs, as soon as it answers."""
        try:
            self._doing(operation)(act, *arguments)
        except TargetMissing:
            afterwards(str(self._mount), partial(act, *arguments))
        except OSError:
            return

    @contextmanager
    def _closed_quietly(self, stream: BinaryIO, operation: str) -> Iterator[None]:
        """Close at the end; after a failed write closing fails the same way again, which says nothing new."""
        try:
            yield
        finally:
            self._clear_up(operation, stream.close)

    def _path(self, name: str) -> Path:
        parts = check_name(name).split("/")
        # The marker and part files begin with a dot: no object may take their place.
        if any(part.startswith(".") for part in parts):
            raise ValueError(f"not an object name, since a part of it begins with a dot: {name!r}")
        return self._root.joinpath(*parts)

    def _refuse_crossing(self, path: Path, operation: str) -> None:
        """Raise TargetError where one of the folders that lead to ``path`` is another target's."""
        if path.parent == self._root:
            return
        if crossed := self._doing(operation)(marked_on_the_way, path.parent, self._root):
            raise another_target(crossed, str(self._root), operation)

    def _object(self, name: str, operation: str) -> Path:
        """The path of an object that is there: never a folder, a link or a pipe."""
        path = self._path(name)
        do = self._doing(operation)
        do(self.find, operation)
        with self._translated(operation):
            mode = do(path.lstat).st_mode
        if not stat.S_ISREG(mode):
            raise NO_FILE.error(operation)
        return path

    def _fill(
        self, stream: BinaryIO, reader: BinaryIO, size: int, progress: Progress, operation: str
    ) -> None:
        """Write, flush and fsync; only what the drive says is translated, not what the reader raises."""
        do = self._doing(operation)
        done = synced = 0
        for block in exactly(reader, size, operation):
            for piece in self._throttle.pieces(block):
                with self._translated(operation, writing=True):
                    do(stream.write, piece)
                    if done - synced >= _SYNCED_EVERY:
                        do(_synced, stream)
                        synced = done
                done += len(piece)
                progress(done, size)
        with self._translated(operation, writing=True):
            # Some file systems find out only here that there is no room.
            do(_synced, stream)
            do(stream.close)

    def _same_medium(self, medium: Medium, operation: str) -> None:
        if self._doing(operation)(self.find, operation) != medium:
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
                self._doing(operation)(self.find, operation)
            raise translate(error, operation, writing=writing) from error


def _synced(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


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


def marked_on_the_way(folder: Path, root: Path) -> str:
    """The first folder, from ``folder`` up to ``root``, that is another target's; "" if none is."""
    while folder != root:
        if any((folder / marker).exists() for marker in (MARKER, MEDIUM_MARKER)):
            return folder.relative_to(root).as_posix()
        folder = folder.parent
    return ""


class MediumReader(io.FileIO):
    """A file whose pages are dropped from the cache first, and whose read errors are TargetErrors.

    ``do`` makes its calls, ``clear_up`` closes it, where one was left behind as soon as that returned.
    """

    def __init__(
        self, path: Path, operation: str, do: Do, clear_up: Callable[[Callable[[], object]], object]
    ) -> None:
        super().__init__(path, "rb")
        self._operation = operation
        self._do = do
        self._clear_up = clear_up
        if sys.platform == "linux":
            # Drops clean pages only; put has synced them. Reading back from the cache proves nothing.
            os.posix_fadvise(self.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def readinto(self, buffer: Buffer, /) -> int | None:
        return self._made(super().readinto, buffer)

    def readall(self) -> bytes:
        """In pieces: each shows that the medium is alive."""
        return b"".join(iter(lambda: self._made(super(MediumReader, self).read, BLOCK) or b"", b""))

    def close(self) -> None:
        if not self.closed:
            self._clear_up(super().close)

    def _made(self, act: Callable[..., R], *arguments: Any) -> R:
        with SYSTEM_ERRORS.translated(self._operation):
            return self._do(act, *arguments)


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


def walk(root: Path, crossing: bool = False, do: Do = directly) -> Iterator[Stat]:
    """The regular files below ``root`` that can be objects, in no order; ``crossing`` also other targets'.

    ``do`` reads one folder after the other. Raises OSError.
    """
    waiting = [""]
    # A stack of our own: folders may be nested deeper than Python recurses.
    while waiting:
        folder = waiting.pop()
        entries = do(_entries, root / folder)
        left_out = frozenset() if crossing else crossed_into(folder, entries.keys())
        for name in entries.keys() - left_out - _OF_THE_SYSTEM:
            found, path = entries[name], f"{folder}/{name}" if folder else name
            if not _is_ours(name):
                continue
            if isinstance(found, os.stat_result):
                yield Stat(name=path, bytes=found.st_size, stamp=_stamp(found))
            elif found == "folder":
                waiting.append(path)


def _stamp(found: os.stat_result) -> str:
    more = f"{found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"
    return time_stamp(max(found.st_mtime, found.st_ctime), more)


def _entries(folder: Path) -> dict[str, os.stat_result | Literal["folder", "neither"]]:
    """What lies in a folder, by name."""
    with os.scandir(folder) as found:
        return {
            entry.name: "folder" if entry.is_dir(follow_symlinks=False) else _file(entry) for entry in found
        }


def _is_ours(name: str) -> bool:
    """Whether put could have given this name: not hidden, no backslash, proper Unicode."""
    if name.startswith(".") or "\\" in name:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _file(entry: os.DirEntry[str]) -> os.stat_result | Literal["neither"]:
    """A file, which may have been deleted since the folder was read."""
    try:
        return entry.stat(follow_symlinks=False) if entry.is_file(follow_symlinks=False) else "neither"
    except FileNotFoundError:
        return "neither"
