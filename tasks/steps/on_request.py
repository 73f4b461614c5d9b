"""Steps outside a backup: copying and checking the database, its engine, retention on request, audit."""

from __future__ import annotations

from pathlib import Path

import tasks.backup.copy
import tasks.backup.engine
import tasks.backup.preflight
import tasks.backup.retain
import tasks.backup.validate
import tasks.health.repair
from tasks.backup.copy import Copied
from tasks.backup.validate import Answered
from tasks.records import Finding, Pruned, Run
from tasks.recovery.told import note_copied
from tasks.steps.declaration import Work, retried, step

# A run that is under way ends; an engine that is down should not stay so for want of another try.
AFTER_THE_RUN = retried(60, 300, 900)


@step("look", kept=False)
def look(work: Work) -> Run:
    """See whether the database answers and a copy has room."""
    return tasks.backup.preflight.look(work.context, work.scope.id, work.source_name)


@step("own checks", kept=False)
def own_checks(work: Work, copy: Copied) -> Answered:
    """Run the plan's own checks on a copy that passed its engine's check."""
    return tasks.backup.validate.own_checks(work.context, work.run, copy)


@step("put in place", kept=False)
def put_in_place(work: Work, copy: Copied, folder: Path) -> Path:
    """Put a checked copy into the folder that was asked for."""
    path = tasks.backup.copy.put_in_place(work.context, work.run, copy, folder)
    note_copied(work.context, work.source_name, folder)
    return path


@step("restart", title="restart engine", kept=False, retries=AFTER_THE_RUN)
def restart_engine(work: Work) -> None:
    """Stop the database engine, start it, see that it answers."""
    tasks.backup.engine.restart(work.context, work.source_name)


@step("log", title="log backup", kept=False, retries=AFTER_THE_RUN)
def back_up_log(work: Work) -> Path:
    """Add what changed since the last log backup to the chain of logs."""
    return tasks.backup.engine.back_up_log(work.context, work.source_name)


@step("prune", line="prune {target}", kept=False)
def prune_now(work: Work) -> Pruned:
    """Apply retention to a source's backups on a target, when the user asks for it."""
    return tasks.backup.retain.prune(work.context, work.target, work.source_name)


@step("audit", line="audit {target}", kept=False)
def audit(work: Work, read_all: bool = False) -> tuple[Finding, ...]:
    """Look at one target: present, whole, fresh. Repair what is broken there, where the plan wants it."""
    return tasks.health.repair.audit_and_repair(work.context, work.target, read_all, work.progress)
