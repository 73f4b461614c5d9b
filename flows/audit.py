"""Look at every target: present, whole, fresh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.ending import concluded, refused
from flows.evidence import audit_report
from tasks.errors import DatasaveError
from tasks.noticing import every_end_told
from tasks.reporting import audit as audit_target
from tasks.reporting import now, reported
from tasks.steps.office import Office


@flow(name="audit", **every_end_told())
def audit(plan: Path, targets: list[str] | None = None, read_all: bool = False) -> State[Any]:
    """Verify what is on the targets: signatures, sizes, digests, freshness.

    Args:
        plan: The plan file (YAML).
        targets: Names of the targets to audit; empty means all of them.
        read_all: Read every archive whole, and not only the newest of each target.
    """
    started = now()
    try:
        office = Office(plan)
        names = office.chosen(targets)
        futures = {name: audit_target.submit(office.path, name, read_all) for name in names}
        findings = {name: future.result() for name, future in futures.items()}
        facts = reported(office.path, audit_report(office, findings, started))
    except DatasaveError as error:
        return refused(plan, "audit", error, started)
    return concluded(office.path, facts)
