"""Prove that a backup on a target can be brought back with a holder's key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.clearing import clear_staging
from flows.ending import concluded, refused
from flows.evidence import drill_report
from tasks.errors import DatasaveError
from tasks.noticing import every_end_told
from tasks.recovering import drill as drill_target
from tasks.reporting import now, reported
from tasks.steps.office import Office


@flow(name="drill", **every_end_told(clear_staging))
def drill(
    plan: Path,
    target: str | None = None,
    backup: str = "latest",
    identity: Path | None = None,
    source: str | None = None,
    wait: float | None = None,
) -> State[Any]:
    """Restore a backup from a target in scratch, check it, and leave a signed certificate there.

    Args:
        plan: The plan file (YAML).
        target: Which target to drill from; empty means the plan's drill target, or its first.
        backup: Which backup: "latest", a number, a date, or a name from `datasave list`.
        identity: A holder's identity file; empty means the one the plan names for drills.
        source: Which of the plan's sources; empty means each of them.
        wait: How many hours to wait for an archive out of cold storage; empty means as the plan says.
    """
    started = now()
    try:
        office = Office(plan)
        chosen = office.entry(target or office.drill_target()).name
        hours = office.plan.drill.thaw_hours if wait is None else wait
        parts = office.parts if source is None else (office.part(source),)
        done = {
            part: drill_target(office.path, chosen, backup, identity, part, hours, return_state=True)
            for part in parts
        }
        facts = reported(office.path, drill_report(office, chosen, done, started))
    except DatasaveError as error:
        return refused(plan, "drill", error, started)
    return concluded(office.path, facts)
