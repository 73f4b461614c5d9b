"""What a target holds, what retention says of it, and removal in the safe order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import NamedTuple

from tasks.backup.absent import absent_from, absent_text
from tasks.backup.condition import WAY_OUT, known_at
from tasks.backup.judging import anomaly_of, judged
from tasks.backup.media import note_use, take_turn
from tasks.backup.memory import learn_of
from tasks.backup.promises import note_plan
from tasks.backup.removal import finish_removals, remove_backup
from tasks.context import PlanContext
from tasks.errors import DatasaveError
from tasks.health.trend import accept, accepted_through
from tasks.journal.copies import put_copy
from tasks.manifests.remembered import Remembered
from tasks.manifests.shelf import read_shelf
from tasks.manifests.strays import told_of
from tasks.policy.retention import newest_marked, suspended
from tasks.records import BackupEntry, Finding, Pruned, Removed, Verdict
from tasks.targets.base import Target

# More damaged backups than this are told by their count: a target that is lost as a whole would fill pages.
_NAMED = 5


@contextmanager
def reached(context: PlanContext, name: str, day: date | None = None) -> Iterator[Target]:
    """A target; of removable media the one whose turn it is on ``day``, else whichever is plugged in."""
    with context.target(name) as target:
        if day is not None:
            take_turn(context, target, day)
        yield target


def shelf_of(
    context: PlanContext, target: Target, source_name: str = "", *, merely_looked_at: bool = False
) -> list[BackupEntry]:
    """The backups of one of the plan's sources on one target, oldest first; see Remembered."""
    known = known_at(context, target)
    if merely_looked_at:
        known = replace(known, manifests=Remembered(context.state, target.name, merely_looked_at=True))
    source = context.full_name(source_name)
    return read_shelf(
        target,
        trusted=context.trusted(),
        now=datetime.now(UTC),
        source=source,
        accepted=accepted_through(context, source_name),
        slots=context.slots(target.name),
        known=known,
    )


def verdicts(
    context: PlanContext, target_name: str, source_name: str = "", day: date | None = None
) -> tuple[tuple[Verdict, ...], str]:
    """What retention decides about a source's backups on a target; why pruning is suspended, if it is."""
    with reached(context, target_name, day) as target:
        return _judged(context, target, source_name)


def _judged(context: PlanContext, target: Target, source_name: str) -> tuple[tuple[Verdict, ...], str]:
    shelf = shelf_of(context, target, source_name)
    learn_of(context, target.name, shelf)
    return judged(context, target.name, source_name, shelf)


def prune(
    context: PlanContext,
    target_name: str,
    source_name: str = "",
    proven: str = "",
    day: date | None = None,
    run: str = "",
) -> Pruned:
    """Apply retention to one source's backups on one target; returns what went and what stays.

    ``proven`` is the full name of a backup that was just read back there: where the shelf doesn't
    show it as verified, something is wrong with the target and nothing is removed. A shelf that keeps all
    forever is not read: reading it costs, and keys that can only write may not. ``run`` is the id of the
    run that asks.
    """
    note_plan(context)
    if context.entry(target_name).keep.forever:
        return Pruned(target=target_name, removed=(), kept=0, note=anomaly_of(context, source_name))
    with reached(context, target_name, day) as target:
        judged, note = _judged(context, target, source_name)
        broken = _broken(context, target, source_name, [verdict.backup for verdict in judged])
        if proven and (defect := _defect_of(proven, judged)):
            note = f"pruning suspended: {proven} is not on the shelf as a verified backup{defect}"
            judged = ()
        removed, cause = _let_go(context, target, judged, run)
        if not (note or cause):
            shelf = [verdict.backup for verdict in judged]
            removed += finish_removals(context, target, source_name, shelf, run)
        kept = sum(verdict.backup.verified for verdict in judged) - len(removed)
        if day is not None and not source_name:
            note_use(context, target, day, sum(verdict.backup.good for verdict in judged) - len(removed))
    return Pruned(target=target_name, removed=tuple(removed), kept=kept, note=note or cause, broken=broken)


def _broken(
    context: PlanContext, target: Target, source_name: str, shelf: Sequence[BackupEntry]
) -> tuple[str, ...]:
    """What was delivered to an open target and is damaged or missing by its shelf, a sentence each."""
    delivered = known_at(context, target).delivered
    damaged = [backup for backup in shelf if backup.full_name in delivered and not backup.verified]
    lost = absent_from(context, target, source_name, shelf).lost
    told = [f"{backup.full_name}: {backup.defect}" for backup in damaged[: -_NAMED - 1 : -1]]
    if len(damaged) > _NAMED:
        told.append(f"{len(damaged) - _NAMED} more are damaged (`datasave list`)")
    told += [absent_text(lost, shelf)] if lost else []
    return tuple(f"{one}. {WAY_OUT}" for one in told)


