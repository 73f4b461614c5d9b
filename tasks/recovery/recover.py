"""Bring a backup back from a place that holds it: shared by drill and restore, free of Prefect."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from io import BytesIO
from pathlib import Path

from pydantic import ValidationError as RecordError

from tasks.age.file import decrypt
from tasks.age.keys import Identity
from tasks.backup.rehearse import Proof, unpack
from tasks.backup.seal import outline, seal_text
from tasks.backup.validate import require, same_digest
from tasks.backup.workspace import scratch_room
from tasks.context import PlanContext
from tasks.errors import (
    AgeError,
    ArchiveError,
    DatasaveError,
    ManifestError,
    MismatchError,
    NoBackup,
    NoMatchingIdentity,
)
from tasks.health.drills import keep
from tasks.health.trend import accepted_through
from tasks.keys.identities import recipients_of
from tasks.manifests.manifest import certificate_name, to_json
from tasks.manifests.shelf import ReadableTarget, find, read_shelf
from tasks.manifests.signing import sign_record
from tasks.options import UserCheck
from tasks.platform.files import HashingReader, private_folder
from tasks.records import BackupEntry, Certificate, Contents, Finding, Manifest, Progress, no_progress
from tasks.recovery.marks import no_warning, warnings_about
from tasks.recovery.thaw import Patience, awake, thaw_finding
from tasks.sources.base import Source
from tasks.sources.capabilities import SupportsLogBackups, required
from tasks.sources.registry import source_for_copies
from tasks.targets.base import Target

IMPATIENT = Patience()


@dataclass(frozen=True)
class Recovered:
    """A backup unpacked and judged: the folder of the copy, what was found, how long it took.

    ``seconds`` is the recovery time, the wait for cold storage included.
    """

    manifest: Manifest
    contents: Contents
    holder: str
    folder: Path
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(finding.passed for finding in self.findings)

    def after_thaw(self, seconds: float) -> Recovered:
        """The same, with the seconds counted that it took to have the archive out of cold storage."""
        findings = (*thaw_finding(seconds), *self.findings)
        return replace(self, seconds=self.seconds + seconds, findings=findings)


def choose(
    place: ReadableTarget,
    wanted: str,
    trusted: frozenset[str] | None,
    source: str | None = None,
    timezone: tzinfo = UTC,
    accepted: int = 0,
    warn: Callable[[str], object] = no_warning,
) -> tuple[BackupEntry, Manifest]:
    """The verified backup that ``wanted`` names (a number, a date, a name, ``latest``), its manifest.

    A date is a day in ``timezone``. ``warn`` is told where the backup is marked, or where the newest ones
    are and ``latest`` passes them over; marks up to number ``accepted`` don't count. Raises NoBackup where
    there is none.
    """
    shelf = read_shelf(place, trusted=trusted, now=datetime.now(UTC), source=source, accepted=accepted)
    backup = find(shelf, wanted, timezone=timezone)
    if backup.manifest is None:
        raise NoBackup(f"the backup {backup.name} has no manifest")
    for warning in warnings_about(shelf, backup, backup.manifest):
        warn(warning)
    return backup, backup.manifest


def recover(  # noqa: PLR0913, PLR0917 - what to bring back, with what, how to judge it
    place: ReadableTarget,
    backup: BackupEntry,
    manifest: Manifest,
    identities: Sequence[Identity],
    room: Path,
    checks: Sequence[UserCheck] = (),
    progress: Progress = no_progress,
    source: Source | None = None,
) -> Recovered:
    """Fetch, decrypt, unpack into ``room`` (private) and judge one backup.

    ``source`` is the plan's adapter, which knows where the engine's programs are; without it they are
    looked for where they usually lie.

    Raises NoMatchingIdentity, PayloadError, MismatchError …; findings that did not pass do not
    raise, the caller decides what they mean.
    """
    began = time.monotonic()
    contents = open_contents(manifest, identities)
    folder = private_folder(room / "restored")
    with place.open(backup.full_name) as stream:
        reader = HashingReader(stream, progress, manifest.sealed_bytes)
        digest = unpack(reader.stream, identities, folder, manifest.copy_bytes)
    same_digest(reader.hexdigest(), manifest.sealed_sha256, f"sealed archive {backup.name}")
    same_digest(digest, manifest.archive_sha256, "archive inside the seal")
    adapter = _adapter(manifest, source)
    proof = Proof(contents.files, contents.profile, checks, manifest.taken)
    findings = proof.of(adapter, folder, private_folder(room / "engine"))
    return Recovered(
        manifest=manifest,
        contents=contents,
        holder=holder_of(manifest, identities),
        folder=folder,
        findings=findings,
        seconds=time.monotonic() - began,
    )


def open_contents(manifest: Manifest, identities: Sequence[Identity]) -> Contents:
    """The encrypted part of a manifest. Raises NoMatchingIdentity naming the holders, or ManifestError."""
    plain = BytesIO()
    try:
        decrypt(BytesIO(manifest.contents.encode("ascii")), plain, identities)
    except NoMatchingIdentity as error:
        names = ", ".join(holder.name for holder in manifest.recipients)
        raise NoMatchingIdentity(
            f"this key does not open {manifest.sealed_name}", hint=f"It was sealed for: {names}."
        ) from error
    except (AgeError, UnicodeEncodeError) as error:
        raise ManifestError(f"the contents of the manifest of {manifest.sealed_name} are damaged") from error
    try:
        return Contents.model_validate_json(plain.getvalue())
    except RecordError as error:
        raise ManifestError(
            f"the contents of the manifest of {manifest.sealed_name} cannot be read"
        ) from error


def holder_of(manifest: Manifest, identities: Sequence[Identity]) -> str:
    """Name of the holder whose identity is among those given."""
    mine = recipients_of(identities)
    for holder in manifest.recipients:
        if holder.recipient in mine:
            return holder.name
    return "unknown holder"


def drill(
    context: PlanContext,
    target_name: str,
    wanted: str,
    identities: Sequence[Identity],
    progress: Progress = no_progress,
    source_name: str = "",
    patience: Patience = IMPATIENT,
) -> Certificate:
    """Restore a source's backup from a target in scratch, judge it, and leave a signed certificate there.

    A failed drill leaves a certificate that says so. Raises MismatchError, AgeError or ArchiveError
    after it was written, ObjectFrozen where cold storage takes longer than the patience.
    """
    with context.target(target_name) as target, scratch_room(context.staging, "drill") as room:
        accepted = accepted_through(context, source_name)
        backup, manifest = choose(
            target, wanted, context.trusted(), context.full_name(source_name), context.timezone, accepted
        )
        # The wrong key is found out before hours are spent on having the archive woken.
        open_contents(manifest, identities)
        thawed = awake(target, backup.full_name, patience)
        began = time.monotonic()
        try:
            recovered = recover(
                target,
                backup,
                manifest,
                identities,
                room,
                context.checks(source_name),
                progress,
                context.source(source_name),
            )
        except (AgeError, ArchiveError, MismatchError) as error:
            if not isinstance(error, NoMatchingIdentity):  # a wrong key says nothing of the backup
                seconds = time.monotonic() - began
                unopened = _unopened(manifest, identities, room, error, seconds)
                _certify(context, target, backup, unopened.after_thaw(thawed))
            raise
        certificate = _certify(context, target, backup, recovered.after_thaw(thawed))
    require(
        recovered.findings,
        f"the drill of {backup.name} from {target_name} failed",
        MismatchError,
        "Do not rely on this backup. Drill another one and another target today, and have it looked at.",
    )
    return certificate


def restore(
    recovered: Recovered,
    destination: Path,
    *,
    accept_damage: bool = False,
    logs: Path | None = None,
    until: datetime | None = None,
    source: Source | None = None,
) -> Path:
    """Put a recovered copy into ``destination`` (new or empty); the path a user opens.

    With ``logs``, a folder of log backups, those that follow the copy are applied, up to ``until``.
    ``source`` as in ``recover``. Raises MismatchError where the copy did not pass and ``accept_damage`` is
    False: then the destination was not touched.
    """
    if not accept_damage:
        require(
            recovered.findings,
            f"{recovered.manifest.sealed_name} did not pass its checks",
            MismatchError,
            "Nothing was restored. Take another backup or another target, or keep this one as it is "
            "with --accept-damage.",
        )
    adapter = _adapter(recovered.manifest, source)
    if logs is not None:
        logged = required(
            adapter,
            SupportsLogBackups,
            f"a source of kind {adapter.kind} has no log backups: {logs} cannot be applied",
            "Restore without --logs.",
        )
        return logged.roll_forward(recovered.folder, logs, destination, until)
    return adapter.restore(recovered.folder, destination)


def _adapter(manifest: Manifest, source: Source | None) -> Source:
    return source if source and source.kind == manifest.kind else source_for_copies(manifest.kind)


def _unopened(
    manifest: Manifest, identities: Sequence[Identity], room: Path, error: DatasaveError, seconds: float
) -> Recovered:
    finding = Finding(check="archive opens", passed=False, detail=error.message)
    contents = open_contents(manifest, identities)
    return Recovered(manifest, contents, holder_of(manifest, identities), room, (finding,), seconds)


def _certify(context: PlanContext, target: Target, backup: BackupEntry, recovered: Recovered) -> Certificate:
    now = datetime.now(UTC).replace(microsecond=0)
    manifest = recovered.manifest
    hours = context.plan.drill.objective_hours
    certificate = Certificate(
        source=manifest.source,
        sequence=manifest.sequence,
        sealed_name=manifest.sealed_name,
        sealed_sha256=manifest.sealed_sha256,
        target=target.name,
        holder=recovered.holder,
        drilled=now,
        seconds=round(recovered.seconds, 3),
        objective_seconds=hours * 3600 if hours is not None else None,
        passed=recovered.passed,
        checks=outline(recovered.findings),
        contents=seal_text(
            Contents(
                files=recovered.contents.files,
                profile=recovered.contents.profile,
                findings=recovered.findings,
            ).model_dump_json(),
            context.recipients(),
        ),
        machine="",
    )
    signed = sign_record(certificate, context.machine_key())
    data = to_json(signed)
    name = certificate_name(manifest.sealed_name, now)
    target.put(f"{backup.slot}/{name}" if backup.slot else name, BytesIO(data), len(data))
    keep(context, signed)
    return signed
