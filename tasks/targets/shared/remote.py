"""A folder on another machine that is reached without mounting it: SFTP and SMB differ in a Remote alone.

RemoteFolderTarget is the target on it: marker, names, listing, reading. Upload sends an object, going on
where a dead run stopped: a large one grows as ``.<name>.part``, which the next try finds. What makes going on
safe: all but the last IN_FLIGHT bytes of it had been confirmed by the server; the sealed file's header, which
is random, and the last bytes before the place to go on from are read back and compared; and before a backup
counts, the whole object is read. Small objects, which several plans may write at the same time (RECOVER.md),
grow under names of their own.
"""

from __future__ import annotations

import io
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Literal, NamedTuple

from typing_extensions import Buffer

from tasks.errors import TargetError, TargetMissing
from tasks.platform.files import BLOCK
from tasks.records import Progress, Properties, Stat, no_progress
from tasks.targets.base import Target, check_name
from tasks.targets.capabilities import SupportsPrepare
from tasks.targets.shared.errors import NO_FILE, NO_OBJECT, Translator
from tasks.targets.shared.marker import (
    LARGEST_MARKER,
    MARKER,
    MEDIUM_MARKER,
    Marker,
    another_target,
    crossed_into,
    new_marker,
    parse_marker,
    refuse_another,
    refuse_taken,
)
from tasks.targets.shared.transfer import DAY, exactly, is_dead, part_name, time_stamp

# No Remote has more bytes in flight than these, so all before them had been confirmed.
IN_FLIGHT = 4 << 20
# Folders that systems and NAS boxes put beside ours, with copies of files in them.
_OF_THE_SYSTEM = frozenset(
    {"lost+found", "System Volume Information", "$RECYCLE.BIN", "@eaDir", "#recycle", "#snapshot"}
)
# How long a part waits to be gone on with: as long as the sealed archive does in staging, by default.
_WAITS = 7 * DAY

_claimed: set[tuple[str, str]] = set()
_lock = threading.Lock()


class Entry(NamedTuple):
    """What lies in a folder. ``modified`` is by the server's clock, in seconds since 1970.

    A link is neither a file nor a folder: it is never followed.
    """

    name: str
    bytes: int
    modified: float
    is_file: bool
    is_folder: bool


class RemoteFile(ABC):
    """An open file. Every method may raise what the Remote's ``translated`` turns into a TargetError."""

    @abstractmethod
    def read(self, size: int, offset: int) -> bytes:
        """At most ``size`` bytes from ``offset`` on, b"" at the end. Quickest from front to back."""

    @abstractmethod
    def write(self, data: bytes, offset: int) -> None:
        """Write at ``offset``. It may fail later, at the next write or at ``sync``."""

    @abstractmethod
    def sync(self) -> None:
        """Wait for all that was written, and have the server put it on its disk."""

    @abstractmethod
    def close(self) -> None:
        """Close it. Never fails: what was written counts after ``sync`` alone."""


class Remote(Translator):
    """A folder on another machine, by one protocol.

    Paths are relative to it, with forward slashes; "" is itself. ``where`` names the place in messages,
    ``readers`` is how many files can be read at the same time. Connects at the first call, and again at the
    next call after the connection broke.
    """

    where: str
    readers = 1

    @abstractmethod
    def look(self, path: str) -> Entry | None:
        """What is at ``path``; None where nothing is."""

    @abstractmethod
    def entries(self, folder: str) -> list[Entry]:
        """What lies in a folder, without "." and "..", in no order."""

    @abstractmethod
    def open(self, path: str, mode: Literal["read", "new", "go on"]) -> RemoteFile:
        """Open a file: to read it, to write a new one, readable by its owner alone where the server knows
        such rights, or to write on in one that is there."""

    @abstractmethod
    def replace(self, path: str, final: str) -> None:
        """Give a file its final name; one of that name is replaced."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Remove a file."""

    @abstractmethod
    def make_folder(self, path: str) -> None:
        """Make a folder, its parent being there."""

    @abstractmethod
    def remove_folder(self, path: str) -> None:
        """Remove an empty folder."""

    @abstractmethod
    def free(self) -> int | None:
        """Bytes free for this user, None where the server does not say."""

    @abstractmethod
    def check(self, name: str) -> None:
        """Raises ValueError for a name that cannot be used there."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection. Calling it twice is fine."""

    def shortcomings(self) -> str:
        """What this server cannot do that a target should be able to do; "" if nothing."""
        return ""


