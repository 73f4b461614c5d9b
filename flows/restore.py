"""Bring a backup back to a new, empty place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from tasks.errors import DatasaveError
from tasks.recovering import restore as restore_from
from tasks.steps.office import Office


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
    """Fetch, open, prove and put a backup into an empty folder. Nothing that exists is overwritten.

    Args:
        plan: The plan file (YAML).
        target: Which target to restore from.
        destination: A new or empty folder on this machine.
        identity: A holder's identity file on this machine.
        backup: Which backup: "latest", a number, a date, or a name from `datasave list`.
        source: Which of the plan's sources; empty means the main one.
        wait: How many hours to wait for an archive out of cold storage; empty means as long as a drill does.
    """
    try:
        office = Office(plan)
        part = office.part(source)
        hours = office.plan.drill.thaw_hours if wait is None else wait
        name = office.entry(target).name
        path = restore_from(office.path, name, backup, identity, destination, part, hours)
    except DatasaveError as error:
        return Failed(message=str(error), data=error)
    return Completed(message=f"{office.full_name(part)} was restored from {target}: open {path}")
