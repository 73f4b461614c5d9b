"""The one way back, behind restore, ``--only``, ``--in-place``, rescue, drills and the UI's restore.

``find.choose`` → ``open_backup`` (the keys are tried) → ``thaw`` (cold storage is waited for) → ``recover``
(fetched, decrypted, unpacked, proven) → ``put_into_place``. Only what the keys open can be waited for or
fetched: a wrong key shows before anybody waits for hours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from tasks.age.keys import Identity
from tasks.backup.rehearse import Proof, unpack
from tasks.backup.validate import in_the_way, require, same_digest
from tasks.errors import MismatchError
from tasks.keys.identities import recipients_of
from tasks.keys.opens import open_contents
from tasks.platform.files import HashingReader, private_folder
from tasks.records import Contents, Finding, Manifest, Progress, no_progress
from tasks.recovery.find import Choice
from tasks.recovery.thaw import IMPATIENT, Patience, thaw_finding, wait_for_thaw
from tasks.sources.capabilities import SupportsLogBackups, required


@dataclass(frozen=True)
class Opened:
    """A backup that the keys open, and what its manifest records for those who have one.

    ``thawed`` is how many seconds it took to have the archive out of cold storage, 0.0 for one elsewhere.
    """

    choice: Choice
    identities: tuple[Identity, ...]
    contents: Contents
    thawed: float = 0.0

    @property
    def holder(self) -> str:
        """Name of the holder whose identity is among those given."""
        mine = recipients_of(self.identities)
        names = (one.name for one in self.choice.manifest.recipients if one.recipient in mine)
        return next(names, "unknown holder")


@dataclass(frozen=True)
class Recovered:
    """A backup unpacked and judged: the folder of the copy, what was found, how long it took.

    ``seconds`` is the recovery time, the wait for cold storage included.
    """

    opened: Opened
    folder: Path
    findings: tuple[Finding, ...]
    seconds: float

    @classmethod
    def since(cls, began: float, opened: Opened, folder: Path, findings: Sequence[Finding]) -> Recovered:
        """What was found until now in a recovery that began then, as time.monotonic counts."""
        seconds = opened.thawed + time.monotonic() - began
        return cls(opened, folder, (*thaw_finding(opened.thawed), *findings), seconds)

    @property
    def choice(self) -> Choice:
        """Which backup it is, and where it came from."""
        return self.opened.choice

    @property
    def manifest(self) -> Manifest:
        """The backup's manifest."""
        return self.choice.manifest

    @property
    def contents(self) -> Contents:
        """What was recorded of the copy: its files, tables and findings."""
        return self.opened.contents

    @property
    def holder(self) -> str:
        """Name of the holder whose key opened it."""
        return self.opened.holder

    @property
    def passed(self) -> bool:
        """Whether nothing keeps the copy from being used."""
        return not in_the_way(self.findings, strict=self.choice.origin.strict)

    def require(self, what: str, hint: str) -> None:
        """Raise MismatchError, saying ``what`` did not go well and why, where it has not passed."""
        require(self.findings, what, MismatchError, hint, strict=self.choice.origin.strict)


def open_backup(choice: Choice, identities: Sequence[Identity]) -> Opened:
    """Open what is sealed of a backup's manifest. Raises NoMatchingIdentity or ManifestError."""
    return Opened(choice, tuple(identities), open_contents(choice.manifest, identities))


def thaw(opened: Opened, patience: Patience = IMPATIENT) -> Opened:
    """Have the archive out of cold storage, if it is there.

    Raises ObjectFrozen, saying when to come back, where that takes longer than the patience; TargetError.
    """
    choice = opened.choice
    thawed = wait_for_thaw(choice.origin.target, choice.backup.full_name, patience)
    return replace(opened, thawed=thawed)


def fetch(
    opened: Opened,
    folder: Path,
    progress: Progress = no_progress,
    only: Callable[[str], bool] | None = None,
) -> None:
    """Fetch, decrypt and unpack a backup into ``folder``, a private one; with ``only`` just those files.

    The archive is read to its end, and both digests are compared with the manifest. Raises MismatchError,
    AgeError, ArchiveError or TargetError; what was unpacked until then is the caller's to remove.
    """
    choice, manifest = opened.choice, opened.choice.manifest
    with choice.origin.target.open(choice.backup.full_name) as stream:
        reader = HashingReader(stream, progress, manifest.sealed_bytes)
        witness, name = choice.origin.witness, choice.backup.full_name
        with witness.reading(reader, name, manifest) if witness else nullcontext():
            digest = unpack(reader.stream, opened.identities, folder, manifest.copy_bytes, only)
    same_digest(reader.hexdigest(), manifest.sealed_sha256, f"sealed archive {choice.backup.name}")
    same_digest(digest, manifest.archive_sha256, "archive inside the seal")


def recover(opened: Opened, room: Path, progress: Progress = no_progress) -> Recovered:
    """Fetch a backup into ``room`` (private), open it there, and judge it by what was recorded.

    Raises as ``fetch``; findings that did not pass do not raise, the caller decides what they mean.
    """
    began = time.monotonic()
    folder = private_folder(room / "restored")
    fetch(opened, folder, progress)
    choice, contents = opened.choice, opened.contents
    proof = Proof(contents.files, contents.profile, choice.origin.checks, choice.manifest.taken)
    findings = proof.of(choice.adapter, folder, private_folder(room / "engine"))
    return Recovered.since(began, opened, folder, findings)


def log_backups_of(choice: Choice, logs: Path) -> SupportsLogBackups:
    """What applies the log backups in ``logs`` to a backup. Raises SourceError where its engine has none."""
    return required(
        choice.adapter,
        SupportsLogBackups,
        f"a source of kind {choice.manifest.kind} has no log backups: {logs} cannot be applied",
        "Restore without --logs.",
    )


def put_into_place(
    recovered: Recovered,
    destination: Path,
    *,
    accept_damage: bool = False,
    logs: Path | None = None,
    until: datetime | None = None,
) -> Path:
    """Put a recovered copy into ``destination`` (new or empty); the path a user opens.

    With ``logs``, a folder of log backups, those that follow the copy are applied, up to ``until``. Raises
    MismatchError where the copy did not pass and ``accept_damage`` is False: then the destination was not
    touched.
    """
    if not accept_damage:
        recovered.require(
            f"{recovered.manifest.sealed_name} did not pass its checks",
            "Nothing was restored. Take another backup or another target, or keep this one as it is "
            "with --accept-damage.",
        )
    if logs is not None:
        source = log_backups_of(recovered.choice, logs)
        return source.roll_forward(recovered.folder, logs, destination, until)
    return recovered.choice.adapter.restore(recovered.folder, destination)
