"""Prefect tasks: preflight, live copy, validation."""

from __future__ import annotations

from pathlib import Path

from prefect import runtime, task

from tasks.backup import copy as taking
from tasks.backup import preflight as looking
from tasks.backup import validate as validating
from tasks.backup.copy import Copied
from tasks.backup.media import day_of
from tasks.backup.workspace import Workspace
from tasks.context import PlanContext
from tasks.records import Run, Validated
from tasks.recovery.in_place.record import refuse_unfinished
from tasks.steps.progress import progress_of
from tasks.steps.running import KEPT, rename_run, room_of, step_of, worth_another_try


@task(name="preflight", task_run_name="preflight", **KEPT)
def preflight(plan: Path, folder: str, source_name: str = "") -> Run:
    """Check source, keys and room; number the run."""
    context = PlanContext(plan)
    attempt = int(runtime.flow_run.run_count or 1)
    with Workspace(context.staging / folder).timed("preflight"):
        refuse_unfinished(context.state, context.full_name(source_name))
        run = looking.preflight(context, folder, source_name, attempt)
    day = day_of(context, run.started)
    rename_run(f"backup {context.plan.name} {day} #{run.sequence}")
    return run


@task(
    name="live copy",
    task_run_name="live copy",
    retries=2,
    retry_delay_seconds=10,
    retry_condition_fn=worth_another_try,
    **KEPT,
)
def live_copy(run: Run) -> Copied:
    """Copy the running database with its engine's own means."""
    context, workspace = room_of(run)
    with workspace.timed("live copy"), progress_of(step_of(run, "live copy")) as progress:
        return taking.live_copy(context, run, progress)


@task(name="validate copy", task_run_name="validate copy", **KEPT)
def validate_copy(run: Run, copy: Copied) -> Validated:
    """Run the engine's check on the copy and take its profile."""
    context, workspace = room_of(run)
    with workspace.timed("validate copy"), progress_of(step_of(run, "validate copy")) as progress:
        return validating.validate_copy(context, run, copy, progress)
