"""What is done to the database engine between backups: its restart, a backup of its log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.ending import concluded, refused
from flows.report import step_report
from tasks.context import PlanContext
from tasks.errors import DatasaveError
from tasks.records import Scope
from tasks.steps.declaration import Step
from tasks.steps.notices import notify_at_every_end
from tasks.steps.on_request import back_up_log, restart_engine
from tasks.steps.report import now, reported
from tasks.steps.running import name_run


@flow(name="restart", **notify_at_every_end())
def restart(plan: Path, source: str | None = None) -> State[Any]:
    """Stop the database engine, start it again, and check that the database answers.

    Waits for nobody: everyone who works with the database is interrupted. Not done while a backup runs.

    Args:
        plan: The plan file that says how.
        source: Which of the plan's sources. Leave it empty for the main one.
    """
    return _one_step("restart", restart_engine, "The engine of {} was restarted and answers", plan, source)


@flow(name="log", **notify_at_every_end())
def log(plan: Path, source: str | None = None) -> State[Any]:
    """Add what changed since the last log backup to the chain of logs beside the full backups.

    Args:
        plan: The plan file that says how.
        source: Which of the plan's sources. Leave it empty for the main one.
    """
    return _one_step("log", back_up_log, "The log of {} was backed up", plan, source)


def _one_step(name: str, step: Step[..., Any], good: str, plan: Path, source: str | None) -> State[Any]:
    started = now()
    try:
        context = PlanContext(plan)
        source_name = context.source_name(source)
        name_run(name, context)
        scope = Scope(plan=context.path, source_name=source_name)
        done: Any = step.task(scope, "", return_state=True)
        headline = good.format(context.full_name(source_name))
        facts = reported(context.path, step_report(context, name, headline, done, started))
    except DatasaveError as error:
        return refused(plan, name, error, started)
    return concluded(context.path, facts)
