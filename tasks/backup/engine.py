"""What is done to the engine itself between backups: its daily restart, a backup of its log."""

from __future__ import annotations

from pathlib import Path

from tasks.backup.retain import shelf_of
from tasks.backup.workspace import exclusively
from tasks.context import Office
from tasks.errors import NoBackup, TargetError


def restart(office: Office, part: str = "") -> None:
    """Restart a source's engine, and see that it answers.

    Raises BusyError where a backup of the plan is under way, SourceError where the plan does not say how
    to restart, or the engine did not stop or did not come up again.
    """
    with exclusively(office.staging):
        office.source(part).restart()


def back_up_log(office: Office, part: str = "") -> Path:
    """Add to the source's chain of log backups; the file that was added.

    The live log begins anew by that, so a verified full backup must lie on a target already. Raises
    NoBackup where none does, BusyError, SourceError or CopyError.
    """
    if not _has_left(office, part):
        raise NoBackup(
            f"no target that can be reached holds a verified backup of {office.full_name(part)}",
            hint="A chain of logs begins with a full backup: run `datasave backup` first.",
        )
    with exclusively(office.staging):
        return office.source(part).back_up_log()


def _has_left(office: Office, part: str) -> bool:
    for entry in office.plan.targets:
        try:
            with office.target(entry.name) as target:
                if any(backup.verified for backup in shelf_of(office, target, part)):
                    return True
        except TargetError:
            continue  # another target may answer
    return False
