"""A copy for a person who asked for one: the database as it is now, checked, readable, in a local folder.

And the same without keeping the copy: a check of the database on a copy of it. Neither makes a backup:
nothing is numbered, sealed or delivered, no older backup is touched.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tasks.backup.copy import check_room, require, room_needed
from tasks.backup.listing import Copied
from tasks.backup.workspace import Workspace
from tasks.checks.judge import judge_checks
from tasks.checks.measure import measure_checks
from tasks.context import PlanContext
from tasks.errors import SourceError, ValidationError
from tasks.platform.files import private_folder
from tasks.platform.mounts import refuse_network
from tasks.records import Finding, Record, Run
from tasks.recovery.recover import refuse_occupied
from tasks.targets.shared.marker import MARKER

FOLDER = "copies"
"""Where copies go for which no folder was named, in the plan's state folder."""


def look(context: PlanContext, folder: str, source_name: str = "") -> Run:
    """See whether a copy can be made now. ``folder`` is the source's folder in staging.

    The run has no number: it makes no backup. Raises SourceError or StateError.
    """
    engine = context.source(source_name).check()
    check_room(context, room_needed(context, source_name, engine))
    return Run(
        plan=context.path,
        id=folder,
        source=context.full_name(source_name),
        source_name=source_name,
        sequence=0,
        started=datetime.now(UTC).replace(microsecond=0),
        engine=engine,
    )


class Answered(Record):
    """What came of the plan's own checks, all passed."""

    findings: tuple[Finding, ...]


def own_checks(context: PlanContext, run: Run, copy: Copied) -> Answered:
    """The plan's own checks of a source, on a copy of it. Raises ValidationError where one fails."""
    checks = context.checks(run.source_name)
    if not checks:
        return Answered(findings=())
    workspace = Workspace(context.staging / run.id)
    scratch = workspace.fresh(workspace.scratch_validate)
    source = context.source(run.source_name)
    source.validate(copy.folder, scratch)  # what it leaves there some engines need to open the copy
    with source.open(copy.folder, scratch) as connection:
        findings = tuple(judge_checks(checks, measure_checks(connection, checks, run.started)))
    hint = "Have the database looked at today. No backup was made or removed."
    require(findings, f"{run.source} is not as the plan's checks expect", ValidationError, hint)
    return Answered(findings=findings)


def place_for(context: PlanContext, run_name: str, wanted: Path | None) -> Path:
    """The folder for a copy: the one that was asked for, else a new one in the plan's state folder.

    Raises SourceError where it is no place for readable patient data: not empty, on the network, on a
    target, or in staging, which is cleared.
    """
    folder = (wanted or context.state / FOLDER / run_name).absolute()
    hint = "Name a new folder on a disk of this machine. The copy is readable for whoever finds it."
    refuse_occupied(folder, "copy")
    refuse_network(folder, hint)
    above = (folder, *folder.parents)
    if context.staging in above or any((path / MARKER).is_file() for path in above):
        what = "staging, which is cleared" if context.staging in above else "a place for sealed backups"
        raise SourceError(f"cannot copy into {folder}: it is in {what}", hint=hint)
    return folder


def put_in_place(context: PlanContext, run: Run, copy: Copied, folder: Path) -> Path:
    """Put a checked copy where a person can use it, in the clear; the path to open."""
    # Asked again: the check took its time.
    refuse_occupied(folder, "copy")
    private_folder(folder)
    return context.source(run.source_name).restore(copy.folder, folder)
