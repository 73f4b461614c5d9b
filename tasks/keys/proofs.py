"""When each holder's key last opened a backup, and where: proven on purpose, or seen in a drill.

A key that nobody has tried for years may have been lost, or its medium gone bad. What is known stands in the
journal; drills that other machines did are learned from their signed certificates on the targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import Field

from tasks.age.file import decrypting_reader
from tasks.age.keys import Identity
from tasks.backup.condition import Witness
from tasks.backup.retain import shelf_of
from tasks.backup.validate import same_digest
from tasks.context import PlanContext
from tasks.errors import MismatchError, NoBackup
from tasks.health.drills import look
from tasks.journal.kinds import Kind
from tasks.keys.identities import recipients_of
from tasks.keys.opens import open_contents
from tasks.manifests.shelf import newest_verified, read_shelf
from tasks.manifests.signing import json_ready
from tasks.notices.wording import count_text, when_text
from tasks.options import Json
from tasks.platform.files import HashingReader
from tasks.records import BackupEntry, Certificate, Finding, Holder, Manifest, Progress, Record, no_progress
from tasks.targets.base import Target

_FIRST_CHUNK = 1 << 16

How = Literal["its beginning", "the whole archive", "a drill"]


class KeyProof(Record):
    """A key opened a backup: whose, of which target, when, and how much of it was read."""

    recipient: str
    target: str
    sealed_name: str
    at: datetime
    how: How


class Proofs(Record):
    """The newest proof of each key at each target, and since when each holder is known here."""

    known: dict[str, datetime] = Field(default_factory=dict)
    proofs: tuple[KeyProof, ...] = ()


def prove_key(
    context: PlanContext,
    target: Target,
    source_name: str,
    identity: Identity,
    *,
    whole: bool = False,
    progress: Progress = no_progress,
) -> KeyProof:
    """Open the newest backup of a source on a target with one key, and note that.

    Its header, its manifest's contents and the first 64 KiB of the archive; all of it with ``whole``. Raises
    NoBackup, NoMatchingIdentity, another AgeError, ManifestError, MismatchError or TargetError.
    """
    backup = newest_verified(shelf_of(context, target, source_name))
    if backup is None or backup.manifest is None:
        raise NoBackup(f"{target.name} holds no verified backup of {context.full_name(source_name)}")
    open_contents(backup.manifest, [identity])
    with target.open(backup.full_name) as stream:
        if whole:
            reader = HashingReader(stream, progress, backup.bytes)
            with Witness(context, target, "keys prove").reading(reader, backup.full_name, backup.manifest):
                _read_whole(reader, identity, backup, backup.manifest)
        else:
            decrypting_reader(stream, [identity]).read(_FIRST_CHUNK)
    (recipient,) = recipients_of([identity])
    how: How = "the whole archive" if whole else "its beginning"
    proof = KeyProof(recipient=recipient, target=target.name, sealed_name=backup.name, at=_now(), how=how)
    note(context, [proof])
    return proof


def note_drill(context: PlanContext, certificate: Certificate, identities: Sequence[Identity]) -> None:
    """Note that a drill which passed was done with a holder's key."""
    mine = recipients_of(identities)
    note(
        context,
        [
            _of_drill(certificate, holder, certificate.target)
            for holder in context.plan.holders
            if holder.recipient in mine and holder.name == certificate.holder
        ],
    )


def learn(context: PlanContext, target: Target) -> None:
    """Note the drills that certificates on a target tell of. Raises TargetError, StateError."""
    shelf = read_shelf(target, trusted=context.trusted(), now=_now())
    manifests = {backup.name: backup.manifest for backup in shelf if backup.verified and backup.manifest}
    passed = [drill for drill in look(context, target).certificates if drill.passed]
    # By the manifest's own recipients: a name may have had another key before.
    note(
        context,
        [
            _of_drill(drill, holder, target.name)
            for drill in passed
            if drill.sealed_name in manifests
            for holder in manifests[drill.sealed_name].recipients
            if holder.name == drill.holder
        ],
    )


