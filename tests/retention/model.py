"""What must still be there, by the promises of the README, reckoned without the program's own rules.

A backup is a plain record here, a shelf a list of them. Nothing in this file is taken from the program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

HOUR = timedelta(hours=1)
LONG_PAUSE = timedelta(days=60)


@dataclass
class Copy:
    """One backup as it was put on a place: ``slot`` is its folder, ``content`` names what is inside.

    ``count`` tells whether it may count at all (trusted, in its own place, with its own manifest), ``bad``
    whether damage to it was found. ``bytes`` is what lies there now.
    """

    stem: str
    slot: str
    number: int
    taken: datetime
    content: str
    mine: bool = True
    bad: bool = False
    bytes: int = 0

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


@dataclass
class Place:
    """One shelf: what was put there and not removed since; what is promised for it, newest promise last.

    More than one promise: the plan was changed and nobody has said yet that the change was meant.
    """

    name: str
    copies: list[Copy] = field(default_factory=list)
    promised: list[Rules] = field(default_factory=list)

    def counted(self) -> list[Copy]:
        """Those that count as backups, newest first by number."""
        return sorted((c for c in self.copies if c.mine and not c.bad), key=lambda c: -c.number)

    def needed(self, zone: ZoneInfo, held: Iterable[int]) -> list[Copy]:
        """Those that a promise keeps, or a person holds; all others that count may go."""
        kept = {c.key for c in self.copies if c.number in set(held)}
        for rules in self.promised:
            kept |= kept_by(rules, self.counted(), zone)
        return [c for c in self.copies if c.key in kept or c not in self.counted()]

    def ahead(self, now: datetime) -> bool:
        """Whether something lies there that is dated in the future."""
        return any(c.taken > now + HOUR for c in self.counted())

    def contradiction(self, now: datetime) -> bool:
        """Whether dates and numbers, as they lie there, cannot both be right."""
        if self.ahead(now):
            return True
        oldest_first = self.counted()[::-1]
        pairs = pairwise(oldest_first)
        return any(newer.taken < older.taken or newer.number == older.number for older, newer in pairs)


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
