"""What a target holds, what retention says of it, and removal in the safe order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, date, datetime

from tasks.backup.due_targets import day_of
from tasks.backup.media import label_due, may_replace_first, note_use, take_turn
from tasks.context import Office
from tasks.errors import ObjectMissing, TargetError, TargetLocked
from tasks.health.trend import accepted_through, suspicion
from tasks.manifests.manifest import parse_name
from tasks.manifests.shelf import read_shelf
from tasks.policy.retention import judge_retention, newest_marked, suspended
from tasks.records import Finding, Pruned, Run, Shelved, Verdict
from tasks.targets.base import Target


@contextmanager
def reached(office: Office, name: str, day: date | None = None) -> Iterator[Target]:
    """A target; of removable media the one whose turn it is on ``day``, else whichever is plugged in."""
    with office.target(name) as target:
        if day is not None:
            take_turn(office, target, day)
        yield target


def shelf_of(office: Office, target: Target, part: str = "") -> list[Shelved]:
    """The backups of one of the plan's sources on one target, oldest first."""
    source = office.full_name(part)
    return read_shelf(
        target,
        trusted=office.trusted(),
        now=datetime.now(UTC),
        source=source,
        accepted=accepted_through(office, part),
    )


def highest_sequence(office: Office, target_name: str) -> int:
    """Highest backup number on a target, 0 where it is empty or can't be reached.

    Only names are looked at: the caller wants a number that was surely never used.
    """
    with suppress(TargetError), office.target(target_name) as target:
        parsed = [parse_name(stat.name.rpartition("/")[2]) for stat in target.list()]
        return max((p.sequence for p in parsed if p and p.source in office.source_names), default=0)
    return 0


def verdicts(
    office: Office, target_name: str, part: str = "", day: date | None = None
) -> tuple[tuple[Verdict, ...], str]:
    """Retention's word on a source's backups on a target, and why pruning is suspended ("": it isn't)."""
    with reached(office, target_name, day) as target:
        return _judged(office, target, part)


def _judged(office: Office, target: Target, part: str) -> tuple[tuple[Verdict, ...], str]:
    entry = office.entry(target.name)
    now = datetime.now(UTC)
    shelf = shelf_of(office, target, part)
    doubt = suspicion(office, part)
    judged = judge_retention(shelf, entry.keep, entry.floor, office.timezone, now, doubt)
    return judged, suspended(shelf, now, doubt)


def prune(
    office: Office, target_name: str, part: str = "", proven: str = "", day: date | None = None
) -> Pruned:
    """Apply retention to one source's backups on one target; returns what went and what stays.

    ``proven`` is the full name of a backup that was just read back there: where the shelf doesn't
    show it as verified, something is wrong with the target and nothing is removed.
    """
    with ExitStack() as stack:
        try:
            target = stack.enter_context(reached(office, target_name, day))
            judged, note = _judged(office, target, part)
        except TargetError:
            if not office.entry(target_name).keep.forever:
                raise
            # Nothing ever goes from here, and keys that can only write may not read the shelf.
            return Pruned(target=target_name, removed=(), kept=0)
        if proven and (trouble := _trouble_with(office, target_name, proven, judged)):
            note = f"pruning suspended: {proven} is not on the shelf as a verified backup{trouble}"
            judged = ()
        removed = [v.backup for v in judged if not v.kept and _gone(target, v.backup)]
        kept = sum(verdict.backup.verified for verdict in judged) - len(removed)
        if day is not None and not part:
            note_use(office, target, day, sum(verdict.backup.good for verdict in judged) - len(removed))
    names = tuple(backup.name for backup in removed)
    return Pruned(target=target_name, removed=names, kept=kept, note=note)


