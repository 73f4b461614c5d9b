"""When a target is due, and how new its newest backup must be: pure functions of its rhythm.

A rhythm divides the calendar into periods that begin on its due days. A target is due in the first run of
each period: on the due day itself, or, where nothing was delivered then, in the next run after it. So
one missed Friday costs a day and not a week. Dates are those of the plan's zone. Nothing is remembered for
freshness, so that it can be asked from any machine that has the plan.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Collection, Mapping
from datetime import date, datetime, time, timedelta, tzinfo

from tasks.calendars import WEEKDAYS, Calendar, When, date_text
from tasks.policy.rotation import medium_for
from tasks.records import Record

_DAY = timedelta(days=1)
# A calendar has at most some dozens of media: within this many days each had its turn.
_LOOK_BACK = 400
# In a plan without a schedule: a day, and the time that people take.
USUAL = timedelta(hours=26)
# One missed turn is told by the target's own freshness; a slot that missed two is being forgotten.
_MISSED_TURNS = timedelta(weeks=2)


class Due(Record):
    """Whether a target is due, why, and the first due day after the run's date."""

    due: bool
    reason: str
    next: date


def due(when: When, run_date: date, last_delivered: date | None) -> Due:
    """Whether a run of that date delivers to a target of that rhythm.

    ``last_delivered`` is the date on which the target's newest backup, by sequence number, was taken; None
    where it has none. One dated after the run comes from a clock that was wrong: it counts for nothing,
    since a backup too many harms less than years without one.
    """
    coming = next_due(when, run_date)
    if not (when.daily or when.weekly or when.monthly):
        return Due(due=True, reason="due in every run", next=coming)
    period = last_due(when, run_date)
    if last_delivered is None:
        return Due(due=True, reason="due: nothing has been delivered here yet", next=coming)
    if last_delivered > run_date:
        cause = f"due: the last delivery is dated {date_text(last_delivered)}, which is still to come"
        return Due(due=True, reason=cause, next=coming)
    if last_delivered >= period:
        cause = f"not due: delivered on {date_text(last_delivered)}, due again on {date_text(coming)}"
        return Due(due=False, reason=cause, next=coming)
    if period == run_date:
        return Due(due=True, reason=f"due on {date_text(run_date)}", next=coming)
    return Due(due=True, reason=f"catching up: missed on {date_text(period)}", next=coming)


def last_due(when: When, day: date) -> date:
    """The newest due day that is not after ``day``."""
    if when.weekly:
        return day - _DAY * ((day.weekday() - WEEKDAYS.index(when.weekly)) % 7)
    if when.monthly:
        this = _in_month(when.monthly, day.replace(day=1))
        return this if this <= day else _in_month(when.monthly, (day.replace(day=1) - _DAY).replace(day=1))
    return day


def next_due(when: When, day: date) -> date:
    """The first due day after ``day``."""
    if when.weekly:
        return last_due(when, day) + 7 * _DAY
    if when.monthly:
        first = day.replace(day=1)
        this = _in_month(when.monthly, first)
        return this if this > day else _in_month(when.monthly, _month_after(first))
    return day + _DAY


def when_due_text(when: When) -> str:
    """A rhythm in words: ``every run``, ``daily``, ``weekly, fri``, ``monthly, last fri``."""
    if when.weekly:
        return f"weekly, {when.weekly}"
    if when.monthly:
        return f"monthly, {when.monthly}"
    return "daily" if when.daily else "every run"


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


def _in_month(rule: int | str, first: date) -> date:
    """The due day of the month that begins at ``first``."""
    length = monthrange(first.year, first.month)[1]
    if isinstance(rule, int):
        return first.replace(day=min(rule, length))
    which, weekday = rule.split()
    wanted = WEEKDAYS.index(weekday)
    if which == "first":
        return first + _DAY * ((wanted - first.weekday()) % 7)
    last = first.replace(day=length)
    return last - _DAY * ((last.weekday() - wanted) % 7)


def _month_after(first: date) -> date:
    return (first + 31 * _DAY).replace(day=1)
