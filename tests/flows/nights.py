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
from tasks.backup.seal import archive_and_encrypt
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


def _night(context: PlanContext, run_id: str) -> Night:
    with working(context.staging, run_id, context.source_names, context.plan.spool) as (workspace, *_):
        run, sealed, rehearsed = proven(context, workspace)
        pruned = []
        for entry in context.plan.targets:
            placed = deliver(context, run, sealed, rehearsed, entry.name)
            placed = read_back(context, run, sealed, rehearsed, placed)
            pruned.append(prune(context, entry.name, "", placed.name, day_of(context, run.started)))
    return Night(run.sequence, rehearsed, tuple(pruned))


def proven(context: PlanContext, workspace: Workspace) -> tuple[Run, Sealed, Rehearsed]:
    """Everything of a run until its first delivery."""
    run = preflight(context, workspace.folder.name)
    copy = live_copy(context, run)
    validated = validate_copy(context, run, copy)
    sealed = archive_and_encrypt(context, workspace, run, copy)
    return run, sealed, prove(context, run, copy, sealed, validated)
