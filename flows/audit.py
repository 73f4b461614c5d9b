"""Look at every target: present, whole, fresh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.ending import concluded, refused
from flows.report import audit_report
from tasks.context import PlanContext
from tasks.errors import DatasaveError
from tasks.records import Scope
from tasks.steps.notices import notify_at_every_end
from tasks.steps.on_request import audit as audit_target
from tasks.steps.report import now, reported
from tasks.steps.running import name_run


@flow(name="audit", **notify_at_every_end())
def audit(plan: Path, targets: list[str] | None = None, read_all: bool = False) -> State[Any]:
    """Look at every target: is it there, is each backup whole and signed, is the newest one fresh?

    Args:
        plan: The plan file that names the targets.
        targets: The targets to look at. Leave it empty for all of them.
        read_all: Read every archive from its first byte to its last, and not only the newest of each
            target. Takes as long as reading all of them does.
    """
    started = now()
    try:
        context = PlanContext(plan)
        name_run("audit", context)
        names = context.chosen(targets)
        futures = {name: audit_target.task.submit(Scope(plan=context.path), name, read_all) for name in names}
        findings = {name: future.result() for name, future in futures.items()}
        facts = reported(context.path, audit_report(context, findings, started))
    except DatasaveError as error:
        return refused(plan, "audit", error, started)
    return concluded(context.path, facts)