def _trouble_with(office: Office, target_name: str, proven: str, judged: Sequence[Verdict]) -> str:
    """Why the shelf does not show the backup that was just proven there, as it should; "" if it does."""
    found = next((verdict.backup for verdict in judged if verdict.backup.full_name == proven), None)
    if found is None:
        return ": there is none of that name"
    # With keys that only write, manifests can be listed and not read. Where nothing ever goes that is no
    # trouble: the delivery was proven by what the service states.
    unreadable = found.manifest is None and bool(found.manifest_name)
    if found.verified or (unreadable and office.entry(target_name).keep.forever):
        return ""
    return f": {found.trouble}"


def _gone(target: Target, backup: Shelved) -> bool:
    """Remove a backup; False where a lock keeps it, which is what locks are for."""
    try:
        remove_backup(target, backup)
    except TargetLocked:
        return False
    return True


def make_room(office: Office, run: Run, target: Target, needed: int) -> bool:
    """Remove the oldest backups of a full medium before it has the new one; whether there is room then.

    Only where the plan says so and the other media hold enough (media.may_replace_first), and never on a
    shelf that looks wrong.
    """
    entry = office.entry(target.name)
    label = label_due(entry, day_of(office, run.started))
    doubt = suspicion(office, run.part)
    if not label or doubt or not may_replace_first(office, entry, label):
        return False
    shelf = shelf_of(office, target, run.part)
    if suspended(shelf, datetime.now(UTC)):
        return False
    for backup in [backup for backup in shelf if backup.good]:
        free = target.free_space()
        if free is None or free >= needed:
            break
        remove_backup(target, backup)
    free = target.free_space()
    return free is not None and free >= needed


def evidence(office: Office, target_name: str, part: str, shelf: Sequence[Shelved]) -> tuple[Finding, ...]:
    """What removal from a shelf rests on, one finding each: while one doesn't pass, nothing goes."""
    entry = office.entry(target_name)
    good = [backup for backup in shelf if backup.verified]
    aside = [backup for backup in shelf if not backup.verified]
    now = datetime.now(UTC)
    doubt = suspicion(office, part) or newest_marked(shelf)
    clock = suspended([backup for backup in shelf if not backup.marks], now)
    newest = f"{good[-1].full_name} was read back here" if good else "no verified backup here"
    enough = f"{len(good)} verified, at least {entry.floor} always stay"
    signed = (
        f"{len(aside)} kept aside: {aside[-1].trouble or 'unfinished'}" if aside else "all by known machines"
    )
    return (
        Finding(check="newest read back", passed=bool(good), detail=newest),
        Finding(check="enough others", passed=len(good) >= entry.floor, detail=enough),
        Finding(check="clock", passed=not clock, detail=clock or "dates and numbers agree"),
        Finding(check="row counts", passed=not doubt, detail=doubt or "like those of the runs before"),
        Finding(check="signed", passed=True, detail=signed),
    )


def unfinished(office: Office, target_name: str) -> tuple[Shelved, ...]:
    """What cut-off deliveries left on a target: archives without a manifest."""
    with office.target(target_name) as target:
        return _unfinished(office, target)


def _unfinished(office: Office, target: Target) -> tuple[Shelved, ...]:
    found = [backup for part in office.parts for backup in shelf_of(office, target, part)]
    return tuple(backup for backup in found if backup.unfinished)


def clear_unfinished(office: Office, target_name: str) -> tuple[str, ...]:
    """Remove what cut-off deliveries left; the names. Only on the user's word, never by a run.

    A delivery by another machine may be under way right now: only a person can know.
    """
    with office.target(target_name) as target:
        left = _unfinished(office, target)
        for backup in left:
            remove_backup(target, backup)
    return tuple(backup.full_name for backup in left)


def remove_backup(target: Target, backup: Shelved) -> None:
    """Remove one backup: its manifest first, so that half a removal leaves no backup that seems whole."""
    names = (backup.manifest_name, *backup.certificates, backup.full_name)
    for name in filter(None, names):
        with suppress(ObjectMissing):
            target.delete(name)
