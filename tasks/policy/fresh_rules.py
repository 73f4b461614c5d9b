"""How new the newest backup of a target must be: pure functions of its rhythm and of the runs that were due.

Nothing is remembered for it, so that it can be asked from any machine that has the plan.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime, time, timedelta, tzinfo

from tasks.calendars import WEEKDAYS, Calendar, When
from tasks.policy.due_rules import last_due
from tasks.policy.rotation import medium_for

_DAY = timedelta(days=1)
# A calendar has at most some dozens of media: within this many days each had its turn.
_LOOK_BACK = 400
# In a plan without a schedule: a day, and the time that people take.
USUAL = timedelta(hours=26)
# One missed turn is told by the target's own freshness; a slot that missed two is being forgotten.
_MISSED_TURNS = timedelta(weeks=2)


def fresh_since(when: When, run: datetime) -> datetime:
    """The newest backup must not be older than this, ``run`` being the last run that should be there.

    With a rhythm of days it may be from any run since the last due day.
    """
    if not (when.daily or when.weekly or when.monthly):
        return run
    return midnight(last_due(when, run.date()), run.tzinfo)


def fresh_without_schedule(when: When, now: datetime) -> datetime:
    """The same where nobody said when runs begin."""
    return now - USUAL - timedelta(days=31 if when.monthly else 7 if when.weekly else 0)


def last_turn(calendar: Calendar, label: str, day: date, made: date) -> date | None:
    """The last day up to ``day`` on which that medium was due; None where that was before it was made."""
    for days in range(_LOOK_BACK):
        candidate = day - days * _DAY
        if candidate < made:
            return None
        if medium_for(calendar, candidate) == label:
            return candidate
    return None


def last_day_with_medium(calendar: Calendar, day: date) -> date | None:
    """The last day up to ``day`` on which any medium was due; None where no day has one."""
    candidates = (day - days * _DAY for days in range(_LOOK_BACK))
    return next((day for day in candidates if medium_for(calendar, day) is not None), None)


def forgotten_slots(newest: Mapping[str, date], runs: Collection[date], day: date) -> dict[str, date]:
    """The slots of weekdays whose newest backup missed its last two turns, with its date.

    ``newest`` is the date of the newest backup in each slot, ``runs`` the days of the last weeks on which a
    run was due.
    """
    used = {WEEKDAYS[run.weekday()].upper() for run in runs}
    return {slot: taken for slot, taken in newest.items() if slot in used and day - taken > _MISSED_TURNS}


def midnight(day: date, zone: tzinfo | None) -> datetime:
    """The beginning of a day in a zone."""
    return datetime.combine(day, time(), zone)
