"""What the office's policy means, worked out by hand for each night: no word of it comes from the program.

- every night to the network, into the folder of the weekday, which holds one backup;
- Monday to Thursday to that day's drive, on Fridays to F1 and F2 by turns; on a closed day to none;
- each drive keeps its seven newest backups, the newest of each of four weeks and of twelve months;
- once a week, on Friday, to the cloud, where the four newest stay; and on the last Friday of each
  month to the vault, where all stay. Where that failed it is done in the next night that it can be;
- the newest drive goes home, and so does the newest Friday drive until the next Friday's follows it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from datetime import date
from typing import NamedTuple

from tests.flows.year.events import (
    AHEAD,
    CLOCK_AHEAD,
    CLOSED,
    DAY,
    FIRST,
    NAS_AWAY,
    OFF,
    PLUGGED,
    S3_DOWN,
    STAND_INS,
)

FOLDERS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
FRIDAY = 4
MEDIA = ("MON", "TUE", "WED", "THU", "F1", "F2")


class Made(NamedTuple):
    """A backup: its number, and the date that it bears."""

    number: int
    dated: date


class Advice(NamedTuple):
    plug_in: str | None
    take_home: str | None
    bring_back: tuple[str, ...]
    text: str


def medium_of(day: date) -> str | None:
    """The drive whose day it is."""
    if day in CLOSED or day.weekday() > FRIDAY:
        return None
    if day in STAND_INS:
        return STAND_INS[day]
    if day.weekday() < FRIDAY:
        return FOLDERS[day.weekday()]
    return ("F1", "F2")[len([friday for friday in fridays(FIRST, day - DAY) if friday not in CLOSED]) % 2]


def fridays(first: date, last: date) -> list[date]:
    days = [first + DAY * number for number in range((last - first).days + 1)]
    return [day for day in days if day.weekday() == FRIDAY]


def last_fridays(first: date, last: date) -> list[date]:
    """Fridays after which the month has no other."""
    return [friday for friday in fridays(first, last) if (friday + 7 * DAY).month != friday.month]


def stay_on_drive(backups: list[Made]) -> list[Made]:
    newest_first = sorted(backups, reverse=True)
    stay = {
        *newest_first[:7],
        *newest_of_each(newest_first, lambda dated: dated.isocalendar()[:2])[:4],
        *newest_of_each(newest_first, lambda dated: (dated.year, dated.month))[:12],
    }
    return sorted(stay)


def newest_of_each(newest_first: Iterable[Made], period: Callable[[date], Hashable]) -> list[Made]:
    first_seen: dict[Hashable, Made] = {}
    for made in newest_first:
        first_seen.setdefault(period(made.dated), made)
    return list(first_seen.values())


class Almanac:
    """What lies where, and who carries which drive, after the nights that were told of so far."""

    def __init__(self) -> None:
        self.number = 0
        self.nas: dict[str, list[Made]] = {folder: [] for folder in FOLDERS}
        self.drives: dict[str, list[Made]] = {label: [] for label in MEDIA}
        self.cloud: list[Made] = []
        self.vault: list[Made] = []
        self.log: list[tuple[date, str]] = []
        self.home: list[str] = []
        self.doubted = False

    def night(self, day: date) -> dict[str, str]:
        """What happens at each target in that night; {} when there was no run."""
        if day in OFF:
            return {}
        self.number += 1
        today = day + AHEAD if day == CLOCK_AHEAD else day
        made = Made(self.number, today)
        # A clock that leaps: until a person has looked into it, nothing is removed anywhere.
        self.doubted |= day == CLOCK_AHEAD
        return {
            "nas": self._to_nas(made, away=day in NAS_AWAY),
            "drives": self._to_drive(made, day, PLUGGED.get(day, medium_of(today))),
            # A service refuses requests of a machine whose clock is wrong.
            "cloud": self._to_cloud(made, down=day in S3_DOWN or day == CLOCK_AHEAD),
            "vault": self._to_vault(made, down=day in S3_DOWN or day == CLOCK_AHEAD),
        }

    def advice(self, day: date) -> Advice:
        """What the staff does before that day's run."""
        plug_in = medium_of(day)
        going_home = self._away_after_the_newest(day)
        newest = self._newest(day)
        take = newest if newest and newest not in (*self.home, plug_in) else None
        everyone = list(dict.fromkeys((*self.home, *going_home)))
        bring = tuple(label for label in everyone if label == plug_in or label not in going_home)
        words = [f"tonight: {plug_in or 'no medium'}"]
        words += [f"take {take} home"] if take else []
        words += [f"bring {' and '.join(bring)}"] if bring else []
        return Advice(plug_in, take, bring, "; ".join(words))

    def discard(self, shelf: list[Made], day: date) -> list[Made]:
        """Somebody removes what bears a date that has not come yet."""
        wrong = [made for made in shelf if made.dated > day]
        shelf[:] = [made for made in shelf if made not in wrong]
        return wrong

    def _to_nas(self, made: Made, *, away: bool) -> str:
        if away:
            return "failed"
        folder = self.nas[FOLDERS[made.dated.weekday()]]
        folder.append(made)
        if self._may_go(made, [other for others in self.nas.values() for other in others]):
            for others in self.nas.values():
                others[:] = others[-1:]
        return "delivered"

    def _to_drive(self, made: Made, day: date, plugged: str | None) -> str:
        label = medium_of(made.dated)
        if label is None:
            return "not due"
        if plugged != label:
            return "missed"
        shelf = self.drives[label]
        shelf.append(made)
        if self._may_go(made, shelf):
            shelf[:] = stay_on_drive(shelf)
        if made.dated == day:
            self.home = [away for away in self._away_after_the_newest(day) if away != label]
        self.log.append((made.dated, label))
        return "delivered"

    def _to_cloud(self, made: Made, *, down: bool) -> str:
        if self.cloud and not fridays(self.cloud[-1].dated + DAY, made.dated):
            return "not due"
        if down:
            return "failed"
        self.cloud.append(made)
        if self._may_go(made, self.cloud):
            self.cloud[:] = self.cloud[-4:]
        return "delivered"

    def _to_vault(self, made: Made, *, down: bool) -> str:
        if self.vault and not last_fridays(self.vault[-1].dated + DAY, made.dated):
            return "not due"
        if down:
            return "failed"
        self.vault.append(made)
        return "delivered"

    def _may_go(self, made: Made, shelf: list[Made]) -> bool:
        """Whether old ones may be removed: nothing is in doubt, and none bears a date to come."""
        return not self.doubted and all(other.dated <= made.dated for other in shelf)

    def _newest(self, day: date) -> str | None:
        used = sorted(use for use in self.log if use[0] < day)
        return used[-1][1] if used else None

    def _away_after_the_newest(self, day: date) -> list[str]:
        """The newest drive of all, and the newest Friday drive."""
        used = [label for _, label in sorted(use for use in self.log if use[0] < day)]
        weekend = [label for label in used if label in ("F1", "F2")]
        return list(dict.fromkeys((*used[-1:], *weekend[-1:])))
