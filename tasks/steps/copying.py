"""Prefect tasks: a copy or a check of the database, when someone asks for it."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.backup import copy as copying
from tasks.backup import preflight as looking
from tasks.backup import validate as validating
from tasks.backup.copy import Copied
from tasks.backup.workspace import Workspace
from tasks.context import PlanContext
from tasks.records import Run
from tasks.steps.running import room_of


@task(name="look", task_run_name="look", cache_policy=NO_CACHE)
def look(plan: Path, folder: str, source_name: str = "") -> Run:
    """See whether the database answers and a copy has room."""
    context = PlanContext(plan)
    with Workspace(context.staging / folder).timed("look"):
        return looking.look(context, folder, source_name)


@task(name="own checks", task_run_name="own checks", cache_policy=NO_CACHE)
def own_checks(run: Run, copy: Copied) -> validating.Answered:
    """Ask the plan's own questions of a copy that passed its engine's check."""
    context, workspace = room_of(run)
    with workspace.timed("own checks"):
        return validating.own_checks(context, run, copy)


@task(name="put in place", task_run_name="put in place", cache_policy=NO_CACHE)
def put_in_place(run: Run, copy: Copied, folder: Path) -> Path:
    """Put a checked copy into the folder that was asked for."""
    context, workspace = room_of(run)
    with workspace.timed("put in place"):
        return copying.put_in_place(context, run, copy, folder)
