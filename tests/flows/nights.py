"""Night after night of one office by the program's own steps, without a Prefect server: quick."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import time_machine

from tasks.backup.copy import live_copy
from tasks.backup.deliver import deliver, read_back
from tasks.backup.due_targets import day_of
from tasks.backup.preflight import preflight
from tasks.backup.rehearse import prove
from tasks.backup.retain import prune
from tasks.backup.seal import archive_copy, encrypt_archive
from tasks.backup.validate import validate_copy
from tasks.backup.workspace import Workspace, working
from tasks.context import PlanContext
from tasks.records import Pruned, Rehearsed, Run, Sealed
from tests.flows.site import Site


class Night(NamedTuple):
    """What one backup came to."""

    number: int
    rehearsed: Rehearsed
    pruned: tuple[Pruned, ...]


def night(site: Site, moment: datetime) -> Night:
    """One whole backup to every target of the plan, begun at ``moment``."""
    with time_machine.travel(moment, tick=True):
        return _night(PlanContext(site.plan), f"run-{moment:%Y%m%d%H%M}")


def nights(site: Site, first: datetime, count: int) -> list[Night]:
    return [night(site, first + timedelta(days=number)) for number in range(count)]


def _night(office: PlanContext, run_id: str) -> Night:
    with working(office.staging, run_id, office.source_names, office.plan.spool) as (workspace, *_):
        run, sealed, rehearsed = proven(office, workspace)
        pruned = []
        for entry in office.plan.targets:
            placed = deliver(office, run, sealed, rehearsed, entry.name)
            placed = read_back(office, run, sealed, rehearsed, placed)
            pruned.append(prune(office, entry.name, "", placed.name, day_of(office, run.started)))
    return Night(run.sequence, rehearsed, tuple(pruned))


def proven(office: PlanContext, workspace: Workspace) -> tuple[Run, Sealed, Rehearsed]:
    """Everything of a run until its first delivery."""
    run = preflight(office, workspace.folder.name)
    copy = live_copy(office, run)
    validated = validate_copy(office, run, copy)
    archived = archive_copy(office, workspace, copy)
    sealed = encrypt_archive(office, workspace, run, archived)
    return run, sealed, prove(office, run, copy, archived, sealed, validated)
