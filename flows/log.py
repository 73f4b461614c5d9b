"""Back up the database's log between full backups, for engines that keep one (SQL Anywhere)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.evidence import step_report
from tasks.errors import DatasaveError
from tasks.reporting import now, reported
from tasks.restarting import back_up_log
from tasks.steps.office import Office


@flow(name="log")
def log(plan: Path, source: str | None = None) -> State[Any]:
    """Add what changed since the last log backup to the chain of logs beside the full backups.

    Args:
        plan: The plan file (YAML).
        source: Which of the plan's sources; empty means the main one.
    """
    started = now()
    try:
        office = Office(plan)
        part = office.part(source)
        done = back_up_log(office.path, part, return_state=True)
        good = f"The log of {office.full_name(part)} was backed up"
        facts = reported(office.path, step_report(office, "log", good, done, started))
    except DatasaveError as error:
        return Failed(message=str(error), data=error)
    return Completed(message=facts.headline) if facts.succeeded else Failed(message=facts.headline)
