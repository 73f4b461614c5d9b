"""Prove that a backup on a target can be brought back with a holder's key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.ending import clear_staging, concluded, refused
from flows.report import drill_report, step_report
from tasks.context import PlanContext
from tasks.errors import DatasaveError
from tasks.steps.notices import notify_at_every_end
from tasks.steps.outcomes import state_error
from tasks.steps.recovery import drill as drill_target
from tasks.steps.recovery import whose_turn
from tasks.steps.report import now, reported
from tasks.steps.running import name_run


@flow(name="drill", **notify_at_every_end(clear_staging))
def drill(
    plan: Path,
    target: str | None = None,
    backup: str = "latest",
    identity: Path | None = None,
    source: str | None = None,
    wait: float | None = None,
) -> State[Any]:
    """Prove that a backup can be brought back: restore it from a target in scratch, check it, certify it.

    The signed certificate stays on the target. The running database is not touched.

    Args:
        plan: The plan file that names the targets.
        target: The target to bring the backup back from. Leave it empty for the one whose proof is oldest.
        backup: Which backup: latest, a number (417), a date (2026-11-23), or a name from `datasave list`.
        identity: The file with a holder's key, on the machine that runs this; never the key itself. Leave it
            empty where the keys that the plan names take turns.
        source: Which of the plan's sources. Leave it empty for each of them.
        wait: How many hours to wait for an archive out of cold storage. Leave it empty for as long
            as the plan says.
    """
    started = now()
    try:
        context = PlanContext(plan)
        chosen = whose_turn(context.path, target, identity, return_state=True)
        if state_error(chosen):
            facts = reported(context.path, step_report(context, "drill", "", chosen, started))
            return concluded(context.path, facts)
        turn = chosen.result()
        if turn is None:
            return Completed(
                message="No drill is due: the targets are away, or cold and drilled not long ago"
            )
        name_run("drill", context, f" from {turn.target}")
        hours = context.plan.drill.thaw_hours if wait is None else wait
        source_names = context.source_names if source is None else (context.source_name(source),)
        done = {
            source_name: drill_target(
                context.path,
                turn.target,
                backup,
                identity,
                source_name,
                turn.holder,
                hours,
                return_state=True,
            )
            for source_name in source_names
        }
        facts = reported(context.path, drill_report(context, turn.target, done, started))
    except DatasaveError as error:
        return refused(plan, "drill", error, started)
    return concluded(context.path, facts)
