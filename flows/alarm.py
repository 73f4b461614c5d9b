"""Report what a run cannot report itself: that it was killed, or never started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.ending import refused
from flows.report import plain_report
from tasks.backup.workspace import sweep
from tasks.context import PlanContext
from tasks.errors import DatasaveError
from tasks.steps.notices import notify, notify_at_every_end
from tasks.steps.report import now, reported
from tasks.steps.running import ended_by_itself, name_run

NEXT = "Start a backup (`datasave backup`, or Run on the backup's page), and find out why none ended."


@flow(name="alarm", **notify_at_every_end())
def alarm(
    plan: Path, reason: str = "The alarm was started by hand, as a test", run: str = "", run_id: str = ""
) -> State[Any]:
    """Report that a run died or that no backup succeeds any more. Prefect's automations start this.

    Also clears what a dead run left readable in staging. The run is Failed: an alarm is red.

    Args:
        plan: The plan file (YAML).
        reason: What is wrong, in one sentence.
        run: Name of the run that it is about; empty where no run started.
        run_id: Its id: a run that ended by itself after all is no reason for an alarm.
    """
    started = now()
    try:
        context = PlanContext(plan)
        name_run("alarm", context)
        sweep(context.staging, context.plan.spool)
        if ended_by_itself(run_id):
            return Completed(message=f"No alarm: {run} ended by itself")
        headline = f"{reason}: {run}" if run else reason
        facts = plain_report("alarm", started, headline, context.plan.name, advice=[NEXT])
        facts = reported(context.path, facts)
    except DatasaveError as error:
        return refused(plan, "alarm", DatasaveError(f"ALARM: {reason}. Besides, {error}"), started)
    facts = notify(context.path, facts)
    return Failed(message=f"ALARM: {facts.headline}. {NEXT}")
