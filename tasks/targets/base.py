"""The seam every destination fits into: a handful of methods and a properties record, one contract suite.

What only some targets can do, and what their options only sometimes have, is in capabilities.py.

Names are relative, with forward slashes (``TUE/clinic-20261123T020000Z-000417.manifest.json``);
a name with ``..``, a leading slash or a backslash is a programming error (ValueError).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Annotated, BinaryIO, ClassVar, Self

from pydantic import AfterValidator, Field

from tasks.options import Options
from tasks.records import Progress, Properties, Stat, no_progress
from tasks.targets.shared.errors import SYSTEM_ERRORS, Translator
from tasks.targets.shared.transfer import bytes_per_second


def _rate(value: str) -> str:
    bytes_per_second(value)
    return value


class TargetOptions(Options):
    """What the options of all targets have in common.

    The properties tell what a target of these options is like without reaching it; as with
    ``Options.at_vendor``, an adapter overrides what it can say.
    """

    bandwidth: Annotated[str, AfterValidator(_rate)] | None = Field(
        None,
        description="The most to send, to leave the office some of its line: 2 MB/s, or 16 Mbit/s.",
        examples=["2 MB/s"],
    )

    @property
    def locks_objects(self) -> bool:
        """Whether nobody can delete a backup there before its time is up."""
        return False

    @property
    def thaw_seconds(self) -> int:
        """How long after it was asked for an archive can be read; 0 where it is at hand."""
        return 0


class Target(ABC):
    """A place that receives backups.

    Every failure is a TargetError; an adapter translates what its service says into that branch
    (TargetMissing, TargetFull, TargetReadOnly, ObjectMissing) and keeps the cause. ``errors`` is its
    translator.
    """

    kind: ClassVar[str]
    properties: Properties
    errors: Translator = SYSTEM_ERRORS

    def __init__(self, name: str) -> None:
        self.name = name

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

    def is_permanent(self, error: BaseException) -> bool:
        """Whether trying the same call again, with nothing changed, is pointless."""
        return self.errors.is_permanent(error)

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
