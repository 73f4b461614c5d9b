"""How every flow ends: its outcome is decided and on record, then people are told, then it has its state."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from prefect import runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from tasks.errors import DatasaveError
from tasks.reports import RunReport
from tasks.steps.noticing import told
from tasks.steps.reporting import now, tell


def concluded(plan: Path, facts: RunReport, *, reporting: bool = True) -> State[Any]:
    """Tell everyone, and end in the state that follows from the facts and from who could be told."""
    return state_of(told(plan, facts, reporting=reporting))


def state_of(facts: RunReport) -> State[Any]:
    """The state that a flow ends in, its first line the report's headline."""
    return Completed(message=facts.headline) if facts.succeeded else Failed(message=facts.headline)


def refused(plan: Path, flow: str, error: DatasaveError, started: datetime) -> State[Any]:
    """The end of a run that could not do its work and has no report: a wrong plan, another run under way."""
    tell(error)
    done = told(plan, failure(plan, flow, str(error), started), reporting=False)
    return Failed(message=done.headline, data=error if done.headline == str(error) else None)


def failure(plan: Path, flow: str, headline: str, started: datetime) -> RunReport:
    """The facts of a failed run that has no more to say than a headline."""
    return RunReport(
        flow=flow,
        run=runtime.flow_run.name or "",
        source=plan.stem,
        started=started,
        finished=now(),
        succeeded=False,
        headline=headline,
    )
