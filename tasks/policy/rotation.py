"""Which medium has its turn, which one goes home and which one comes back: pure functions of the calendar.

Media that take turns (alternate Fridays) are counted by the days on which one was due, since a day that
the calendar names: the year's end, a week 53 and holidays change nothing about who comes next. A run that
was missed does not shift the turns either; the staff's calendar on the wall stays true.

No medium is due on two run days in a row. Where a week of holidays would bring that about (Monday,
closed, Monday) another medium stands in, and everything goes on by the calendar afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from tasks.calendars import WEEKDAYS, Calendar
from tasks.records import Record

_DAY = timedelta(days=1)

Uses = Sequence[tuple[date, str]]
"""The log of media: date of the run, label of the medium its backup went to. In any order."""


class Advice(Record):
    """What the staff does with the media on one day. ``plug_in`` is None where no medium is due."""

    plug_in: str | None
    take_home: str | None
    bring_back: tuple[str, ...]
    text: str


def medium_for(calendar: Calendar, day: date) -> str | None:
    """Label of the medium that is due on ``day``; None on holidays and on days without one."""
    if not is_run_day(calendar, day):
        return None
    own = _by_turns(calendar, day)
    return _stand_in(calendar, day, own) if _would_repeat(calendar, day, own) else own


def is_run_day(calendar: Calendar, day: date) -> bool:
    """Whether any medium is due on ``day``."""
    weekday = day.weekday()
    used = WEEKDAYS[weekday] in calendar.days if calendar.sets else bool(calendar.week[weekday])
    return used and not any(free.first <= day <= free.last for free in calendar.holidays)


def previous_run_day(calendar: Calendar, day: date) -> date:
    """The newest day before ``day`` on which a medium was due."""
    day -= _DAY
    while not is_run_day(calendar, day):
        day -= _DAY
    return day


def next_run_day(calendar: Calendar, day: date) -> date:
    """The first day after ``day`` on which a medium is due."""
    day += _DAY
    while not is_run_day(calendar, day):
        day += _DAY
    return day


def where(uses: Uses, calendar: Calendar, day: date) -> tuple[str, ...]:
    """Labels of the media off the premises on the evening of ``day``, if all went by the advice.

    The medium of the newest run before that day is taken home; it comes back when the next one goes.
    One that shares its weekday with others (F1 and F2) stays away until the next of these goes, so that
    a week's end is always out of the house. The medium of that evening's own run is in the machine.
    """
    before = sorted(use for use in uses if use[0] < day)
    away = [label for _, label in before[-1:]]
    for turns in calendar.week:
        if len(turns) > 1:
            away += [label for _, label in before if label in turns][-1:]
    return tuple(dict.fromkeys(away))


def tonight(calendar: Calendar, day: date, uses: Uses) -> Advice:
    """What to plug in for the run of ``day``, what to take home, and what to bring back into the house.

    After a run that was missed the advice is the same again: no drive was plugged in, so none went home.
    """
    plug_in = medium_for(calendar, day)
    newest = max((use for use in uses if use[0] < day), default=None)
    away = [label for label in where(uses, calendar, newest[0]) if label != newest[1]] if newest else []
    then = where(uses, calendar, day)
    take_home = next((label for label in then if label not in (*away, plug_in)), None)
    # Where every run since was missed, the newest copy of all is needed here again.
    needed = [label for label in dict.fromkeys((*away, *then)) if label == plug_in or label not in then]
    parts = [f"tonight: {plug_in or 'no medium'}"]
    parts += [f"take {take_home} home"] if take_home else []
    parts += [f"bring {' and '.join(needed)}"] if needed else []
    return Advice(plug_in=plug_in, take_home=take_home, bring_back=tuple(needed), text="; ".join(parts))


def repeated(calendar: Calendar, day: date, uses: Uses) -> str | None:
    """Label of the medium that the run day before ``day`` used, which must not be used again now.

    None where that run was missed: however old its last use, a medium is no longer the newest copy then.
    """
    earliest = previous_run_day(calendar, day)
    recent = sorted(use for use in uses if earliest <= use[0] < day)
    return recent[-1][1] if recent else None


def _by_turns(calendar: Calendar, day: date) -> str:
    """The medium of a run day as the calendar has it."""
    if calendar.sets:
        wanted = [WEEKDAYS.index(name) for name in calendar.days]
        turn = sum(_count(calendar, weekday, day) for weekday in wanted)
        members = calendar.sets[turn % len(calendar.sets)]
        return members[turn // len(calendar.sets) % len(members)]
    turns = calendar.week[day.weekday()]
    return turns[_count(calendar, day.weekday(), day) % len(turns)]


def _count(calendar: Calendar, weekday: int, day: date) -> int:
    """How many run days of that weekday lie between ``calendar.since`` and ``day``; negative before it."""
    start, end = sorted((calendar.since, day))
    used = _between(weekday, start, end)
    for free in sorted(calendar.holidays, key=lambda free: free.first):
        # Stretches may overlap: no day is taken off twice.
        first, past = max(free.first, start), min(free.last + _DAY, end)
        if first < past:
            used -= _between(weekday, first, past)
            start = past
    return used if day >= calendar.since else -used


def _between(weekday: int, start: date, end: date) -> int:
    """How many days of that weekday there are from ``start`` until before ``end``."""
    # Day 1 of the proleptic calendar was a Monday.
    return (end.toordinal() - 2 - weekday) // 7 - (start.toordinal() - 2 - weekday) // 7


def _would_repeat(calendar: Calendar, day: date, own: str) -> bool:
    """Whether the run day before used ``own``, which can only be where all days between are holidays.

    Where that day had a stand-in itself, ``own`` was not used: over several such weeks they alternate.
    """
    repeats = 0
    if calendar.holidays:
        while _by_turns(calendar, day := previous_run_day(calendar, day)) == own:
            repeats += 1
    return repeats % 2 == 1


def _stand_in(calendar: Calendar, day: date, own: str) -> str:
    """The medium whose turn is furthest away, preferably one of those that do not wait out of the house."""
    following = _by_turns(calendar, next_run_day(calendar, day))
    cyclic = [*calendar.week[day.weekday() + 1 :], *calendar.week[: day.weekday() + 1]]
    single = [turns[0] for turns in cyclic if len(turns) == 1]
    others = [label for turns in cyclic if len(turns) > 1 for label in turns]
    return [label for label in (*others, *single) if label not in (own, following)][-1]
