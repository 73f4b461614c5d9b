"""How every flow ends: its outcome is recorded, people are notified, and then it gets its state.

Also what is done after a run that was ended from outside: nothing readable stays in staging.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Completed, Failed

from flows.report import plain_report
from tasks.backup.workspace import sweep
from tasks.context import PlanContext
from tasks.errors import DatasaveError
from tasks.reports import RunReport
from tasks.steps.notices import notify
from tasks.steps.report import show_refusal


def concluded(plan: Path, facts: RunReport, *, reporting: bool = True) -> State[Any]:
    """Tell everyone, and end in the state that follows from the facts and from who could be told."""
    return state_of(notify(plan, facts, reporting=reporting))


def state_of(facts: RunReport) -> State[Any]:
    """The state that a flow ends in, its first line the report's headline."""
    return Completed(message=facts.headline) if facts.succeeded else Failed(message=facts.headline)


def refused(plan: Path, flow: str, error: DatasaveError, started: datetime) -> State[Any]:
    """The end of a run that could not do its work and has no report: a wrong plan, another run under way."""
    show_refusal(error)
    done = notify(plan, failure(plan, flow, str(error), started), reporting=False)
    return Failed(message=done.headline, data=error if done.headline == str(error) else None)


def failure(plan: Path, flow: str, headline: str, started: datetime) -> RunReport:
    """The facts of a failed run that has no more to say than a headline."""
    return plain_report(flow, started, headline, plan.stem)


def clear_staging(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001
    """Remove the plaintext of a cancelled or crashed run; its process may have been killed in the middle.

    A run whose process still lives holds its lock and clears up by itself. The names of the parameters are
    those by which Prefect calls a hook.
    """
    with suppress(DatasaveError):  # the run's own outcome is what must be told; the next run sweeps again
        context = PlanContext(Path(flow_run.parameters["plan"]))
        sweep(context.staging, context.plan.spool)
