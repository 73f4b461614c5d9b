"""Restart the database engine and see that it answers, for engines that want this once a day."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.evidence import step_report
from tasks.errors import DatasaveError
from tasks.reporting import now, reported
from tasks.restarting import restart_engine
from tasks.steps.office import Office


@flow(name="restart")
def restart(plan: Path, source: str | None = None) -> State[Any]:
    """Stop the database engine, start it again, and check that the database answers.

    Waits for nobody: everyone who works with the database is interrupted. Not done while a backup runs.

    Args:
        plan: The plan file (YAML).
        source: Which of the plan's sources; empty means the main one.
    """
    started = now()
    try:
        office = Office(plan)
        part = office.part(source)
        done = restart_engine(office.path, part, return_state=True)
        good = f"The engine of {office.full_name(part)} was restarted and answers"
        facts = reported(office.path, step_report(office, "restart", good, done, started))
    except DatasaveError as error:
        return Failed(message=str(error), data=error)
    return Completed(message=facts.headline) if facts.succeeded else Failed(message=facts.headline)