def note(context: PlanContext, new: Sequence[KeyProof]) -> Proofs:
    """Enter proofs newer than those known, and whose keys count if that changed; what is known then."""
    with context.journal.locked():
        before = _known(context)
        newest = {(proof.recipient, proof.target): proof.at for proof in before.proofs}
        fresh = [
            proof
            for proof in new
            if (proof.recipient, proof.target) not in newest
            or newest[proof.recipient, proof.target] < proof.at
        ]
        changes = [(Kind.PROOF, proof.model_dump(mode="json")) for proof in fresh]
        if facts := _holders_changed(context, before):
            changes.append((Kind.HOLDERS, facts))
        if changes:
            context.journal.extend(changes)
        return _known(context)


def findings(context: PlanContext, now: datetime | None = None) -> list[Finding]:
    """For each holder when their key last opened a backup; not passed where that is too long ago."""
    proofs, at = note(context, ()), now or _now()
    return [_finding(context, holder, proofs, at) for holder in context.plan.holders]


def _finding(context: PlanContext, holder: Holder, proofs: Proofs, at: datetime) -> Finding:
    mine = [proof for proof in proofs.proofs if proof.recipient == holder.recipient]
    last = max(mine, key=lambda proof: proof.at, default=None)
    days = context.plan.keys.prove_days
    passed = (last.at if last else proofs.known[holder.recipient]) + timedelta(days=days) >= at
    if last:
        when = when_text(last.at, context.timezone)
        done = "was used in a drill" if last.how == "a drill" else f"opened {last.sealed_name}"
        detail = f"{done} on {last.target}, {when}"
    else:
        since = when_text(proofs.known[holder.recipient], context.timezone)
        detail = f"not seen to open a backup yet, a holder since {since}"
    if not passed:
        detail += (
            f"; that is over {count_text(days, 'day')} ago. Fetch the key and run "
            "`datasave keys prove --identity FILE`, or a drill with it"
        )
    return Finding(check=f"key of {holder.name}", passed=passed, detail=detail)


def _known(context: PlanContext) -> Proofs:
    """What the journal tells: the newest proof of each key at each target, and since when keys are known."""
    newest: dict[tuple[str, str], KeyProof] = {}
    for entry in context.journal.entries(Kind.PROOF):
        proof = KeyProof.model_validate(entry.facts)
        old = newest.get((proof.recipient, proof.target))
        if old is None or old.at < proof.at:
            newest[proof.recipient, proof.target] = proof
    known: dict[str, datetime] = {}
    for entry in context.journal.entries(Kind.HOLDERS):
        for holder in entry.facts["holders"]:
            known.setdefault(holder["recipient"], datetime.fromisoformat(holder["since"]))
    return Proofs(known=known, proofs=tuple(newest.values()))


def _holders_changed(context: PlanContext, known: Proofs) -> Json:
    """The facts of whose keys open backups, and whose signatures count; none where they are as before."""
    holders = [holder.model_dump(include={"name", "recipient"}) for holder in context.plan.holders]
    told = context.journal.entries(Kind.HOLDERS)[-1:]
    last = [{"name": one["name"], "recipient": one["recipient"]} for e in told for one in e.facts["holders"]]
    signers = sorted(context.plan.signers)
    if told and last == holders and told[0].facts["signers"] == signers:
        return {}
    since = [known.known.get(holder["recipient"], _now()) for holder in holders]
    dated = [{**holder, "since": json_ready(at)} for holder, at in zip(holders, since, strict=True)]
    return {"holders": dated, "signers": signers}


def _read_whole(reader: HashingReader, identity: Identity, backup: BackupEntry, manifest: Manifest) -> None:
    plain = HashingReader(decrypting_reader(reader.stream, [identity]))
    same_digest(plain.drain(), manifest.archive_sha256, f"archive inside {backup.name}")
    reader.drain()
    if reader.hexdigest() != manifest.sealed_sha256:
        raise MismatchError(
            f"{backup.name} is not the file that its manifest tells of",
            hint="Look at `datasave audit --read-all`, and use another copy of this backup.",
        )


def _of_drill(certificate: Certificate, holder: Holder, target: str) -> KeyProof:
    return KeyProof(
        recipient=holder.recipient,
        target=target,
        sealed_name=certificate.sealed_name,
        at=certificate.drilled,
        how="a drill",
    )


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
