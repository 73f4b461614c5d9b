"""Bring a backup back to a new, empty place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from tasks.context import PlanContext
from tasks.errors import DatasaveError
from tasks.steps.recovery import restore as restore_from
from tasks.steps.report import show_refusal
from tasks.steps.running import name_run


@flow(name="restore")
def restore(
    plan: Path,
    target: str,
    destination: Path,
    identity: Path,
    backup: str = "latest",
    source: str | None = None,
    wait: float | None = None,
) -> State[Any]:
    """Bring a backup back into an empty folder, proved on the way. Nothing that exists is overwritten.

    Args:
        plan: The plan file that names the targets.
        target: The target to restore from.
        destination: A new or empty folder on the machine that runs this.
        identity: The file with a holder's key, on the machine that runs this. Never the key itself.
        backup: Which backup: latest, a number (417), a date (2026-11-23), or a name from `datasave list`.
        source: Which of the plan's sources. Leave it empty for the main one.
        wait: How many hours to wait for an archive out of cold storage. Leave it empty for as long as a
            drill does.
    """
    try:
        context = PlanContext(plan)
        source_name = context.source_name(source)
        name_run("restore", context, f" from {target}")
        hours = context.plan.drill.thaw_hours if wait is None else wait
        name = context.entry(target).name
        path, newer = restore_from(context.path, name, backup, identity, destination, source_name, hours)
    except DatasaveError as error:
        show_refusal(error)
        return Failed(message=str(error), data=error)
    told = f"{context.full_name(source_name)} was restored from {target}: open {path}"
    return Completed(message=". NOT THE NEWEST: ".join((told, *newer)))