class RemoteReader(io.RawIOBase):
    """An open file as a stream, from front to back; its errors are TargetErrors."""

    def __init__(self, remote: Remote, file: RemoteFile, operation: str) -> None:
        super().__init__()
        self._remote = remote
        self._file = file
        self._operation = operation
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self._next(len(view))
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        """In large requests; io's own way would ask for 8 KiB at a time."""
        return b"".join(iter(lambda: self._next(BLOCK), b""))

    def _next(self, size: int) -> bytes:
        with self._remote.translated(self._operation):
            data = self._file.read(size, self._position)
        self._position += len(data)
        return data

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class RemoteFolderTarget(Target, SupportsPrepare):
    """Objects are files, slots are sub-folders; names that begin with a dot are never objects.

    Every call first asks the marker whether the place is the right one: on a server whose backup disk is
    not mounted, the folder beneath it must not fill up and pass for a target. What lies in another target's
    folder inside this one is not this one's (marker.py).
    """

    _crosses = False

    def __init__(self, name: str, remote: Remote) -> None:
        super().__init__(name)
        self.properties = Properties(readers=remote.readers)
        self.errors = self._remote = remote

    def prepare(self) -> str:
        """Write the marker, once, making the folder itself if need be.

        Raises TargetMissing where its parent is not there either, TargetError where it is marked for another
        target.
        """
        remote = self._remote
        operation = f"cannot prepare {remote.where} for {self.name}"
        with remote.translated(operation, writing=True):
            root = remote.look("")
            if root is None:
                remote.make_folder("")
        marker = self._marker(operation)
        if marker is None:
            self._write_marker(operation)
            what = "marked" if root else "made and marked"
            return f"{what} {remote.where} for {self.name}{remote.shortcomings()}"
        refuse_taken(marker, self.name, operation)
        return f"{remote.where} was already marked for {self.name}{remote.shortcomings()}"

    def put(self, name: str, reader: BinaryIO, size: int, progress: Progress = no_progress) -> Stat:
        """Part file beside the object, sync, look at its size, rename; the marker is checked throughout.

        A put that was cut off, even by the death of the process, goes on where it stopped when the same
        bytes are put under the same name again (see Upload).
        """
        operation = f"cannot store {name} on {self.name}"
        self._check(name)
        place = self._find(operation)
        self._refuse_crossing(name, operation)
        upload = Upload(self._remote, name, size, operation)
        try:
            upload.send(reader, progress)
            self._same_place(place, operation)
            upload.publish()
            self._same_place(place, operation)
        except BaseException as error:
            upload.give_up(error)
            raise
        finally:
            upload.release()
        return Stat(name=name, bytes=size)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Read an object. The server may answer from its memory; nothing of this machine's is used."""
        operation = f"cannot read {name} on {self.name}"
        self._object(name, operation)
        with self._remote.translated(operation):
            raw = RemoteReader(self._remote, self._remote.open(name, "read"), operation)
        with io.BufferedReader(raw, BLOCK) as stream:
            yield stream

    def stat(self, name: str) -> Stat:
        """Size of an object. Raises ObjectMissing."""
        entry = self._object(name, f"cannot find {name} on {self.name}")
        return Stat(name=name, bytes=entry.bytes)

    def list(self, prefix: str = "") -> list[Stat]:
        """All files below the folder, but for hidden ones and the systems' own folders.

        Raises TargetMissing also where the place went away during the listing: a list cut short must not
        look like backups lost.
        """
        operation = f"cannot list {self.name}"
        place = self._find(operation)
        with self._remote.translated(operation):
            found = [item for item in self._walk() if item.name.startswith(prefix)]
        self._same_place(place, operation)
        return sorted(found, key=lambda item: item.name)

    def delete(self, name: str) -> None:
        """Remove an object. Raises ObjectMissing."""
        operation = f"cannot delete {name} on {self.name}"
        self._object(name, operation)
        self._refuse_crossing(name, operation)
        with self._remote.translated(operation, writing=True):
            self._remote.remove(name)

    def free_space(self) -> int | None:
        """Bytes free for this user; None where the server does not say, or says 0 of 0."""
        operation = f"cannot ask {self.name} for its free space"
        self._find(operation)
        with self._remote.translated(operation):
            return self._remote.free()

    def close(self) -> None:
        """Close the connection; the next call would open a new one."""
        self._remote.close()

    def _check(self, name: str) -> None:
        # The marker and part files begin with a dot: no object may take their place.
        if any(part.startswith(".") for part in check_name(name).split("/")):
            raise ValueError(f"not an object name, since a part of it begins with a dot: {name!r}")
        self._remote.check(name)

    def _object(self, name: str, operation: str) -> Entry:
        """An object that is there: never a folder, a link or a pipe. Raises ObjectMissing."""
        self._check(name)
        self._find(operation)
        with self._remote.translated(operation):
            entry = self._remote.look(name)
        if entry is None or not entry.is_file:
            raise (NO_OBJECT if entry is None else NO_FILE).error(operation)
        return entry

    def _walk(self) -> Iterator[Stat]:
        waiting = [""]
        # A stack of our own: folders may be nested deeper than Python recurses.
        while waiting:
            folder = waiting.pop()
            entries = {entry.name: entry for entry in self._remote.entries(folder)}
            left_out = frozenset() if self._crosses else crossed_into(folder, entries.keys())
            for name in entries.keys() - left_out - _OF_THE_SYSTEM:
                entry, path = entries[name], f"{folder}/{name}" if folder else name
                if name.startswith(".") or "\\" in name:
                    continue
                if entry.is_folder:
                    waiting.append(path)
                elif entry.is_file:
                    yield Stat(name=path, bytes=entry.bytes, stamp=time_stamp(entry.modified))

    def _refuse_crossing(self, name: str, operation: str) -> None:
        """Raise TargetError where one of the folders that lead to an object is another target's."""
        folder = name.rpartition("/")[0]
        while folder:
            with self._remote.translated(operation):
                marked = any(self._remote.look(f"{folder}/{marker}") for marker in (MARKER, MEDIUM_MARKER))
            if marked:
                raise another_target(folder, self._remote.where, operation)
            folder = folder.rpartition("/")[0]

    def _find(self, operation: str) -> str:
        """The marker's id. Raises TargetMissing, begun with ``operation``; writes nothing."""
        marker = self._marker(operation)
        where = self._remote.where
        hint = f"Look at the server. If this is a new place, run `datasave target init {self.name}`."
        if marker is None:
            with self._remote.translated(operation):
                gone = self._remote.look("") is None
            if gone:
                raise TargetMissing(f"{operation}: the folder {where} is not there", hint=hint)
            raise TargetMissing(
                f"{operation}: {where} holds no marker file {MARKER}, "
                "so the disk behind it seems to be missing",
                hint=hint,
            )
        hint = "Another disk seems to be mounted on the server, or the plan names the wrong folder."
        refuse_another(marker, self.name, operation, where, hint)
        return marker.id

    def _same_place(self, place: str, operation: str) -> None:
        if self._find(operation) != place:
            raise TargetMissing(
                f"{operation}: another disk than at the start is at {self._remote.where}",
                hint="Leave the server's disk in and mounted until the run has ended, then run it again.",
            )

    def _marker(self, operation: str) -> Marker | None:
        """The marker, None if there is none. Raises TargetMissing if it cannot be understood."""
        with self._remote.translated(operation):
            if self._remote.look(MARKER) is None:
                return None
            file = self._remote.open(MARKER, "read")
            try:
                data = file.read(LARGEST_MARKER, 0)
            finally:
                file.close()
        where = f"{MARKER} at {self._remote.where}"
        repair = "Look at the server's disk. If it is sound, remove that file and run "
        return parse_marker(data, Marker, operation, where, repair + f"`datasave target init {self.name}`.")

    def _write_marker(self, operation: str) -> None:
        data = new_marker(self.name)
        upload = Upload(self._remote, MARKER, len(data), operation)
        try:
            upload.send(io.BytesIO(data), no_progress)
            upload.publish()
        except BaseException as error:
            upload.give_up(error)
            raise


