"""Prefect tasks: delivery to one target, and reading back from it."""

from __future__ import annotations

from prefect import task

from tasks.errors import ReadBackError
from tasks.progress import progress_of
from tasks.records import Placed, Rehearsed, Run, Sealed
from tasks.running import KEPT, RETRIED, room_of, step_of
from tasks.steps import sending


@task(name="deliver", task_run_name="deliver → {target}", **RETRIED, **KEPT)
def deliver(run: Run, sealed: Sealed, rehearsed: Rehearsed, target: str) -> Placed:
    """Put the sealed archive on one target."""
    office, workspace = room_of(run)
    with workspace.timed(f"deliver {target}"):
        placed = sending.deliver(
            office, run, sealed, rehearsed, target, progress_of(step_of(run, f"deliver → {target}"))
        )
    workspace.mark(f"delivered-{target}")
    return placed


@task(name="read back", task_run_name="read back ← {target}", **RETRIED, **KEPT)
def read_back(run: Run, sealed: Sealed, rehearsed: Rehearsed, placed: Placed, target: str) -> Placed:
    """Read the archive back from the medium, compare it, publish its manifest."""
    office, workspace = room_of(run)
    try:
        with workspace.timed(f"read back {target}"):
            return sending.read_back(
                office, run, sealed, rehearsed, placed, progress_of(step_of(run, f"read back ← {target}"))
            )
    except ReadBackError:
        # What lies there is wrong: a re-run must send it again and not trust the finished delivery.
        workspace.unmark(f"delivered-{target}")
        raise
