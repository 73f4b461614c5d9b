"""Every error this program raises on purpose, in one tree.

::

    DatasaveError
    ├── PlanError                the plan file cannot be used
    │   └── SecretError          a secret reference leads nowhere
    ├── StateError               the machine's own folder (state, staging, locks)
    │   └── BusyError            another run of the same plan is under way
    ├── StartRefused             a server asked for a run that is none of this plan's
    ├── ProgramError             a child program failed, is missing, or ran too long
    ├── SourceError              the database or folder to back up
    │   ├── SourceMissing        it is not where the plan says
    │   └── CopyError            the live copy could not be finished
    ├── ProofError               the chain of proof is broken: never deliver
    │   ├── ValidationError      the engine's own check of a copy failed
    │   └── MismatchError        a restored copy differs from what was recorded
    ├── ArchiveError             packing or unpacking
    │   └── UnsafeArchive        a member that must not be extracted
    ├── AgeError                 encryption and decryption (age v1)
    │   ├── KeyFormatError       a recipient or identity text is malformed
    │   ├── ShareError           shares of a key that cannot be put together
    │   ├── NoMatchingIdentity   none of the keys opens this file
    │   ├── HeaderError          the header is malformed
    │   ├── HeaderMACError       the header was altered
    │   ├── PayloadError         the payload is damaged, truncated or extended
    │   └── ArmorError           the ASCII armor is malformed
    ├── TargetError              a place that receives backups
    │   ├── TargetMissing        not there: unmounted, unplugged, a foreign medium
    │   ├── TargetFull           no room for the object
    │   ├── TargetReadOnly       writes are refused
    │   ├── TargetLocked         an object may not be removed yet
    │   ├── TargetUnlocked       an object is there without the lock that the plan asks for
    │   ├── ObjectMissing        no object of that name
    │   ├── ObjectFrozen         in cold storage, asked for, and not readable yet
    │   └── ReadBackError        what came back is not what was sent
    ├── ManifestError            a manifest cannot be read or trusted
    │   ├── NoBackup             nothing fitting on the target's shelf
    │   └── UnknownSigner        whose machine signed is not known
    └── NoticeError              someone could not be told how a run went

A message names the operation, the object and the cause. The hint says what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar


class DatasaveError(Exception):
    """Root of the tree.

    ``hint`` is one or two plain sentences that tell the reader what to do next. ``permanent`` is
    False where trying the same step again, with nothing changed, may well succeed.
    """

    permanent: bool = True

    def __init__(self, message: str, *, hint: str = "", permanent: bool | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if permanent is not None:
            self.permanent = permanent

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}".strip() if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Prefect hands exceptions between processes by pickle: keyword-only arguments need this.
        return _rebuild, (type(self), self.message, self.hint, self.permanent)


def _rebuild(kind: type[DatasaveError], message: str, hint: str, permanent: bool) -> DatasaveError:
    return kind(message, hint=hint, permanent=permanent)


E = TypeVar("E", bound=DatasaveError)


@dataclass(frozen=True)
class Fault(Generic[E]):
    """What one code of a driver, a tool or a service means; every table of such codes is made of these.

    ``kind`` is the error to raise, ``cause`` a few plain words, ``hint`` what to do, ``permanent`` False
    where the same again may well work.
    """

    kind: type[E]
    cause: str
    hint: str
    permanent: bool = True

    def error(self, operation: str, detail: str = "") -> E:
        """The error for a failed ``operation`` ("cannot …"); ``detail`` follows the cause as it is."""
        return self.kind(f"{operation}: {self.cause}{detail}", hint=self.hint, permanent=self.permanent)


class PlanError(DatasaveError):
    """The plan file cannot be used."""


class SecretError(PlanError):
    """A secret reference (env:, file:, prefect:) leads nowhere."""


class StateError(DatasaveError):
    """The machine's own folder: state, staging, locks."""


class BusyError(StateError):
    """Another run of the same plan is under way."""

    permanent = False


class StartRefused(DatasaveError):
    """A Prefect server asked for a run that is none of this plan's."""


class ProgramError(DatasaveError):
    """A child program failed, is missing, or ran too long."""


class SourceError(DatasaveError):
    """The database or folder to back up."""


class SourceMissing(SourceError):
    """The source is not where the plan says."""


class CopyError(SourceError):
    """The live copy could not be finished."""

    permanent = False


class ProofError(DatasaveError):
    """The chain of proof is broken; such a backup is never delivered.

    ``findings`` are the records (tasks/records.py) of all checks made until then, for the report.
    """

    findings: tuple[Any, ...] = ()


class ValidationError(ProofError):
    """The engine's own check of a copy failed."""


class MismatchError(ProofError):
    """A restored copy differs from what was recorded when it was taken."""


class ArchiveError(DatasaveError):
    """Packing or unpacking an archive."""


class UnsafeArchive(ArchiveError):
    """An archive member that must not be extracted: it would leave the folder or exhaust it."""


class AgeError(DatasaveError):
    """Encryption or decryption in the age v1 format."""


class KeyFormatError(AgeError):
    """A recipient or identity text is malformed."""


class ShareError(AgeError):
    """A share of a key is damaged, or shares do not belong together."""


class NoMatchingIdentity(AgeError):
    """None of the given identities opens this file."""


class HeaderError(AgeError):
    """The age header is malformed."""


class HeaderMACError(AgeError):
    """The age header was altered after it was written."""


class PayloadError(AgeError):
    """The encrypted payload is damaged, truncated or extended."""


class ArmorError(AgeError):
    """The ASCII armor around an age file is malformed."""


class TargetError(DatasaveError):
    """A place that receives backups."""

    permanent = False


class TargetMissing(TargetError):
    """The target is not there: unmounted, unplugged, or another medium in its place."""

    permanent = True


class TargetFull(TargetError):
    """The target has no room for the object."""

    permanent = True


class TargetReadOnly(TargetError):
    """The target refuses writes."""

    permanent = True


class TargetLocked(TargetError):
    """An object is locked: nobody can remove it before its time is up."""

    permanent = True


class TargetUnlocked(TargetError):
    """An object is there, but without the lock that the plan asks for."""

    permanent = True


class ObjectMissing(TargetError):
    """The target holds no object of that name."""

    permanent = True


class ObjectFrozen(TargetError):
    """An object is in cold storage. It was asked for, and can be read later."""


class ReadBackError(TargetError):
    """What was read back from the target is not what was sent."""


class ManifestError(DatasaveError):
    """A manifest cannot be read or trusted."""


class NoBackup(ManifestError):
    """Nothing fitting was found on the target's shelf."""


class UnknownSigner(ManifestError):
    """Nothing tells whether the machine that signed backups is the office's."""


class NoticeError(DatasaveError):
    """Someone could not be told how a run went."""

    permanent = False
