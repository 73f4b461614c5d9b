"""Before anything is copied: does the source answer, is there room, are the keys good; the run's number."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

from tasks.backup.apart import refuse_overlap
from tasks.backup.due_targets import day_of, not_due
from tasks.backup.memory import last_number, look_around, note_doubts
from tasks.backup.workspace import run_of
from tasks.context import PlanContext
from tasks.errors import StateError
from tasks.journal.journal import Journal
from tasks.journal.kinds import Kind
from tasks.notices.wording import size_text
from tasks.platform.files import MORE_ROOM, private_folder
from tasks.records import Engine, Run

# The copy, the restored copy and what the sealed archive comes to at worst in practice.
ROOM_FACTOR = 2.5
ROOM_FOR_CLONE = 1.0


def preflight(context: PlanContext, folder: str, source_name: str = "", attempt: int = 1) -> Run:
    """Check source, keys and room before anything is copied, and number the run.

    ``folder`` is the name of the source's folder in staging, ``attempt`` how often its run was started.
    Raises SourceError, PlanError, KeyFormatError or StateError. Targets are not asked: one that is missing
    must not keep the others from their backup.
    """
    context.check_sandbox()
    engine = context.source(source_name).check()
    refuse_overlap(context, engine)
    context.recipients()
    context.machine_key()
    check_room(context, room_needed(context, source_name, engine))
    started = datetime.now(UTC).replace(microsecond=0)
    return Run(
        plan=context.path,
        id=folder,
        source=context.full_name(source_name),
        source_name=source_name,
        sequence=next_sequence(context, f"{run_of(folder)} {attempt}"),
        started=started,
        engine=engine,
        not_due=not_due(context, source_name, day_of(context, started)),
    )


def look(context: PlanContext, folder: str, source_name: str = "") -> Run:
    """See whether a copy can be made now. ``folder`` is the source's folder in staging.

    The run has no number: it makes no backup. Raises SourceError or StateError.
    """
    context.check_sandbox()
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


def room_needed(context: PlanContext, source_name: str, engine: Engine) -> int:
    """Bytes that a run of one source takes in staging."""
    factor = ROOM_FACTOR + (ROOM_FOR_CLONE if context.source(source_name).clones else 0)
    return int(engine.bytes * factor)


def check_room(context: PlanContext, needed: int) -> None:
    """Raise StateError where staging has not ``needed`` bytes free."""
    free = shutil.disk_usage(private_folder(context.staging)).free
    if free < needed:
        raise StateError(
            f"staging {context.staging} has {size_text(free)} free, the run needs about {size_text(needed)}",
            hint=MORE_ROOM,
        )


def next_sequence(context: PlanContext, run: str) -> int:
    """Take the next backup number of this plan; numbers only grow, whatever the clock or the memory does.

    ``run`` names the run and its attempt: the sources of one share a number. It is above every number that
    the journal tells of and that any reachable target shows: memory may be lost, old or a copy.
    """
    journal = context.journal
    if taken := _taken(journal, run):
        return taken
    seen = look_around(context)
    note_doubts(context, seen)
    with journal.locked():
        if taken := _taken(journal, run):
            return taken
        number = max([last_number(journal), *(place.number for place in seen)]) + 1
        journal.append(Kind.NUMBER, sequence=number, run=run)
    return number


def _taken(journal: Journal, run: str) -> int:
    taken = (entry.facts["sequence"] for entry in journal.entries(Kind.NUMBER) if entry.facts["run"] == run)
    return next(taken, 0)
