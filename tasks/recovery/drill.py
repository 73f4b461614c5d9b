"""A drill: a backup restored from a target in scratch, with a holder's key, and the signed evidence of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO

from tasks.age.keys import Identity
from tasks.backup.seal import outline, seal_text
from tasks.backup.workspace import scratch_room
from tasks.context import PlanContext
from tasks.errors import AgeError, ArchiveError, MismatchError, NoMatchingIdentity
from tasks.health.drills import keep
from tasks.manifests.manifest import certificate_name, to_json
from tasks.manifests.signing import sign_record
from tasks.records import Certificate, Contents, Finding, Progress, no_progress
from tasks.recovery.find import choose, origin_of, passed_over
from tasks.recovery.recover import Recovered, open_backup, recover, thaw
from tasks.recovery.thaw import IMPATIENT, Patience


def drill_backup(
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
    after it was written, ObjectFrozen where cold storage takes longer than the patience. Raises StateError
    where the plan insists on a sandbox and this machine has none.
    """
    context.check_sandbox()
    with context.target(target_name) as target, scratch_room(context.staging, "drill") as room:
        choice = choose(origin_of(context, target, source_name, "drill"), wanted)
        opened = thaw(open_backup(choice, identities), patience)
        began = time.monotonic()
        try:
            recovered = recover(opened, room, progress)
        except (AgeError, ArchiveError, MismatchError) as error:
            if not isinstance(error, NoMatchingIdentity):  # a wrong key says nothing of the backup
                unopened = Finding(check="archive opens", passed=False, detail=error.message)
                _certify(context, Recovered.since(began, opened, room, [unopened]))
            raise
        certificate = _certify(context, recovered)
    recovered.require(
        f"the drill of {choice.backup.name} from {target_name} failed",
        "Do not rely on this backup. Drill another one and another target today, and have it looked at.",
    )
    return certificate


def _certify(context: PlanContext, recovered: Recovered) -> Certificate:
    """Sign what a drill found, put it beside the backup and keep it on this machine."""
    now = datetime.now(UTC).replace(microsecond=0)
    manifest, backup = recovered.manifest, recovered.choice.backup
    target = recovered.choice.origin.target
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
        checks=(*outline(recovered.findings), *passed_over(recovered.choice)),
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
