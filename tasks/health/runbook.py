"""The office's disaster plan: made from the plan file and from what this machine knows of its targets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from tasks.backup.condition import damaged
from tasks.backup.media import drives_of, is_removable
from tasks.calendars import WEEKDAYS, Calendar
from tasks.context import PlanContext
from tasks.errors import ObjectMissing, SourceError, StateError, TargetError
from tasks.health.drills import kept
from tasks.health.history import PastRun, newest_delivery, past_runs
from tasks.journal.kinds import Kind
from tasks.keys.machines import words_of
from tasks.notices.runbook_page import (
    Restorable,
    Runbook,
    TargetAccess,
    TargetRow,
    edition_in,
    runbook_html,
    runbook_markdown,
)
from tasks.notices.wording import clock_text, count_text, duration_text
from tasks.plan.model import TargetEntry
from tasks.platform.files import private_folder, write_atomic
from tasks.policy.due_rules import when_due_text
from tasks.records import Certificate
from tasks.sources.capabilities import in_place
from tasks.targets.base import Target
from tasks.targets.shared.addresses import access_needed, rescue_words

MARKDOWN = "RUNBOOK.md"
PAGE = "RUNBOOK.html"


def runbook_of(context: PlanContext, now: datetime | None = None) -> Runbook:
    """The plan as of ``now``. Reaches no target: what lies there is what was proven there last."""
    entries = context.plan.targets
    runs, drills = past_runs(context, "backup"), kept(context)
    return Runbook(
        office=context.plan.name,
        plan=context.path.name,
        folder=str(context.path.absolute().parent),
        contacts=context.plan.keys.contacts,
        holders=tuple(holder.name for holder in context.plan.holders),
        places=tuple(_place(context, entry, runs, drills) for entry in entries),
        reaches=tuple(_reach(entry) for entry in entries),
        sources=tuple(_restorable(context, source_name) for source_name in context.source_names),
        media=tuple(f"{name}: {_turns(drive.calendar)}" for name, drive in drives_of(context)),
        recovery=_recovery(context, drills),
        machines=tuple(words_of(machine) for machine in sorted(context.trusted())),
        at=(now or datetime.now(UTC)).replace(microsecond=0),
    )


def write_runbook(context: PlanContext, folder: Path | None = None) -> Path:
    """Write the plan into ``folder``, else the state folder; the path of its page. Raises StateError."""
    book = runbook_of(context)
    place = folder or private_folder(context.state)
    try:
        write_atomic(place / MARKDOWN, runbook_markdown(book, context.timezone).encode("utf-8"))
        write_atomic(place / PAGE, runbook_html(book, context.timezone).encode("utf-8"))
    except OSError as error:
        raise StateError(
            f"cannot write the disaster plan into {place}: {error.strerror}",
            hint="Make that folder first, or name another one with --out.",
        ) from error
    return place / PAGE


def put_runbook(context: PlanContext, target: Target) -> None:
    """Put the plan on a target where another edition lies there. Raises TargetError.

    Only when what to do has changed, and not with every backup: on a locked target each stays for years.
    """
    book = runbook_of(context).model_copy(update={"dated": False})
    if _edition_on(context, target) != book.edition:
        # The Markdown last: while it tells of the old edition, both are written again.
        for name, text in (
            (PAGE, runbook_html(book, context.timezone)),
            (MARKDOWN, runbook_markdown(book, context.timezone)),
        ):
            data = text.encode("utf-8")
            target.put(name, BytesIO(data), len(data))
    _note(context, target.name, book.edition)


def _edition_on(context: PlanContext, target: Target) -> str:
    """The edition that lies on a target, "" where none does."""
    try:
        with target.open(MARKDOWN) as stream:
            return edition_in(stream.read(1 << 20).decode("utf-8", "replace"))
    except ObjectMissing:
        return ""
    except TargetError:
        # Keys that can only write may not look: then what was put there last counts.
        return _editions(context).get(target.name, "")


def is_current(context: PlanContext) -> bool | None:
    """Whether every target that got an edition has the newest; None where none has got any."""
    editions = _editions(context)
    newest = runbook_of(context).edition
    known = [editions[entry.name] for entry in context.plan.targets if entry.name in editions]
    return all(edition == newest for edition in known) if known else None


def _place(
    context: PlanContext, entry: TargetEntry, runs: Sequence[PastRun], drills: Sequence[Certificate]
) -> TargetRow:
    bad = {one.name for one in damaged(context, entry.name)}
    found = newest_delivery(runs, entry.name, "", bad)
    newest = "none yet"
    if found:
        run, _ = found
        newest = f"#{run.sequence_of('')} of {clock_text(run.started, context.timezone)}"
    mine = [certificate for certificate in drills if certificate.target == entry.name]
    drilled = "never"
    if mine:
        last = mine[-1]
        outcome = f"in {duration_text(last.seconds)}" if last.passed else "FAILED"
        drilled = f"{clock_text(last.drilled, context.timezone)}, with the key of {last.holder}, {outcome}"
    return TargetRow(
        name=entry.name,
        what=" ".join(rescue_words(entry)) or f"{count_text(entry.media, 'drive')} that take turns",
        due=when_due_text(entry.when),
        newest=newest,
        drilled=drilled,
    )


def _turns(calendar: Calendar) -> str:
    """Which drive is for which day: what does not change from night to night."""
    named = [(day, labels) for day, labels in zip(WEEKDAYS, calendar.week, strict=True) if labels]
    turns = [f"{day} {' and '.join(labels)}" + (" in turn" if labels[1:] else "") for day, labels in named]
    followed = ", then ".join(" or ".join(members) for members in calendar.sets)
    return f"{followed or ', '.join(turns)}. The one that was used last is out of the house."


def _reach(entry: TargetEntry) -> TargetAccess:
    removable = is_removable(entry)
    before = "Plug in the drive that was not in the office." if removable else access_needed(entry)
    return TargetAccess(
        name=entry.name,
        words=rescue_words(entry),
        before=before,
        away=entry.is_off_premises,
        safe=getattr(entry, "lock", None) is not None or removable,
    )


def _restorable(context: PlanContext, source_name: str) -> Restorable:
    try:
        in_place(context.source(source_name)).live_data()
    except SourceError:
        return Restorable(name=context.full_name(source_name), in_place=False)
    return Restorable(name=context.full_name(source_name), in_place=True)


def _recovery(context: PlanContext, drills: Sequence[Certificate]) -> str:
    passed = [certificate for certificate in drills if certificate.passed]
    hours = context.plan.drill.objective_hours
    aim = f" The aim is {duration_text(hours * 3600)}." if hours else ""
    if not passed:
        return f"Not known yet: no drill has been done. Each drill (datasave drill) measures it.{aim}"
    slowest = max(passed[-10:], key=lambda certificate: certificate.seconds)
    took = f"{duration_text(slowest.seconds)} at the most (from {slowest.target})"
    count = count_text(len(passed[-10:]), "drill")
    return f"{count} of late: a backup came back in {took}, from the first byte to the last check.{aim}"


def _note(context: PlanContext, target: str, edition: str) -> None:
    """Remember what a target has got, so that it can be told without reaching for it."""
    if _editions(context).get(target) != edition:
        context.journal.append(Kind.RUNBOOK, target=target, edition=edition)


def _editions(context: PlanContext) -> dict[str, str]:
    return {entry.facts["target"]: entry.facts["edition"] for entry in context.journal.entries(Kind.RUNBOOK)}
