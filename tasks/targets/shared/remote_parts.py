"""Sending an object to a folder on another machine, going on where a dead run stopped.

A large object grows as ``.<name>.part``, which the next try finds. What makes going on safe: all but the
last IN_FLIGHT bytes of it had been confirmed by the server; the sealed file's header, which is random, and
the last bytes before the place to go on from are read back and compared; and before a backup counts,
`verify` reads the whole object. Small objects, which several plans may write at the same time
(RECOVER.md), grow under names of their own.
"""

from __future__ import annotations

import re
import secrets
import threading
from contextlib import suppress
from typing import BinaryIO

from tasks.errors import TargetError, TargetMissing
from tasks.platform.files import BLOCK
from tasks.records import Progress
from tasks.targets.shared.remote import IN_FLIGHT, Remote, RemoteFile
from tasks.targets.shared.transfer import exactly

_PROCESS = secrets.token_hex(4)
_OWN_NAME = re.compile(r"\.(?P<name>.+)\.(?P<process>[0-9a-f]{8})[0-9a-f]{8}\.part")
_DAY = 86_400
# How long a part waits to be gone on with: as long as the sealed archive does in staging, by default.
_WAITS = 7 * _DAY

_claimed: set[tuple[str, str]] = set()
_lock = threading.Lock()


class Upload:
    """One object on its way: ``send`` all, then ``publish`` it under its name, or ``give_up``."""

    def __init__(self, remote: Remote, name: str, size: int, operation: str) -> None:
        self._remote = remote
        self._name = name
        self._size = size
        self._doing = operation
        self._folder, _, self._last = name.rpartition("/")
        self._made: list[str] = []
        own = f".{self._last}.{_PROCESS}{secrets.token_hex(4)}.part"
        waiting = self._beside(f".{self._last}.part")
        self._lasting = size > IN_FLIGHT and _claim(remote.where, waiting)
        self._part = waiting if self._lasting else self._beside(own)

    def send(self, reader: BinaryIO, progress: Progress) -> None:
        """Write the part file and have it on the server's disk. Raises TargetError, and what the reader
        raises."""
        with self._remote.translated(self._doing, writing=True):
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
        with self._remote.translated(self._doing, writing=True):
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
                f"{self._doing}: {folder} is there and is no folder",
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
        with suppress(TargetError), self._remote.translated(self._doing):
            now = self._remote.look(self._part)
            for entry in self._remote.entries(self._folder):
                if now is None or entry.name == self._part.rpartition("/")[2] or not entry.is_file:
                    continue
                if _is_dead(entry.name, self._last, now.modified - entry.modified):
                    self._remove(self._beside(entry.name))

    def _fill(self, file: RemoteFile, reader: BinaryIO, progress: Progress, beginning: _Beginning) -> None:
        """Write and sync; only what the server says is translated, not what the reader raises."""
        done = 0
        for block in exactly(reader, self._size, self._doing):
            new = self._not_there_yet(block, done, beginning)
            done += len(block)
            if new:
                with self._remote.translated(self._doing, writing=True):
                    file.write(new, done - len(new))
            progress(done, self._size)
        with self._remote.translated(self._doing, writing=True):
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
                f"{self._doing}: what a broken-off try left there is damaged",
                hint="It was removed, and all is sent again. If that happens again, check the server's disk.",
                permanent=False,
            )
        return block[len(there) :]

    def _check_size(self) -> None:
        """A full disk may show only now: closing says nothing."""
        with self._remote.translated(self._doing, writing=True):
            found = self._remote.look(self._part)
        if found is None or found.bytes != self._size:
            arrived = found.bytes if found else 0
            self._remove(self._part)
            raise TargetError(
                f"{self._doing}: {arrived} of {self._size} bytes arrived there",
                hint="Look whether the server's disk is full or failing, and whether something there removes "
                "files.",
                permanent=False,
            )

    def _remove(self, path: str) -> None:
        with suppress(TargetError), self._remote.translated(self._doing):
            self._remote.remove(path)

    def _remove_empty(self) -> None:
        for folder in reversed(self._made):
            with suppress(TargetError), self._remote.translated(self._doing):
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


def _is_dead(name: str, last: str, age: float) -> bool:
    if not (name.startswith(".") and name.endswith(".part")):
        return False
    part = _OWN_NAME.fullmatch(name)
    if part is None:
        return age > _WAITS
    return (part["name"] == last and part["process"] != _PROCESS) or age > _DAY


def _claim(where: str, part: str) -> bool:
    with _lock:
        if (where, part) in _claimed:
            return False
        _claimed.add((where, part))
        return True
