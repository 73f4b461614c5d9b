"""One backup by the program's own steps, in the order of flows/backup.py, a target after the other."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from uuid import uuid4

from tasks.backup import spool
from tasks.backup.deliver import deliver, read_back
from tasks.backup.due_targets import day_of
from tasks.backup.media import is_removable
from tasks.backup.retain import prune
from tasks.backup.workspace import working
from tasks.context import PlanContext
from tasks.errors import TargetError, TargetMissing
from tasks.records import Rehearsed, Run, Sealed
from tests.flows.nights import proven


@dataclass
class Night:
    """What came of a run at each target: the outcome as in its report, why it failed, what was removed."""

    run: Run
    outcomes: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    removed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def back_up(context: PlanContext) -> Night:
    """A whole run."""
    with working(context.staging, str(uuid4()), context.source_names, context.plan.spool) as (workspace,):
        run, sealed, rehearsed = proven(context, workspace)
        spool.remember(context, spool.Spooled(run=run, sealed=sealed, rehearsed=rehearsed))
        workspace.mark("sealed")
        night = Night(run)
        for entry in context.plan.targets:
            if entry.name in run.not_due:
                night.outcomes[entry.name] = "not due"
            else:
                send(context, night, sealed, rehearsed, entry.name)
        if not night.problems:
            workspace.unmark("sealed")
        # The kernel has a clock of its own, and how long an archive waits here goes by that.
        os.utime(workspace.folder, (time.time(), time.time()))
    return night


def send(context: PlanContext, night: Night, sealed: Sealed, rehearsed: Rehearsed, name: str) -> None:
    """Deliver, read back and prune at one target; a failure is noted and keeps no other from its backup."""
    run = night.run
    try:
        placed = deliver(context, run, sealed, rehearsed, name)
        placed = read_back(context, run, sealed, rehearsed, placed)
        pruned = prune(context, name, run.source_name, placed.name, day_of(context, run.started))
    except TargetError as error:
        missed = isinstance(error, TargetMissing) and is_removable(context.entry(name))
        night.outcomes[name] = "missed" if missed else "failed"
        night.problems[name] = error.message
        return
    night.outcomes[name] = "delivered"
    night.removed[name] = pruned.removed
    if pruned.note:
        night.notes[name] = pruned.note
