"""Prefect tasks: delivery to one target, and reading back from it."""

from __future__ import annotations

from prefect import task

from tasks.backup import deliver as sending
from tasks.errors import ReadBackError
from tasks.records import Placed, Rehearsed, Run, Sealed
from tasks.steps.progress import progress_of
from tasks.steps.running import KEPT, RETRIED, room_of, step_of


@task(name="deliver", task_run_name="deliver to {target}", **RETRIED, **KEPT)
def deliver(run: Run, sealed: Sealed, rehearsed: Rehearsed, target: str) -> Placed:
    """Put the sealed archive on one target."""
    context, workspace = room_of(run)
    step = step_of(run, f"deliver to {target}")
    with workspace.timed(f"deliver {target}"), progress_of(step) as progress:
        placed = sending.deliver(context, run, sealed, rehearsed, target, progress)
    workspace.mark(f"delivered-{target}")
    return placed


@task(name="read back", task_run_name="read back from {target}", **RETRIED, **KEPT)
def read_back(run: Run, sealed: Sealed, rehearsed: Rehearsed, placed: Placed, target: str) -> Placed:
    """Read the archive back from the medium, compare it, publish its manifest."""
    context, workspace = room_of(run)
    step = step_of(run, f"read back from {target}")
    try:
        with workspace.timed(f"read back {target}"), progress_of(step) as progress:
            return sending.read_back(context, run, sealed, rehearsed, placed, progress)
    except ReadBackError:
        # What lies there is wrong: a re-run must send it again and not trust the finished delivery.
        workspace.unmark(f"delivered-{target}")
        raise
