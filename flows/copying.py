"""When someone asks: a readable copy of the database as it is now, or a check of it. Neither is a backup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.futures import wait

from flows.backup import RUNNER, later, of_part
from flows.clearing import clear_staging
from flows.ending import concluded, refused
from flows.report_checks import Looked, look_at, looked_report
from tasks.backup.copy import place_for
from tasks.backup.workspace import working
from tasks.context import PlanContext
from tasks.errors import DatasaveError
from tasks.steps import copying
from tasks.steps.noticing import every_end_told
from tasks.steps.progress import stopping_steps
from tasks.steps.reporting import now, reported
from tasks.steps.running import name_run


@flow(name="copy", task_runner=RUNNER, **every_end_told(clear_staging))
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
            looked = look_at(context, workspace, source_name)
            placing = of_part(copying.put_in_place, source_name)
            placed = later(placing, looked.run, looked.copy, folder, after=[looked.validated])
            looked.more["put in place"] = placed
            _finish([looked])
            good = f"{name} is copied to {folder}, checked and readable for whoever reaches that folder"
            facts = reported(context.path, looked_report(context, "copy", good, [looked], started))
    except DatasaveError as error:
        return refused(plan, "copy", error, started)
    return concluded(context.path, facts)


@flow(name="check", task_runner=RUNNER, **every_end_told(clear_staging))
def check(plan: Path, source: str | None = None) -> State[Any]:
    """Check the database now, while it is in use: its engine's own check, on a copy that goes afterwards.

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
            looked = [
                look_at(context, place, source_name)
                for place, source_name in zip(workspaces, source_names, strict=True)
            ]
            for one in looked:
                asking = of_part(copying.own_checks, one.source_name)
                asked = later(asking, one.run, one.copy, after=[one.validated])
                one.more["own checks"] = asked
            _finish(looked)
            good = f"{', '.join(map(context.full_name, source_names))} passed every check"
            facts = reported(context.path, looked_report(context, "check", good, looked, started))
    except DatasaveError as error:
        return refused(plan, "check", error, started)
    return concluded(context.path, facts)


def _finish(looked: list[Looked]) -> None:
    with stopping_steps(lambda: wait([future for one in looked for future in one.futures])):
        wait([future for one in looked for future in one.futures])
