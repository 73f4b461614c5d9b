"""What must still be there, by the promises of the README, reckoned without the program's own rules.

A backup is a plain record here, a shelf a list of them. Nothing in this file is taken from the program.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

HOUR = timedelta(hours=1)


@dataclass
class Copy:
    """One backup as a machine put it on a place: ``slot`` is its folder, ``content`` names what is inside.

    ``whole``: its two files are there under their names, with their size. ``rotten``: bytes of it changed.
    ``seen_by`` are the machines that found this out. ``leaving``: a removal of it was cut off half way;
    ``forgotten``: its machine does not know any more that it put it there.
    """

    stem: str
    slot: str
    number: int
    taken: datetime
    content: str
    machine: str
    whole: bool = True
    rotten: bool = False
    seen_by: set[str] = field(default_factory=set)
    leaving: bool = False
    forgotten: bool = False

    @property
    def key(self) -> str:
        """Where it is: the same copy cannot lie there twice."""
        return f"{self.slot}/{self.stem}".lstrip("/")


@dataclass(frozen=True)
class Rules:
    """What a plan promises for one place."""

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    forever: bool = False
    floor: int = 3
    first: bool = False


@dataclass(frozen=True)
class Viewer:
    """A machine: whose backups count for it, and which numbers a person told it to hold."""

    machine: str
    trusts: frozenset[str]
    held: Collection[int] = ()


@dataclass
class Place:
    """One shelf: what was put there and not removed since.

    ``promised``: by machine, what its plans promised since a person last said that a change was meant.
    ``untold``: files that are gone and of which the run that removed them could not tell; ``begun``: those
    that a run whose power went may have begun to remove.
    """

    target: str
    copies: list[Copy] = field(default_factory=list)
    promised: dict[str, list[Rules]] = field(default_factory=dict)
    untold: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)

    def counted(self, viewer: Viewer) -> list[Copy]:
        """Those that count as backups, newest first by number."""
        counting = (
            c
            for c in self.copies
            if c.whole and viewer.machine not in c.seen_by and c.machine in viewer.trusts
        )
        return sorted(counting, key=lambda c: -c.number)

    def may_go(self, viewer: Viewer, zone: ZoneInfo) -> list[Copy]:
        """Those that count and that no promise keeps; a removal begun may be brought to its end."""
        counted = self.counted(viewer)
        kept = {c.key for c in counted if c.number in viewer.held}
        for rules in self.promised.get(viewer.machine, []):
            kept |= kept_by(rules, counted, zone)
        return [c for c in counted if c.key not in kept] + [c for c in self.copies if c.leaving]

    def ahead(self, viewer: Viewer, now: datetime) -> bool:
        """Whether something lies there that is dated in the future."""
        return any(c.taken > now + HOUR for c in self.counted(viewer))

    def contradiction(self, viewer: Viewer, now: datetime) -> bool:
        """Whether dates and numbers, as they lie there, cannot both be right."""
        oldest_first = self.counted(viewer)[::-1]
        wrong = (new.taken < old.taken or new.number == old.number for old, new in pairwise(oldest_first))
        return self.ahead(viewer, now) or any(wrong)


def kept_by(rules: Rules, newest_first: list[Copy], zone: ZoneInfo) -> set[str]:
    """What ``keep`` and ``floor`` keep: in each slot the newest N, and the newest of each of N periods."""
    if rules.forever:
        return {c.key for c in newest_first}
    kept: set[str] = set()
    for slot in {c.slot for c in newest_first}:
        inside = [c for c in newest_first if c.slot == slot]
        kept |= {c.key for c in inside[: rules.last]}
        for many, period in ((rules.daily, _day), (rules.weekly, _week), (rules.monthly, _month)):
            kept |= _newest_of_each(inside, many, period, zone)
    rest = [c.key for c in newest_first if c.key not in kept]
    return kept | set(rest[: max(0, rules.floor - len(kept))])


def _newest_of_each(
    newest_first: list[Copy], many: int, period: Callable[[date], object], zone: ZoneInfo
) -> set[str]:
    newest: dict[object, str] = {}
    for copy in newest_first:
        newest.setdefault(period(copy.taken.astimezone(zone).date()), copy.key)
    return set(list(newest.values())[:many])


def _day(day: date) -> object:
    return day


def _week(day: date) -> object:
    return day - timedelta(days=day.weekday())


def _month(day: date) -> object:
    return day.year, day.month
