"""Prefect tasks: drill and restore from a target."""

from __future__ import annotations

from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.backup.copy import refuse_occupied
from tasks.backup.workspace import scratch_room, sweep
from tasks.context import PlanContext
from tasks.health.drills import next_drill
from tasks.keys.identities import drill_identities, read_identities
from tasks.keys.proofs import note_drill
from tasks.notices.wording import step_text
from tasks.policy.drill_turns import Pair
from tasks.records import Certificate, Progress
from tasks.recovery.drill import drill_backup
from tasks.recovery.find import choose, origin_of
from tasks.recovery.recover import open_backup, put_into_place, recover, thaw
from tasks.recovery.thaw import Patience
from tasks.recovery.told import note_restored
from tasks.steps.progress import progress_of


@task(name="next drill", task_run_name="whose turn it is", cache_policy=NO_CACHE)
def whose_turn(plan: Path, target: str | None, identity: Path | None) -> Pair | None:
    """The target and the holder whose proof is oldest, by the certificates of all drills before."""
    return next_drill(PlanContext(plan), target, read_identities([identity]) if identity else ())


@task(name="drill", task_run_name="drill from {target}", cache_policy=NO_CACHE)
def drill(
    plan: Path,
    target: str,
    backup: str,
    identity: Path | None,
    source_name: str = "",
    holder: str = "",
    wait: float = 0.0,
) -> Certificate:
    """Restore a backup from a target in scratch with a holder's key, and certify it.

    ``wait`` is how many hours it waits for an archive out of cold storage.
    """
    context = PlanContext(plan)
    sweep(context.staging, context.plan.spool)
    identities = read_identities([identity]) if identity else drill_identities(context, holder)
    with (
        progress_of(step_text(f"drill from {target}", source_name)) as progress,
        progress_of(step_text(f"out of cold storage at {target}", source_name)) as thawing,
    ):
        patience = _patience(context, thawing, wait)
        certificate = drill_backup(context, target, backup, identities, progress, source_name, patience)
    note_drill(context, certificate, identities)
    return certificate


def _patience(context: PlanContext, progress: Progress, hours: float) -> Patience:
    return Patience(seconds=hours * 3600, progress=progress, notes=context.journal)


@task(name="restore", task_run_name="restore from {target}", cache_policy=NO_CACHE)
def restore(
    plan: Path,
    target: str,
    backup: str,
    identity: Path,
    destination: Path,
    source_name: str = "",
    wait: float = 0.0,
) -> tuple[Path, tuple[str, ...]]:
    """Bring a source's backup from a target to a new, empty place. ``wait`` as in ``drill``.

    Returns what to open there, and what was newer and passed over.
    """
    context = PlanContext(plan)
    sweep(context.staging, context.plan.spool)
    refuse_occupied(destination)
    identities = read_identities([identity])
    with (
        context.target(target) as place,
        scratch_room(context.staging, "restore") as room,
        progress_of(f"restore from {target}") as progress,
    ):
        choice = choose(origin_of(context, place, source_name), backup)
        for warning in choice.warnings:
            get_run_logger().warning(warning)
        opened = open_backup(choice, identities)
        with progress_of(f"out of cold storage at {target}") as thawing:
            opened = thaw(opened, _patience(context, thawing, wait))
        path = put_into_place(recover(opened, room, progress), destination)
        note_restored(context.path, choice, destination, "restore")
        return path, choice.warnings
