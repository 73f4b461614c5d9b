"""Which backups of a target stay and which go: a pure function of its shelf, with the reasons.

Only verified backups count and only they can go. Order is that of the sequence numbers, never of
dates: a wrong clock must not make an old backup look new. Dates only sort backups into days, weeks,
months and years, and where they contradict the numbers nothing goes at all.

Forward jumps of the clock are harmless here by construction, since rules count backups or periods
that have one, never age; they are still reported where they show.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo

from tasks.options import Keep
from tasks.records import BackupEntry, Manifest, Record, Verdict, key_of

TOLERANCE = timedelta(hours=1)
LONGEST_PAUSE = timedelta(days=400)
CLOCK_JUMP = "clock jump"
"""How the reason to remove nothing begins where dates contradict the numbers."""

# The one defect that is evidence: shelves give it only to backups whose signature is trusted.
AHEAD = "dated in the future"

PERIODS: dict[str, Callable[[datetime], str]] = {
    "daily": lambda local: f"{local:%Y-%m-%d}",
    "weekly": lambda local: "{}-W{:02}".format(*local.isocalendar()),
    "monthly": lambda local: f"{local:%Y-%m}",
    "yearly": lambda local: f"{local:%Y}",
}


class Promise(Record):
    """What a plan said of one target: how much of what lies there stays.

    ``place`` is its address, by which it is known under another name too; nothing in it is secret.
    ``timezone`` decides where days end, ``signers`` are the other machines whose backups count; the rest
    stands in the plan like this.
    """

    place: str
    keep: Keep
    floor: int
    slots: str | None
    replace: str
    timezone: str
    signers: tuple[str, ...]


def judge_retention(
    shelf: Sequence[BackupEntry],
    keep: Keep,
    floor: int,
    timezone: tzinfo,
    now: datetime | None = None,
    anomaly: str = "",
    held: Mapping[int, str] | None = None,
) -> tuple[Verdict, ...]:
    """A verdict on each backup of one source on one target, in the order of ``shelf``.

    The rules of ``keep`` apply within each slot; days begin at midnight in ``timezone``. Over all slots
    at least ``floor`` verified backups stay, if there are as many. Marked backups stay and take no other's
    place: they may be damaged, and must not push out older ones. ``now`` lets a newest backup dated
    after it suspend removal (see `suspended`), as does an ``anomaly`` of the caller's. ``held`` backups, by
    number with the reason, stay beside what the rules keep. Raises ValueError: floor below 1, or several
    sources.
    """
    if floor < 1:
        raise ValueError(f"a floor of {floor} would let the last backup go")
    contradiction = suspended(shelf, now, anomaly)
    counting = [(place, made) for place, made in _newest_first(shelf) if shelf[place].good]
    if contradiction:
        reasons = {place: [contradiction] for place, _ in counting}
    else:
        reasons = _kept_by(shelf, counting, keep, floor, timezone)
        _add_held(reasons, counting, held or {})
    return tuple(_verdict(backup, reasons.get(place, []), keep) for place, backup in enumerate(shelf))


def keeping_promises(
    judged: Sequence[Verdict], promised: Sequence[Promise], signers: Collection[str]
) -> tuple[Verdict, ...]:
    """The same verdicts, but what a plan before this one kept stays, and waits for a person.

    ``promised`` are the plans before; machines that only this plan's ``signers`` name took no place then.
    """
    shelf = [verdict.backup for verdict in judged]
    kept: dict[int, str] = {}
    for before in promised:
        strangers = {key_of(one) for one in signers} - {key_of(one) for one in before.signers}
        counted = [
            (place, made)
            for place, made in _newest_first(shelf)
            if shelf[place].good and made.machine not in strangers
        ]
        reasons = _kept_by(shelf, counted, before.keep, before.floor, ZoneInfo(before.timezone))
        kept |= {place: why[0] for place, why in reasons.items()}
    return tuple(
        verdict if verdict.kept or place not in kept else _waiting(verdict, kept[place])
        for place, verdict in enumerate(judged)
    )


def _waiting(verdict: Verdict, before: str) -> Verdict:
    why = f"kept until the change of the plan is accepted (before: {before})"
    return Verdict(backup=verdict.backup, kept=True, reasons=(why,), waiting=True)


def suspended(shelf: Sequence[BackupEntry], now: datetime | None = None, anomaly: str = "") -> str:
    """Why nothing may be removed from this shelf at present; empty when all is well.

    Evidence of a clock that jumped, from signed backups only: one is dated in the future, or earlier
    than one with a lower number, or the newest more than 400 days after the one before (which a long
    pause explains as well: the next backup lifts it). Also an ``anomaly`` of the caller's, a newest
    backup that is marked, and two different backups under one number.
    """
    verified = [made for _, made in _newest_first(shelf)]
    if len({made.source for made in verified}) > 1:
        raise ValueError("retention judges the backups of one source at a time")
    verified.sort(key=lambda made: (made.sequence, made.taken))
    cause = _ahead(shelf, now) or _disorder(verified) or _leap(verified)
    if cause:
        return f"{CLOCK_JUMP}: pruning suspended ({cause})"
    return anomaly or newest_marked(shelf) or _twins(verified)


def _newest_first(shelf: Sequence[BackupEntry]) -> list[tuple[int, Manifest]]:
    """(place in the shelf, manifest) of all verified backups, highest sequence number first."""
    verified = [(place, b.manifest) for place, b in enumerate(shelf) if b.manifest and b.verified]
    return sorted(verified, key=lambda entry: entry[1].sequence, reverse=True)


def _kept_by(
    shelf: Sequence[BackupEntry],
    newest_first: list[tuple[int, Manifest]],
    keep: Keep,
    floor: int,
    timezone: tzinfo,
) -> dict[int, list[str]]:
    """Reasons to keep the backups of a shelf, by place; those that may go are left out."""
    if keep.forever:
        return {place: ["kept forever"] for place, _ in newest_first}
    reasons: dict[int, list[str]] = {}
    for slot in {backup.slot for backup in shelf}:
        in_slot = [(place, made) for place, made in newest_first if shelf[place].slot == slot]
        reasons |= _apply_rules(in_slot, slot, keep, timezone)
    _raise_to_floor(reasons, newest_first, floor)
    return reasons


def _add_held(
    reasons: dict[int, list[str]], newest_first: list[tuple[int, Manifest]], held: Mapping[int, str]
) -> None:
    """After the rules and the floor, so that a hold never takes another backup's place."""
    for place, made in newest_first:
        if made.sequence in held:
            reasons.setdefault(place, []).append(held[made.sequence])


