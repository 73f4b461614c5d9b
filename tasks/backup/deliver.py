"""Put the sealed archive on a target, read it back from there, and only then publish its manifest."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import date
from hashlib import sha256
from io import BytesIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tasks.backup.condition import Witness, note_delivered, note_removed
from tasks.backup.due_targets import day_of
from tasks.backup.media import note_use
from tasks.backup.retain import reached, shelf_of
from tasks.backup.room import Refused, make_room
from tasks.calendars import WEEKDAYS
from tasks.context import PlanContext
from tasks.errors import MismatchError, ObjectMissing, ReadBackError, TargetError, TargetFull
from tasks.health.runbook import put_runbook
from tasks.manifests.manifest import SEALED_SUFFIX, SIGNATURE_SUFFIX, manifest_name, read_manifest
from tasks.manifests.recover_page import RestoreText, recover_text
from tasks.manifests.signing import allowed_signer, ssh_signature
from tasks.notices.wording import size_text
from tasks.plan.model import TargetEntry
from tasks.platform.files import HashingReader
from tasks.records import Manifest, Placed, Progress, Rehearsed, Run, Sealed, no_progress
from tasks.targets.base import Target
from tasks.targets.capabilities import verify

# Room left on a target beyond the archive itself: manifest, certificates, the file system's own needs.
SPARE_BYTES = 8 << 20


def slot_of(entry: TargetEntry, day: date) -> str:
    """The folder on the target that a backup of ``day`` (in the plan's zone) goes to."""
    return WEEKDAYS[day.weekday()].upper() if entry.slots == "weekday" else ""


def name_at(context: PlanContext, run: Run, sealed: Sealed, target_name: str) -> str:
    """The name under which a run's sealed archive lies on a target."""
    slot = slot_of(context.entry(target_name), day_of(context, run.started))
    return f"{slot}/{sealed.name}" if slot else sealed.name


def deliver(
    context: PlanContext,
    run: Run,
    sealed: Sealed,
    rehearsed: Rehearsed,
    target_name: str,
    progress: Progress = no_progress,
) -> Placed:
    """Put the sealed archive on one target. Raises TargetError.

    Raises MismatchError where there is no passed rehearsal, or staging was tampered with since.
    """
    if not rehearsed.findings or any(finding.failed for finding in rehearsed.findings):
        raise MismatchError(f"{sealed.name} was not rehearsed: nothing is delivered unproven")
    began = time.monotonic()
    day = day_of(context, run.started)
    name = name_at(context, run, sealed, target_name)
    with reached(context, target_name, day) as target:
        try:
            _put(target, name, sealed, progress)
        except TargetFull as error:
            refused = make_room(context, run, target, sealed.bytes + SPARE_BYTES)
            if refused is not None:
                raise _no_room(error, refused) from error
            _put(target, name, sealed, progress)
    return Placed(target=target_name, name=name, bytes=sealed.bytes, seconds=time.monotonic() - began)


def _no_room(error: TargetFull, refused: Refused) -> TargetFull:
    if not refused.cause:
        return error
    return TargetFull(f"{error.message}; nothing was removed to make room: {refused.cause}", hint=error.hint)


def _put(target: Target, name: str, sealed: Sealed, progress: Progress) -> None:
    check_room(target, sealed.bytes)
    with sealed.path.open("rb", buffering=0) as stream:
        reader = HashingReader(stream)
        target.put(name, reader.stream, sealed.bytes, progress)
    if reader.hexdigest() != sealed.sha256:
        discard(target, name)
        raise MismatchError(
            f"the sealed archive in staging changed before it reached {target.name}",
            hint="Run the whole backup again.",
        )


def read_back(
    context: PlanContext,
    run: Run,
    sealed: Sealed,
    rehearsed: Rehearsed,
    placed: Placed,
    progress: Progress = no_progress,
) -> Placed:
    """Read the whole object from the medium, compare, and publish its manifest.

    Until the manifest is there the backup doesn't exist for anyone. An object that reads back wrong
    is removed. Raises ReadBackError or another TargetError.
    """
    began = time.monotonic()
    day = day_of(context, run.started)
    with reached(context, placed.target, day) as target:
        try:
            with sealed.path.open("rb", buffering=0) as local:
                same = verify(target, placed.name, sealed.bytes, sealed.sha256, progress, local)
        except ObjectMissing as error:
            raise ReadBackError(
                f"{placed.name} is no longer on {placed.target}, where it was put",
                hint="Re-run the failed run: it is sent again then.",
                permanent=True,
            ) from error
        if not same:
            _reject(context, target, placed.name, read_manifest(rehearsed.manifest.read_bytes()))
            raise ReadBackError(
                f"{placed.name} read back from {placed.target} is not what was written",
                hint="The medium or the connection damages data. Check it, then re-run the failed run.",
                # It was removed: reading it once more would only find it missing.
                permanent=True,
            )
        data = rehearsed.manifest.read_bytes()
        publish(target, data, placed.name, context.machine_key())
        note_delivered(context, target, placed.name, read_manifest(data))
        refresh_recover(context, target)
        put_runbook(context, target)
        if target.properties.removable:
            note_use(context, target, day, sum(backup.good for backup in shelf_of(context, target)))
    return placed.model_copy(update={"seconds": placed.seconds + time.monotonic() - began})


def _reject(context: PlanContext, target: Target, name: str, manifest: Manifest) -> None:
    """Note that an archive was not stored as it was sent, and remove it."""
    Witness(context, target, "read back").damaged(name, manifest, "it is not what was written")
    if discard(target, name):
        note_removed(context, target, name, manifest, "it read back otherwise than it was written")


def check_room(target: Target, size: int) -> None:
    """Raise TargetFull unless an archive of ``size`` bytes fits."""
    free = target.free_space()
    if free is not None and free < size + SPARE_BYTES:
        raise TargetFull(
            f"{target.name} has {size_text(free)} free, this backup needs {size_text(size + SPARE_BYTES)}",
            hint="Free space there, use a larger medium, or keep fewer backups (`keep:` in the plan, then "
            "`datasave prune --apply`).",
        )


def publish(target: Target, data: bytes, sealed_name: str, key: Ed25519PrivateKey | None = None) -> None:
    """Put the manifest of a sealed archive beside it, and read it back: with it the backup exists.

    With ``key``, that of the machine that signed it, a signature for ssh-keygen is put there before.
    """
    stem = sealed_name.removesuffix(SEALED_SUFFIX)
    name = manifest_name(stem)
    if key is not None:
        signature = ssh_signature(data, key)
        target.put(stem + SIGNATURE_SUFFIX, BytesIO(signature), len(signature))
    target.put(name, BytesIO(data), len(data))
    if not verify(target, name, len(data), sha256(data).hexdigest(), local=BytesIO(data)):
        discard(target, name)
        raise ReadBackError(f"the manifest {name} read back from {target.name} is not what was written")


def discard(target: Target, name: str) -> bool:
    """Remove what read back wrong; False where that is refused, as of a locked object."""
    with suppress(TargetError):
        target.delete(name)
        return True
    return False


def refresh_recover(context: PlanContext, target: Target) -> None:
    """Keep RECOVER.md true: whoever finds this medium in five years starts from it."""
    plan = context.plan
    holders = [holder.name for holder in plan.holders]
    sources = {
        context.full_name(source_name): context.source(source_name) for source_name in context.source_names
    }
    kept = {name: RestoreText(source.kind, source.after_restore) for name, source in sources.items()}
    signers = [allowed_signer(machine) for machine in sorted(context.trusted())]
    text = recover_text(kept, holders, signers).encode("utf-8")
    # A place that lets us write and not read may not be able to tell: then it is written anew.
    with suppress(TargetError):
        if verify(target, "RECOVER.md", len(text), sha256(text).hexdigest(), local=BytesIO(text)):
            return
    target.put("RECOVER.md", BytesIO(text), len(text))
