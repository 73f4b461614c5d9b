"""What a target holds, what retention says of it, and removal in the safe order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from typing import NamedTuple

from tasks.backup.condition import known_at, note_removed
from tasks.backup.due_targets import day_of
from tasks.backup.media import label_due, may_replace_first, note_use, take_turn
from tasks.context import PlanContext
from tasks.errors import DatasaveError, ObjectMissing, TargetError, TargetLocked
from tasks.health.trend import accept, accepted_through, anomaly
from tasks.manifests.manifest import parse_name
from tasks.manifests.shelf import read_shelf
from tasks.manifests.strays import told_of
from tasks.policy.retention import judge_retention, newest_marked, suspended
from tasks.records import BackupEntry, Finding, Pruned, Run, Verdict
from tasks.targets.base import Target


@contextmanager
def reached(context: PlanContext, name: str, day: date | None = None) -> Iterator[Target]:
    """A target; of removable media the one whose turn it is on ``day``, else whichever is plugged in."""
    with context.target(name) as target:
        if day is not None:
            take_turn(context, target, day)
        yield target


def shelf_of(context: PlanContext, target: Target, source_name: str = "") -> list[BackupEntry]:
    """The backups of one of the plan's sources on one target, oldest first."""
    source = context.full_name(source_name)
    return read_shelf(
        target,
        trusted=context.trusted(),
        now=datetime.now(UTC),
        source=source,
        accepted=accepted_through(context, source_name),
        slots=context.slots(target.name),
        known=known_at(context, target),
    )


def highest_sequence(context: PlanContext, target_name: str) -> int:
    """Highest backup number on a target, 0 where it is empty or can't be reached.

    Only names are looked at: the caller wants a number that was surely never used.
    """
    with suppress(TargetError), context.target(target_name) as target:
        parsed = [parse_name(stat.name.rpartition("/")[2]) for stat in target.list()]
        return max((p.sequence for p in parsed if p and p.source in context.full_names), default=0)
    return 0


def verdicts(
    context: PlanContext, target_name: str, source_name: str = "", day: date | None = None
) -> tuple[tuple[Verdict, ...], str]:
    """What retention decides about a source's backups on a target; why pruning is suspended, if it is."""
    with reached(context, target_name, day) as target:
        return _judged(context, target, source_name)


def _judged(context: PlanContext, target: Target, source_name: str) -> tuple[tuple[Verdict, ...], str]:
    entry = context.entry(target.name)
    now = datetime.now(UTC)
    shelf = shelf_of(context, target, source_name)
    found = anomaly(context, source_name)
    judged = judge_retention(shelf, entry.keep, entry.floor, context.timezone, now, found)
    return judged, suspended(shelf, now, found)


def prune(
    context: PlanContext, target_name: str, source_name: str = "", proven: str = "", day: date | None = None
) -> Pruned:
    """Apply retention to one source's backups on one target; returns what went and what stays.

    ``proven`` is the full name of a backup that was just read back there: where the shelf doesn't
    show it as verified, something is wrong with the target and nothing is removed. A shelf that keeps all
    forever is not read: reading it costs, and keys that can only write may not.
    """
    if context.entry(target_name).keep.forever:
        return Pruned(target=target_name, removed=(), kept=0)
    with reached(context, target_name, day) as target:
        judged, note = _judged(context, target, source_name)
        if proven and (defect := _defect_of(proven, judged)):
            note = f"pruning suspended: {proven} is not on the shelf as a verified backup{defect}"
            judged = ()
        removed = [v.backup for v in judged if not v.kept and _gone(target, v.backup)]
        for backup in removed:
            _note_gone(context, target, backup, "no rule keeps it")
        kept = sum(verdict.backup.verified for verdict in judged) - len(removed)
        if day is not None and not source_name:
            note_use(context, target, day, sum(verdict.backup.good for verdict in judged) - len(removed))
    names = tuple(backup.name for backup in removed)
    return Pruned(target=target_name, removed=names, kept=kept, note=note)


def _defect_of(proven: str, judged: Sequence[Verdict]) -> str:
    """Why the shelf does not show the backup that was just proven there, as it should; "" if it does."""
    found = next((verdict.backup for verdict in judged if verdict.backup.full_name == proven), None)
    if found is None:
        return ": there is none of that name"
    return "" if found.verified else f": {found.defect}"


def _gone(target: Target, backup: BackupEntry) -> bool:
    """Remove a backup; False where a lock keeps it, which is what locks are for."""
    try:
        remove_backup(target, backup)
    except TargetLocked:
        return False
    return True


def _note_gone(context: PlanContext, target: Target, backup: BackupEntry, reason: str) -> None:
    if backup.manifest:
        note_removed(context, target, backup.full_name, backup.manifest, reason)


def make_room(context: PlanContext, run: Run, target: Target, needed: int) -> bool:
    """Remove the oldest backups of a full medium before it has the new one; whether there is room then.

    Only where the plan says so and the other media hold enough (media.may_replace_first), and never on a
    shelf that looks wrong.
    """
    entry = context.entry(target.name)
    label = label_due(entry, day_of(context, run.started))
    found = anomaly(context, run.source_name)
    if not label or found or not may_replace_first(context, entry, label):
        return False
    shelf = shelf_of(context, target, run.source_name)
    if suspended(shelf, datetime.now(UTC)):
        return False
    for backup in [backup for backup in shelf if backup.good]:
        free = target.free_space()
        if free is None or free >= needed:
            break
        remove_backup(target, backup)
        _note_gone(context, target, backup, "to make room for a new one")
    free = target.free_space()
    return free is not None and free >= needed


def evidence(
    context: PlanContext, target_name: str, source_name: str, shelf: Sequence[BackupEntry]
) -> tuple[Finding, ...]:
    """What must hold before anything is removed from a shelf, one finding each."""
    entry = context.entry(target_name)
    good = [backup for backup in shelf if backup.verified]
    aside = [backup for backup in shelf if not (backup.verified or backup.elsewhere)]
    now = datetime.now(UTC)
    found = anomaly(context, source_name) or newest_marked(shelf)
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
            remove_backup(target, backup)
    return tuple(backup.full_name for backup in left)


def remove_backup(target: Target, backup: BackupEntry) -> None:
    """Remove one backup: its manifest first, so that half a removal leaves no backup that seems whole."""
    names = (backup.manifest_name, *backup.certificates, backup.full_name)
    for name in filter(None, names):
        with suppress(ObjectMissing):
            target.delete(name)


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