def _apply_rules(
    newest_first: list[tuple[int, Manifest]], slot: str, keep: Keep, timezone: tzinfo
) -> dict[int, list[str]]:
    """Reasons to keep the backups of one slot, by place; those no rule keeps are left out."""
    reasons: dict[int, list[str]] = {}
    where = f" in {slot}" if slot else ""
    for rank, (place, _) in enumerate(newest_first[: keep.last], start=1):
        reasons.setdefault(place, []).append(f"last {rank} of {keep.last}{where}")
    for rule, period_of in PERIODS.items():
        seen: set[str] = set()
        for place, made in newest_first:
            period = period_of(made.taken.astimezone(timezone))
            if period not in seen and len(seen) < getattr(keep, rule):
                seen.add(period)
                reasons.setdefault(place, []).append(f"{rule} for {period}")
    return reasons


def _raise_to_floor(
    reasons: dict[int, list[str]], newest_first: list[tuple[int, Manifest]], floor: int
) -> None:
    for place, _ in newest_first:
        if len(reasons) >= floor:
            return
        reasons.setdefault(place, [f"floor of {floor} verified backups"])


def _verdict(backup: BackupEntry, reasons: list[str], keep: Keep) -> Verdict:
    if not backup.verified:
        return Verdict(backup=backup, kept=True, reasons=(f"kept aside: {backup.defect or 'no manifest'}",))
    if backup.marks:
        marks = ", ".join(backup.marks)
        return Verdict(backup=backup, kept=True, reasons=(f"kept aside: marked ({marks})",))
    if reasons:
        return Verdict(backup=backup, kept=True, reasons=tuple(reasons))
    rules = ", ".join(f"{rule} {count}" for rule, count in keep if rule != "forever" and count)
    return Verdict(backup=backup, kept=False, reasons=(f"no rule keeps it ({rules})",))


def _ahead(shelf: Sequence[BackupEntry], now: datetime | None) -> str:
    ahead = [b.manifest for b in shelf if b.manifest and b.defect == AHEAD]
    if now is not None:
        ahead += [made for _, made in _newest_first(shelf) if made.taken > now + TOLERANCE]
    if not ahead:
        return ""
    return f"{_named(max(ahead, key=lambda made: (made.sequence, made.taken)))} lies in the future"


def _disorder(by_sequence: list[Manifest]) -> str:
    for older, newer in pairwise(by_sequence):
        if newer.taken < older.taken:
            return f"{_named(newer)} is dated before {_named(older)}"
    return ""


def _leap(by_sequence: list[Manifest]) -> str:
    for older, newest in pairwise(by_sequence[-2:]):
        days = (newest.taken - older.taken).days
        if newest.taken - older.taken > LONGEST_PAUSE:
            return f"{_named(newest)} is dated {days} days after {_named(older)}"
    return ""


def newest_marked(shelf: Sequence[BackupEntry]) -> str:
    """Why the newest backup of a shelf lets nothing go: it is marked; empty where it is not."""
    newest = next((place for place, _ in _newest_first(shelf)), None)
    if newest is None or not shelf[newest].marks:
        return ""
    backup = shelf[newest]
    marks = ", ".join(backup.marks)
    return f"pruning suspended: the newest backup here, {backup.name}, is marked ({marks})"


def _twins(by_sequence: list[Manifest]) -> str:
    for one, other in pairwise(by_sequence):
        if one.sequence == other.sequence:
            return f"pruning suspended (two different backups carry number {one.sequence})"
    return ""


def _named(made: Manifest) -> str:
    return f"backup {made.sequence} of {made.taken.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