def _let_go(
    context: PlanContext, target: Target, judged: Sequence[Verdict], run: str
) -> tuple[list[Removed], str]:
    """Remove what may go while all that stays is there; what went, and why not all of it."""
    going = [verdict for verdict in judged if not verdict.kept]
    removed: list[Removed] = []
    for verdict in going:
        if gone := _no_longer_there(target, judged):
            return removed, f"pruning suspended: {gone} was there a moment ago and is not any more"
        done = remove_backup(context, target, verdict.backup, "; ".join(verdict.reasons), run)
        removed += [done] if done else []
    return removed, ""


def _no_longer_there(target: Target, judged: Sequence[Verdict]) -> str:
    """A file of a backup that is to stay and that the target does not show as it did; "" if there is none."""
    sizes = {stat.name: stat.bytes for stat in target.list()}
    for backup in (verdict.backup for verdict in judged if verdict.kept and verdict.backup.verified):
        if sizes.get(backup.full_name) != backup.bytes:
            return backup.full_name
        if backup.manifest_name not in sizes:
            return backup.manifest_name
    return ""


def _defect_of(proven: str, judged: Sequence[Verdict]) -> str:
    """Why the shelf does not show the backup that was just proven there, as it should; "" if it does."""
    found = next((verdict.backup for verdict in judged if verdict.backup.full_name == proven), None)
    if found is None:
        return ": there is none of that name"
    return "" if found.verified else f": {found.defect}"


def evidence(
    context: PlanContext, target_name: str, source_name: str, shelf: Sequence[BackupEntry]
) -> tuple[Finding, ...]:
    """What must hold before anything is removed from a shelf, one finding each."""
    entry = context.entry(target_name)
    good = [backup for backup in shelf if backup.verified]
    aside = [backup for backup in shelf if not (backup.verified or backup.elsewhere)]
    now = datetime.now(UTC)
    found = anomaly_of(context, source_name) or newest_marked(shelf)
    clock = suspended([backup for backup in shelf if not backup.marks], now)
    newest = f"{good[-1].full_name} was read back here" if good else "no verified backup here"
    enough = f"{len(good)} verified, at least {entry.floor} always stay"
    signed = (
        f"{len(aside)} kept aside: {aside[-1].defect or 'unfinished'}" if aside else "all by known machines"
    )
    return (
        Finding(check="newest read back", passed=bool(good), detail=newest),
        Finding(check="enough others", passed=len(good) >= entry.floor, detail=enough),
        Finding(check="clock", passed=not clock, detail=clock or "dates and numbers agree"),
        Finding(check="row counts", passed=not found, detail=found or "like those of the runs before"),
        Finding(check="signed", passed=True, detail=signed),
    )


def unfinished(context: PlanContext, target_name: str) -> tuple[BackupEntry, ...]:
    """What cut-off deliveries left on a target: archives that no manifest tells of, whatever its name."""
    with context.target(target_name) as target:
        return _unfinished(context, target)


def _unfinished(context: PlanContext, target: Target) -> tuple[BackupEntry, ...]:
    found = [
        backup for source_name in context.source_names for backup in shelf_of(context, target, source_name)
    ]
    left = (backup for backup in found if backup.unfinished)
    return tuple(backup for backup in left if not told_of(target, backup.full_name))


def clear_unfinished(context: PlanContext, target_name: str) -> tuple[str, ...]:
    """Remove what cut-off deliveries left; the names. Only when the user asks, never in a run.

    A delivery by another machine may be under way right now: only a person can know.
    """
    with context.target(target_name) as target:
        left = _unfinished(context, target)
        for backup in left:
            remove_backup(context, target, backup, "a delivery that was cut off, removed when asked")
    return tuple(backup.full_name for backup in left)


class Accepted(NamedTuple):
    """What was accepted, in words; ``unseen`` are targets that could not be looked at, with the reason."""

    told: tuple[str, ...]
    unseen: tuple[str, ...]


def accept_change(context: PlanContext, source_name: str) -> Accepted:
    """Trust one source's marked backups, by what this machine saw and what the targets show.

    Another machine with the plan decides for itself: the mark is signed and stays.
    """
    marked: dict[int, tuple[str, ...]] = {}
    unseen = []
    for entry in context.plan.targets:
        try:
            with context.target(entry.name) as target:
                shelf = shelf_of(context, target, source_name)
        except DatasaveError as error:
            unseen.append(error.message)
            continue
        marked |= {b.manifest.sequence: b.marks for b in shelf if b.manifest and b.verified and b.marks}
    told = accept(context, source_name, max(marked, default=0))
    if not told:
        told = tuple(f"number {number} is marked ({', '.join(marked[number])})" for number in sorted(marked))
    return Accepted(told, tuple(unseen))


def copy_journal(context: PlanContext, target_name: str, day: date | None = None) -> None:
    """Put a copy of the journal, sealed for the holders, on a target. Raises TargetError."""
    with reached(context, target_name, day) as target:
        put_copy(context.journal, target, context.plan.name, context.recipients())


def copy_journal_everywhere(context: PlanContext) -> tuple[str, ...]:
    """Put a copy on each target that can be reached; why it is not on the others.

    Asked for after a person said something: a memory put back to before that is then known to be old.
    """
    unreached = []
    for entry in context.plan.targets:
        try:
            copy_journal(context, entry.name)
        except DatasaveError as error:
            unreached.append(error.message)
    return tuple(unreached)
