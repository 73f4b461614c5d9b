"""What only some targets can do: a small protocol for each ability, and what is done where it is lacking.

An adapter has an ability by naming the protocol among its bases and writing its methods. Callers ask for the
ability, never for the kind: by the function of its name where there is a sensible default, else by
``isinstance`` with the protocol.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, runtime_checkable

from tasks.calendars import Calendar
from tasks.platform.files import HashingReader
from tasks.records import Progress, Record, no_progress
from tasks.targets.base import Target

PROBE = "datasave-doctor.probe"


@runtime_checkable
class SupportsPrepare(Protocol):
    """A place that must be made ready once, when the user asks for it."""

    @abstractmethod
    def prepare(self) -> str:
        """Make it ready; what was done, in words. Raises TargetError.

        A folder gets its marker here. Never done on the way to a backup: an unmounted path must not
        pass for a target.
        """


def prepare(target: Target) -> str:
    """Make the place ready to be a target; what was done, in words. Raises TargetError."""
    return target.prepare() if isinstance(target, SupportsPrepare) else f"{target.name} needs no preparation"


@runtime_checkable
class SupportsProbe(Protocol):
    """A place where it can be checked without writing whether a backup could be stored."""

    @abstractmethod
    def probe(self) -> str:
        """What was seen, in words. Raises TargetError where nothing could be stored."""


def probe(target: Target) -> str:
    """See whether a backup could be stored here; what was seen, in words. Raises TargetError.

    Puts a small object and takes it away again, where the target has no check of its own.
    """
    if isinstance(target, SupportsProbe):
        return target.probe()
    target.put(PROBE, BytesIO(b"probe"), 5)
    target.delete(PROBE)
    return "writable"


@runtime_checkable
class SupportsDisk(Protocol):
    """A place on a disk that this machine has mounted."""

    @abstractmethod
    def disk(self) -> int:
        """Number of the file system that it lies on. Raises TargetError."""


@runtime_checkable
class SupportsVerify(Protocol):
    """A service that makes digests of what it stores, so that nothing need be downloaded to prove it."""

    @abstractmethod
    def verify(
        self,
        name: str,
        size: int,
        sha256: str,
        progress: Progress = no_progress,
        local: BinaryIO | None = None,
    ) -> bool:
        """As the function ``verify``."""


def verify(
    target: Target,
    name: str,
    size: int,
    sha256: str,
    progress: Progress = no_progress,
    local: BinaryIO | None = None,
) -> bool:
    """Whether the object at rest on the medium is these bytes. Raises ObjectMissing.

    Reads it whole, but for a service that makes digests of its own: that compares them with those of
    ``local``, a stream of the same bytes on this machine, where the caller has one.
    """
    if isinstance(target, SupportsVerify):
        return target.verify(name, size, sha256, progress, local)
    return reads_back(target, name, size, sha256, progress)


def reads_back(target: Target, name: str, size: int, sha256: str, progress: Progress = no_progress) -> bool:
    """Whether reading the object whole gives these bytes. Raises ObjectMissing."""
    with target.open(name) as stream:
        reader = HashingReader(stream, progress, size)
        return reader.drain() == sha256 and reader.bytes == size


@runtime_checkable
class SupportsLock(Protocol):
    """A service that keeps objects from being deleted until a day."""

    @abstractmethod
    def locked_until(self, name: str) -> datetime | None:
        """As the function ``locked_until``."""


def locked_until(target: Target, name: str) -> datetime | None:
    """When the lock of an object ends, which may have been; None where nothing is to be locked.

    Raises TargetUnlocked where it should have a lock and has none, or a shorter one; ObjectMissing.
    """
    return target.locked_until(name) if isinstance(target, SupportsLock) else None


@runtime_checkable
class SupportsThaw(Protocol):
    """A service that freezes what is rarely read."""

    @abstractmethod
    def thaw(self, name: str) -> float:
        """As the function ``thaw``."""


def thaw(target: Target, name: str) -> float:
    """Ask for an object to be made readable; seconds until it probably is, 0.0 if it is now.

    That takes hours where it is frozen. Asking again is harmless. Raises ObjectMissing.
    """
    if isinstance(target, SupportsThaw):
        return target.thaw(name)
    target.stat(name)
    return 0.0


@runtime_checkable
class SupportsPolicies(Protocol):
    """A service whose keys can be given rights one by one."""

    @abstractmethod
    def policies(self) -> dict[str, str]:
        """The least rights that the keys need, by role, as text to paste there."""


def policies(target: Target) -> dict[str, str]:
    """The least rights that a service's keys need, by role, as text to paste there; none for other places."""
    return target.policies() if isinstance(target, SupportsPolicies) else {}


class MediumMarker(Record):
    """What the marker of a medium holds; ``id`` is a UUID drawn when the medium was made ready."""

    datasave: Literal[1] = 1
    id: str
    label: str
    plan: str
    target: str
    made: datetime


@dataclass(frozen=True)
class Turn:
    """What one run asks of a target whose media take turns.

    ``label`` is the medium whose turn it is. ``plan`` is the plan's name, "" where that is not known;
    ``known`` the id of each medium, by label, that this machine has seen before: one it has not seen is
    taken at its word. ``last`` is the label that the run day before used, "" if none.
    """

    label: str
    plan: str = ""
    known: Mapping[str, str] = field(default_factory=dict)
    last: str = ""


@runtime_checkable
class SupportsMedia(Protocol):
    """A target of several media of which one at a time is at hand."""

    @abstractmethod
    def use(self, turn: Turn | None) -> None:
        """Use the medium of that turn from now on; with None whichever is at hand."""

    @abstractmethod
    def medium(self, operation: str) -> MediumMarker:
        """The marker of the medium that calls would use now. Raises TargetMissing, begun with
        ``operation``."""

    @abstractmethod
    def at_hand(self) -> Mapping[Path, MediumMarker]:
        """The media that are plugged in, by the path at which each is, whosever they are."""

    @abstractmethod
    def init_medium(self, root: Path, label: str, plan: str, never: Iterable[Path] = ()) -> MediumMarker:
        """Make the drive mounted at ``root`` the medium ``label`` of a plan's target, once.

        Raises TargetError, and writes nothing, where it must not become one, as a disk of this computer or
        that of one of the paths in ``never``.
        """


@runtime_checkable
class MediaOptions(Protocol):
    """Options of a target whose media take turns.

    ``replace`` says whether a full medium may lose its oldest backups before it has the new one.
    """

    calendar: Calendar
    replace: Literal["keep", "first"]
