"""When someone asks: a readable copy of the database as it is now, or a check of it. Neither is a backup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture

from flows.backup import RUNNER
from flows.ending import clear_staging, concluded, refused
from flows.report import looked_report
from tasks.backup.copy import Copied, place_for
from tasks.backup.workspace import Workspace, working
from tasks.context import PlanContext
from tasks.errors import DatasaveError
from tasks.records import Scope, Validated
from tasks.steps.backup import live_copy, validate_copy
from tasks.steps.notices import notify_at_every_end
from tasks.steps.on_request import look, own_checks, put_in_place
from tasks.steps.outcomes import Steps, settle
from tasks.steps.progress import stopping_steps
from tasks.steps.report import now, reported
from tasks.steps.running import name_run


@flow(name="copy", task_runner=RUNNER, **notify_at_every_end(clear_staging))
def copy(plan: Path, destination: Path | None = None, source: str | None = None) -> State[Any]:
    """Copy the database now, while it is in use: checked and NOT encrypted, into a folder of your choice.

    Whoever reaches that folder can read it. It is no backup: no target receives it. Refused is a folder
    that holds anything, is on the network, or belongs to a target.

    Args:
        plan: The plan file that says where the database is.
        destination: A new or empty folder on the machine that runs the database. Leave it empty for a new
            one in the plan's state folder.
        source: Which of the plan's sources. Leave it empty for the main one.
    """
    started = now()
    try:
        context = PlanContext(plan)
        source_name = context.source_name(source)
        name_run("copy", context)
        name = context.full_name(source_name)
        folder = place_for(context, f"{name}-{started:%Y%m%dT%H%M%SZ}", destination)
        with working(context.staging, runtime.flow_run.id, (source_name,), context.plan.spool) as [workspace]:
            steps, copied, validated = look_at(context, workspace, source_name)
            steps.begin(put_in_place, copied, folder, after=[validated])
            _finish([steps])
            good = f"{name} is copied to {folder}, checked and readable for whoever reaches that folder"
            facts = reported(context.path, looked_report(context, "copy", good, [steps], started))
    except DatasaveError as error:
        return refused(plan, "copy", error, started)
    return concluded(context.path, facts)


@flow(name="check", task_runner=RUNNER, **notify_at_every_end(clear_staging))
def check(plan: Path, source: str | None = None) -> State[Any]:
    """Check the database now, while it is in use: its engine's own check, on a temporary copy.

    Every table is counted, and the plan's own checks are asked. It is no backup: no target receives it.

    Args:
        plan: The plan file that says where the database is.
        source: Which of the plan's sources. Leave it empty for each of them.
    """
    started = now()
    try:
        context = PlanContext(plan)
        source_names = context.source_names if source is None else (context.source_name(source),)
        name_run("check", context)
        with working(context.staging, runtime.flow_run.id, source_names, context.plan.spool) as workspaces:
            looked = []
            for workspace, source_name in zip(workspaces, source_names, strict=True):
                steps, copied, validated = look_at(context, workspace, source_name)
                steps.begin(own_checks, copied, after=[validated])
                looked.append(steps)
            _finish(looked)
            good = f"{', '.join(map(context.full_name, source_names))} passed every check"
            facts = reported(context.path, looked_report(context, "check", good, looked, started))
    except DatasaveError as error:
        return refused(plan, "check", error, started)
    return concluded(context.path, facts)


def look_at(
    context: PlanContext, workspace: Workspace, source_name: str
) -> tuple[Steps, PrefectFuture[Copied], PrefectFuture[Validated]]:
    """Copy a source and check the copy; submitted, not awaited. A re-run does all of it anew."""
    scope = Scope(plan=context.path, id=workspace.folder.name, source_name=source_name)
    steps = Steps(scope, source_name, workspace)
    steps.scope = steps.begin(look)
    copied = steps.begin(live_copy)
    return steps, copied, steps.begin(validate_copy, copied)


def _finish(looked: list[Steps]) -> None:
    with stopping_steps(lambda: settle(looked)):
        settle(looked)