class Upload:
    """The upload of one object: ``send`` all, then ``publish`` it under its name, or ``give_up``."""

    def __init__(self, remote: Remote, name: str, size: int, operation: str) -> None:
        self._remote = remote
        self._name = name
        self._size = size
        self._operation = operation
        self._folder, _, self._last = name.rpartition("/")
        self._made: list[str] = []
        own = part_name(self._last)
        waiting = self._beside(f".{self._last}.part")
        self._lasting = size > IN_FLIGHT and _claim(remote.where, waiting)
        self._part = waiting if self._lasting else self._beside(own)

    def send(self, reader: BinaryIO, progress: Progress) -> None:
        """Write the part file and have it on the server's disk. Raises TargetError, and what the reader
        raises."""
        with self._remote.translated(self._operation, writing=True):
            self._make_folders(self._folder)
            beginning = self._beginning() if self._lasting else None
            file = self._remote.open(self._part, "go on" if beginning else "new")
        try:
            self._remove_dead_parts()
            self._fill(file, reader, progress, beginning or _Beginning(0, b"", b""))
        finally:
            file.close()
        self._check_size()

    def publish(self) -> None:
        """Give it its name."""
        with self._remote.translated(self._operation, writing=True):
            self._remote.replace(self._part, self._name)

    def give_up(self, error: BaseException) -> None:
        """After ``error``: the part stays only where the next try may go on with it.

        That is after a fault that may pass, and where someone ended the program.
        """
        passing = not (error.permanent if isinstance(error, TargetError) else isinstance(error, Exception))
        if not (self._lasting and passing):
            self._remove(self._part)
        if isinstance(error, TargetMissing) and error.permanent:
            self._remove_empty()

    def release(self) -> None:
        """Let others of this process write an object of that name."""
        if self._lasting:
            with _lock:
                _claimed.discard((self._remote.where, self._part))

    def _beside(self, name: str) -> str:
        return f"{self._folder}/{name}" if self._folder else name

    def _make_folders(self, folder: str) -> None:
        """Make the slot's folder and those above it, never the root, noting which."""
        if not folder:
            return
        self._make_folders(folder.rpartition("/")[0])
        found = self._remote.look(folder)
        if found is None:
            try:
                self._remote.make_folder(folder)
            except Exception:
                found = self._remote.look(folder)  # another run may have made it just now
                if found is None:
                    raise
            else:
                self._made.append(folder)
                return
        if not found.is_folder:
            raise TargetError(
                f"{self._operation}: {folder} is there and is no folder",
                hint="Something else has that name there. Look at it, and remove it if it is not needed.",
                permanent=True,
            )

    def _beginning(self) -> _Beginning | None:
        """What a dead run left of this object, None where there is nothing to go on with."""
        found = self._remote.look(self._part)
        if found is None:
            return None
        end = found.bytes - IN_FLIGHT
        if not found.is_file or found.bytes > self._size or end < BLOCK:
            self._remote.remove(self._part)
            return None
        file = self._remote.open(self._part, "read")
        try:
            head = _read(file, 0, BLOCK)
            tail = _read(file, end - BLOCK, end)
        finally:
            file.close()
        return _Beginning(end, head, tail)

    def _remove_dead_parts(self) -> None:
        """Remove what dead runs left in this folder, so that it cannot keep a full disk full.

        Dead are parts of the same object that another process began (the plan's lock lets one run write at
        a time), and those that have waited too long. One that cannot be removed is no reason to fail.
        """
        with suppress(TargetError), self._remote.translated(self._operation):
            now = self._remote.look(self._part)
            for entry in self._remote.entries(self._folder):
                if now is None or entry.name == self._part.rpartition("/")[2] or not entry.is_file:
                    continue
                if _is_over(entry.name, self._last, now.modified - entry.modified):
                    self._remove(self._beside(entry.name))

    def _fill(self, file: RemoteFile, reader: BinaryIO, progress: Progress, beginning: _Beginning) -> None:
        """Write and sync; only what the server says is translated, not what the reader raises."""
        done = 0
        for block in exactly(reader, self._size, self._operation):
            new = self._not_there_yet(block, done, beginning)
            done += len(block)
            if new:
                with self._remote.translated(self._operation, writing=True):
                    file.write(new, done - len(new))
            progress(done, self._size)
        with self._remote.translated(self._operation, writing=True):
            file.sync()

    def _not_there_yet(self, block: bytes, start: int, beginning: _Beginning) -> bytes:
        """What of a block, which begins at ``start``, is still to be sent."""
        there = block[: max(0, beginning.bytes - start)]
        if there and not _same(there, start, beginning.head, 0):
            beginning.bytes = start  # another object of that name: its bytes are all overwritten
            return block
        if there and not _same(there, start, beginning.tail, beginning.bytes - len(beginning.tail)):
            # What was read cannot be read again, and what is there before it may be damaged as well.
            self._remove(self._part)
            raise TargetError(
                f"{self._operation}: what a broken-off try left there is damaged",
                hint="It was removed, and all is sent again. If that happens again, check the server's disk.",
                permanent=False,
            )
        return block[len(there) :]

    def _check_size(self) -> None:
        """A full disk may show only now: closing says nothing."""
        with self._remote.translated(self._operation, writing=True):
            found = self._remote.look(self._part)
        if found is None or found.bytes != self._size:
            arrived = found.bytes if found else 0
            self._remove(self._part)
            raise TargetError(
                f"{self._operation}: {arrived} of {self._size} bytes arrived there",
                hint="Look whether the server's disk is full or failing, and whether something there removes "
                "files.",
                permanent=False,
            )

    def _remove(self, path: str) -> None:
        with suppress(TargetError), self._remote.translated(self._operation):
            self._remote.remove(path)

    def _remove_empty(self) -> None:
        for folder in reversed(self._made):
            with suppress(TargetError), self._remote.translated(self._operation):
                self._remote.remove_folder(folder)


class _Beginning:
    """The first ``bytes`` of an object, which are there: their first and their last block."""

    def __init__(self, there: int, head: bytes, tail: bytes) -> None:
        self.bytes = there
        self.head = head
        self.tail = tail


def _read(file: RemoteFile, start: int, end: int) -> bytes:
    data = b""
    while len(data) < end - start and (more := file.read(end - start - len(data), start + len(data))):
        data += more
    return data


def _same(block: bytes, start: int, known: bytes, known_start: int) -> bool:
    """Whether a block agrees with known bytes where the two overlap."""
    first, last = max(start, known_start), min(start + len(block), known_start + len(known))
    if first >= last:
        return True
    return block[first - start : last - start] == known[first - known_start : last - known_start]


def _is_over(part: str, name: str, age: float) -> bool:
    """Whether a file is a part that nobody will go on with."""
    if not (part.startswith(".") and part.endswith(".part")):
        return False
    dead = is_dead(part, name, age)
    return age > _WAITS if dead is None else dead


def _claim(where: str, part: str) -> bool:
    with _lock:
        if (where, part) in _claimed:
            return False
        _claimed.add((where, part))
        return True
