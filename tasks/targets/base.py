"""The seam every destination fits into: seven methods and a properties record, one contract suite.
Two more have a default that is right for any place that is read like a folder.

Names are relative, with forward slashes (``TUE/clinic-20261123T020000Z-000417.manifest.json``);
a name with ``..``, a leading slash or a backslash is a programming error (ValueError).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from datetime import datetime
from io import BytesIO
from typing import BinaryIO, ClassVar, Self

from tasks.platform.files import HashingReader
from tasks.records import Progress, Properties, Stat, no_progress

PROBE = "datasave-doctor.probe"


class Target(ABC):
    """A place that receives backups.

    Every failure is a TargetError; an adapter translates what its service says into that branch
    (TargetMissing, TargetFull, TargetReadOnly, ObjectMissing) and keeps the cause.
    """

    kind: ClassVar[str]
    properties: Properties

    def __init__(self, name: str) -> None:
        self.name = name

    def prepare(self) -> str:
        """Make the place ready to be a target, once, on the user's word; returns what was done.

        A folder gets its marker here. Never done on the way to a backup: an unmounted path must not
        pass for a target.
        """
        return f"{self.name} needs no preparation"

    @abstractmethod
    def put(self, name: str, reader: BinaryIO, size: int, progress: Progress = no_progress) -> Stat:
        """Store exactly ``size`` bytes from ``reader`` as ``name``, atomically and durably.

        The object is there whole or not at all; one of that name is replaced. Raises TargetError,
        also when the reader ends early or goes on past ``size``.
        """

    @abstractmethod
    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Read an object from the medium itself, past any cache where the system allows.

        Raises ObjectMissing.
        """

    @abstractmethod
    def stat(self, name: str) -> Stat:
        """Size of an object. Raises ObjectMissing."""

    @abstractmethod
    def list(self, prefix: str = "") -> list[Stat]:
        """All whole objects whose name begins with ``prefix``, in name order. Unfinished ones are not
        listed, nor is the target's own marker."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove an object. Raises ObjectMissing."""

    @abstractmethod
    def free_space(self) -> int | None:
        """Bytes free, or None where that is unknown or unbounded."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections. Calling it twice is fine."""

    @abstractmethod
    def is_permanent(self, error: BaseException) -> bool:
        """Whether trying the same call again, with nothing changed, is pointless."""

    def verify(
        self,
        name: str,
        size: int,
        sha256: str,
        progress: Progress = no_progress,
        local: BinaryIO | None = None,  # noqa: ARG002 - for services that prove it without a download
    ) -> bool:
        """Whether the object at rest on the medium is these bytes. Raises ObjectMissing.

        Reads it whole. A service that makes digests of its own compares them with those of ``local``, a
        stream of the same bytes on this machine, where the caller has one.
        """
        with self.open(name) as stream:
            reader = HashingReader(stream, progress, size)
            return reader.drain() == sha256 and reader.bytes == size

    def probe(self) -> str:
        """See whether a backup could be stored here, for the doctor; what was seen, in words.

        Puts a small object and takes it away again. Raises TargetError.
        """
        self.put(PROBE, BytesIO(b"probe"), 5)
        self.delete(PROBE)
        return "writable"

    def policies(self) -> dict[str, str]:
        """The least rights that the service's keys need, by role, as text to paste there; none here."""
        return {}

    def locked_until(self, name: str) -> datetime | None:  # noqa: ARG002 - for services that lock
        """When the lock of an object ends, which may have been; None where this target locks nothing.

        Raises TargetUnlocked where it should have one and does not, or a shorter one, ObjectMissing.
        """
        return None

    def thaw(self, name: str) -> float:
        """Ask for an object to be made readable; seconds until it probably is, 0.0 if it is now.

        Services that freeze what is rarely read take hours. Asking again is harmless. Raises ObjectMissing.
        """
        self.stat(name)
        return 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_name(name: str) -> str:
    """Return ``name`` if it is a legal object name, else raise ValueError."""
    parts = name.split("/")
    if not name or "\\" in name or "\x00" in name or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"not an object name: {name!r}")
    return name
