"""A folder on another machine that is reached without mounting it: the little that SFTP and SMB differ in.

remote_folder.py  the target itself: marker, names, listing, reading
remote_parts.py   sending: part files, going on where a dead run stopped
sftp.py, smb.py   the two ways there, each with its options, connection and errors
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple

from typing_extensions import Buffer

from tasks.platform.files import BLOCK

# No way there keeps more bytes under way than these, so all before them had been confirmed.
IN_FLIGHT = 4 << 20


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
    """An open file. Every method may raise what the way's ``translated`` turns into a TargetError."""

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


class Remote(ABC):
    """A way to a folder on another machine. Paths are relative to it, with forward slashes; "" is itself.

    Connects at the first call, and again at the next call after the connection broke. ``where`` names
    the place in messages.
    """

    where: str

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
    def translated(self, operation: str, *, writing: bool = False) -> AbstractContextManager[None]:
        """Turn what these methods raise in the block into TargetErrors that begin with ``operation``."""

    @abstractmethod
    def is_permanent(self, error: BaseException) -> bool:
        """Whether trying again is pointless."""

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
        self._doing = operation
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
        with self._remote.translated(self._doing):
            data = self._file.read(size, self._position)
        self._position += len(data)
        return data

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
