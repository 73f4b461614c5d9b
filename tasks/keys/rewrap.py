"""Seal backups anew that were sealed for other holders than the plan now names.

Only the header of the sealed archive is made anew, its payload is copied as it is; so this takes a holder's
key, and neither a decrypted byte nor a second encryption. The new file is read back whole and has its signed
manifest before the old one is removed: at every moment one of them is a whole backup. It cannot take back
what somebody has seen: whoever had a key and a copy of a backup keeps both.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from io import BytesIO
from typing import NamedTuple

from tasks.age.file import rewrapped
from tasks.age.keys import Identity
from tasks.backup.condition import Witness, note_rewrapped
from tasks.backup.deliver import check_room, discard, publish, refresh_recover
from tasks.backup.removal import remove_backup
from tasks.backup.seal import seal_text
from tasks.context import PlanContext
from tasks.errors import MismatchError, ObjectMissing, ReadBackError, TargetError, TargetLocked
from tasks.keys.identities import recipients_of
from tasks.keys.opens import bound_by, open_contents
from tasks.manifests.manifest import SEALED_SUFFIX, anew_name, to_json
from tasks.manifests.shelf import SEALED_ANEW, read_shelf
from tasks.manifests.signing import sign_record
from tasks.platform.files import HashingReader
from tasks.records import BackupEntry, Holder, Manifest, Progress, no_progress
from tasks.targets.base import Target
from tasks.targets.capabilities import verify


class Intent(NamedTuple):
    """What is to be done with one backup, and why nothing is ("" where something is).

    ``leftover``: it was sealed anew already, and only the old file is still there.
    """

    backup: BackupEntry
    manifest: Manifest
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    skipped: str = ""
    leftover: bool = False


def intents(context: PlanContext, target: Target, identities: Sequence[Identity]) -> list[Intent]:
    """Every backup on a target whose recipients are not the plan's holders, oldest first."""
    shelf = read_shelf(target, trusted=context.trusted(), now=datetime.now(UTC))
    mine, bound = recipients_of(identities), bound_by(target)
    found = []
    for backup in shelf:
        manifest = backup.manifest
        if manifest is None or manifest.source not in context.full_names:
            continue
        gained, lost = _difference(context, manifest)
        leftover = backup.defect == SEALED_ANEW
        if gained or lost or leftover:
            known = any(holder.recipient in mine for holder in manifest.recipients)
            defect = "" if leftover else backup.defect
            skipped = defect or bound or ("" if known or leftover else "none of the given keys opens it")
            found.append(Intent(backup, manifest, gained, lost, skipped, leftover))
    return found


def seal_anew(
    context: PlanContext,
    target: Target,
    intent: Intent,
    identities: Sequence[Identity],
    progress: Progress = no_progress,
) -> str:
    """Do what is intended with one backup; the full name of the file that counts now.

    Raises TargetLocked where the new file is there and a lock keeps the old one; otherwise, after any
    error, the old backup is as it was.
    """
    backup, manifest = intent.backup, intent.manifest
    if intent.leftover:
        _prove_newer(context, target, manifest)
        _remove_old(context, target, backup)
        return backup.full_name
    name = f"{backup.slot}/" * bool(backup.slot) + anew_name(backup.name)
    size, digest = _copy(context, target, intent, identities, name, progress)
    _read_back(target, name, size, digest)
    anew = manifest.model_copy(
        update={
            "sealed_name": anew_name(backup.name),
            "sealed_at": datetime.now(UTC).replace(microsecond=0),
            "sealed_bytes": size,
            "sealed_sha256": digest,
            "recipients": tuple(Holder(name=h.name, recipient=h.recipient) for h in context.plan.holders),
            "contents": seal_text(
                open_contents(manifest, identities).model_dump_json(), context.recipients()
            ),
        }
    )
    key = context.machine_key()
    publish(target, to_json(sign_record(anew, key)), name, key)
    note_rewrapped(context, target, name, anew, backup.full_name)
    _carry_certificates(target, backup, name)
    refresh_recover(context, target)
    _remove_old(context, target, backup)
    return name


def _difference(context: PlanContext, manifest: Manifest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the holders that a backup would gain and lose."""
    sealed_for = {holder.recipient for holder in manifest.recipients}
    present = {holder.recipient for holder in context.plan.holders}
    gained = tuple(holder.name for holder in context.plan.holders if holder.recipient not in sealed_for)
    return gained, tuple(holder.name for holder in manifest.recipients if holder.recipient not in present)


def _copy(
    context: PlanContext,
    target: Target,
    intent: Intent,
    identities: Sequence[Identity],
    name: str,
    progress: Progress,
) -> tuple[int, str]:
    """Put the backup under its new header; size and sha256 of what was put, nothing after an error."""
    manifest = intent.manifest
    with target.open(intent.backup.full_name) as stream:
        old = HashingReader(stream, progress, manifest.sealed_bytes)
        anew = rewrapped(old.stream, identities, context.recipients())
        size = manifest.sealed_bytes + anew.grown
        check_room(target, size)
        new = HashingReader(anew.stream)
        target.put(name, new.stream, size)
        old.drain()
    Witness(context, target, "keys rewrap").read(intent.backup.full_name, manifest, old.hexdigest())
    if old.hexdigest() != manifest.sealed_sha256:
        discard(target, name)
        raise MismatchError(
            f"{intent.backup.full_name} on {target.name} is not what its manifest says",
            hint="It was left as it is. Use another copy of this backup, and have the medium looked at.",
        )
    return size, new.hexdigest()


def _read_back(target: Target, name: str, size: int, digest: str) -> None:
    try:
        same = verify(target, name, size, digest)
    except TargetError:
        discard(target, name)
        raise
    if not same:
        discard(target, name)
        raise ReadBackError(
            f"{name} read back from {target.name} is not what was written",
            hint="The old backup is as it was. Check the medium or the connection, then run it again.",
            permanent=True,
        )


def _prove_newer(context: PlanContext, target: Target, old: Manifest) -> None:
    """Read the file that takes the place of ``old`` whole, before that one goes."""
    shelf = read_shelf(target, trusted=context.trusted(), now=datetime.now(UTC), source=old.source)
    for backup in shelf:
        new = backup.manifest
        if (
            new
            and backup.verified
            and (new.sequence, new.archive_sha256) == (old.sequence, old.archive_sha256)
        ):
            if verify(target, backup.full_name, new.sealed_bytes, new.sealed_sha256):
                return
            break
    raise ReadBackError(
        f"what was sealed anew of backup {old.sequence} on {target.name} does not read back",
        hint="The old file stays. Look at `datasave audit --read-all`, and have the medium looked at.",
        permanent=True,
    )


def _carry_certificates(target: Target, backup: BackupEntry, name: str) -> None:
    """Keep the evidence of drills: they restored the very payload that the new file holds."""
    old, new = backup.full_name.removesuffix(SEALED_SUFFIX), name.removesuffix(SEALED_SUFFIX)
    for certificate in backup.certificates:
        with suppress(ObjectMissing), target.open(certificate) as stream:
            data = stream.read()
            target.put(new + certificate.removeprefix(old), BytesIO(data), len(data))


def _remove_old(context: PlanContext, target: Target, backup: BackupEntry) -> None:
    if remove_backup(context, target, backup, "sealed anew for other holders") is None:
        raise TargetLocked(
            f"{backup.full_name} was sealed anew, and a lock keeps the old file on {target.name}",
            hint="Run it again when the lock's time is up. Until then its former holders can open it.",
        )
