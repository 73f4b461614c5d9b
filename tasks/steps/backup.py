"""The steps of a backup, in its order: from the running database to a proven copy on every target."""

from __future__ import annotations

from prefect import runtime

import tasks.backup.copy
import tasks.backup.deliver
import tasks.backup.preflight
import tasks.backup.rehearse
import tasks.backup.retain
import tasks.backup.seal
import tasks.backup.validate
from tasks.backup.copy import Copied
from tasks.backup.due_targets import day_of
from tasks.backup.spool import Spooled, remember
from tasks.backup.workspace import SEALED
from tasks.checks.gx import load_beside
from tasks.errors import ReadBackError
from tasks.records import Placed, Pruned, Rehearsed, Run, Sealed, Validated
from tasks.recovery.in_place.record import refuse_unfinished
from tasks.steps.declaration import NOT_ON_RECORD, Work, retried, step
from tasks.steps.running import rename_run

# A database that is busy just now, a share that hiccups; a server that restarts.
COPY_AGAIN = retried(10, 10)
SEND_AGAIN = retried(5, 30, 120)


@step("preflight", stands_by=SEALED, recall=lambda _, spooled: spooled.run)
def preflight(work: Work) -> Run:
    """Check source, keys and room; number the run."""
    refuse_unfinished(work.context.state, work.context.full_name(work.source_name))
    work.workspace.forget()
    attempt = int(runtime.flow_run.run_count or 1)
    run = tasks.backup.preflight.preflight(work.context, work.scope.id, work.source_name, attempt)
    load_beside()  # beside the copy: the rehearsal will judge with it
    rename_run(f"backup {work.context.plan.name} {day_of(work.context, run.started)} #{run.sequence}")
    return run


@step(
    "live copy",
    stands_by=SEALED,
    recall=lambda work, spooled: spooled.copied(work.workspace),
    retries=COPY_AGAIN,
)
def live_copy(work: Work) -> Copied:
    """Copy the running database with its engine's own means."""
    return tasks.backup.copy.live_copy(work.context, work.run, work.progress)


@step("validate copy", stands_by=SEALED, recall=lambda *_: NOT_ON_RECORD)
def validate_copy(work: Work, copy: Copied) -> Validated:
    """Run the engine's check on the copy and take its profile."""
    return tasks.backup.validate.validate_copy(work.context, work.run, copy, work.progress)


@step("archive and encrypt", stands_by=SEALED, recall=lambda _, spooled: spooled.sealed_whole())
def archive_and_encrypt(work: Work, copy: Copied) -> Sealed:
    """Pack the copy as tar + zstandard, encrypted to every holder."""
    return tasks.backup.seal.archive_and_encrypt(work.context, work.workspace, work.run, copy, work.progress)


@step("rehearse", mark=SEALED, recall=lambda _, spooled: spooled.rehearsed)
def rehearse(work: Work, copy: Copied, sealed: Sealed, validated: Validated) -> Rehearsed:
    """Restore the sealed archive in scratch, compare it with the copy, sign the manifest."""
    rehearsed = tasks.backup.rehearse.prove(work.context, work.run, copy, sealed, validated, work.progress)
    remember(work.context, Spooled(run=work.run, sealed=sealed, rehearsed=rehearsed))
    return rehearsed


def _placed(work: Work, spooled: Spooled) -> Placed:
    name = tasks.backup.deliver.name_at(work.context, spooled.run, spooled.sealed, work.target)
    return Placed(target=work.target, name=name, bytes=spooled.sealed.bytes, seconds=deliver.seconds(work))


def _proven(work: Work, spooled: Spooled) -> Placed | None:
    # Nothing is pruned before this was read back.
    return _placed(work, spooled) if prune.stands(work.workspace, work.target) else None


@step(
    "deliver",
    line="deliver {target}",
    title="deliver to {target}",
    mark="delivered-{target}",
    recall=_placed,
    retries=SEND_AGAIN,
)
def deliver(work: Work, sealed: Sealed, rehearsed: Rehearsed) -> Placed:
    """Put the sealed archive on one target."""
    return tasks.backup.deliver.deliver(work.context, work.run, sealed, rehearsed, work.target, work.progress)


@step(
    "read back",
    line="read back {target}",
    title="read back from {target}",
    recall=_proven,
    retries=SEND_AGAIN,
)
def read_back(work: Work, sealed: Sealed, rehearsed: Rehearsed, placed: Placed) -> Placed:
    """Read the archive back from the medium, compare it, publish its manifest."""
    try:
        return tasks.backup.deliver.read_back(
            work.context, work.run, sealed, rehearsed, placed, work.progress
        )
    except ReadBackError:
        # What lies there is wrong: a re-run must send it again and not trust the finished delivery.
        deliver.unmark(work.workspace, work.target)
        raise


@step(
    "prune",
    line="prune {target}",
    mark="pruned-{target}",
    mark_if=lambda pruned: not pruned.note,
    recall=lambda work, _: Pruned(target=work.target, removed=(), kept=0),
)
def prune(work: Work, placed: Placed) -> Pruned:
    """Apply retention to a target that has just received and proven a backup."""
    day = day_of(work.context, work.run.started)
    pruned = tasks.backup.retain.prune(
        work.context, work.target, work.source_name, placed.name, day, work.run.id
    )
    tasks.backup.retain.copy_journal(work.context, work.target, day)
    return pruned
