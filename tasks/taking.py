"""Prefect tasks: preflight, live copy, validation."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from tasks.progress import progress_of
from tasks.records import LiveCopy, Run, Validated
from tasks.running import KEPT, rename_run, room_of, worth_another_try
from tasks.steps import taking
from tasks.steps.office import Office
from tasks.steps.workspace import Workspace


@task(name="preflight", task_run_name="preflight", **KEPT)
def preflight(plan: Path, run_id: str) -> Run:
    """Check source, keys and room; number the run."""
    office = Office(plan)
    with Workspace(office.staging / run_id).timed("preflight"):
        run = taking.preflight(office, run_id)
    rename_run(f"backup {run.source} {run.started.astimezone(office.timezone):%Y-%m-%d} #{run.sequence}")
    return run


@task(
    name="live copy",
    task_run_name="live copy",
    retries=2,
    retry_delay_seconds=10,
    retry_condition_fn=worth_another_try,
    **KEPT,
)
def live_copy(run: Run) -> LiveCopy:
    """Copy the running database with its engine's own means."""
    office, workspace = room_of(run)
    with workspace.timed("live copy"):
        return taking.live_copy(office, workspace, progress_of("live copy"))


@task(name="validate copy", task_run_name="validate copy", **KEPT)
def validate_copy(run: Run, copy: LiveCopy) -> Validated:
    """Run the engine's check on the copy and take its profile."""
    office, workspace = room_of(run)
    with workspace.timed("validate copy"):
        return taking.validate_copy(office, workspace, copy, progress_of("validate copy"))
