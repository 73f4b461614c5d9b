"""What is done to the engine itself between backups: its daily restart, a backup of its log."""

from __future__ import annotations

from pathlib import Path

from tasks.backup.retain import shelf_of
from tasks.backup.workspace import exclusively
from tasks.context import PlanContext
from tasks.errors import NoBackup, TargetError
from tasks.sources.capabilities import SupportsLogBackups, SupportsRestart, required


def restart(context: PlanContext, source_name: str = "") -> None:
    """Restart a source's engine, and see that it answers.

    Raises BusyError where a backup of the plan is under way, SourceError where the plan does not say how
    to restart, or the engine did not stop or did not come up again.
    """
    with exclusively(context.staging):
        source = context.source(source_name)
        required(
            source,
            SupportsRestart,
            f"a source of kind {source.kind} needs no restart",
            "Remove `schedule.restart` from the plan.",
        ).restart()


def back_up_log(context: PlanContext, source_name: str = "") -> Path:
    """Add to the source's chain of log backups; the file that was added.

    The live log begins anew by that, so a verified full backup must lie on a target already. Raises
    NoBackup where none does, BusyError, SourceError or CopyError.
    """
    if not _has_left(context, source_name):
        raise NoBackup(
            f"no target that can be reached holds a verified backup of {context.full_name(source_name)}",
            hint="A chain of logs begins with a full backup: run `datasave backup` first.",
        )
    with exclusively(context.staging):
        source = context.source(source_name)
        return required(
            source,
            SupportsLogBackups,
            f"a source of kind {source.kind} has no log backups here",
            "Remove `schedule.log` from the plan; back up more often instead.",
        ).back_up_log()


def _has_left(context: PlanContext, source_name: str) -> bool:
    for entry in context.plan.targets:
        try:
            with context.target(entry.name) as target:
                if any(backup.verified for backup in shelf_of(context, target, source_name)):
                    return True
        except TargetError:
            continue  # another target may answer
    return False
