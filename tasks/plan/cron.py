"""Five-field cron expressions: minute, hour, day of the month, month, day of the week.

The dialect is the part of crontab(5) that every scheduler reads alike: numbers, names of months and
days, ranges, lists, steps. A typing error here means backups that are never taken, so it is found
when the plan is read, a date that never comes (30 February) included. cronsim reads the values and finds
the times; by hand is only what holds the text to that dialect and names the field that is wrong.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator

from tasks.options import problem

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# cronsim takes more than this, which Prefect's scheduler reads otherwise or not at all: L, LW, #, 5/10.
VALUE = "(?:[0-9]{1,2}|[a-z]{3})"
ELEMENT = re.compile(rf"(?:{VALUE}|(?:\*|{VALUE}-{VALUE})(?:/(?P<step>[0-9]{{1,2}}))?)")
A_LEAP_YEAR = 2024


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()


FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, MONTHS),
    _Field("day of the week", 0, 7, DAYS),
)


def check_cron(text: str) -> str:
    """Return ``text`` if it is a cron expression that comes due; else raise the validation error."""
    parts = text.lower().split()
    if len(parts) != len(FIELDS):
        raise problem(
            "must have five parts: minute, hour, day of the month, month, day of the week",
            hint='"0 2 * * *" is every night at 2:00, "0 6 * * sun" every Sunday at 6:00.',
        )
    alone = [_alone(place, part) for place, part in enumerate(parts)]
    days, months = alone[2].days, alone[3].months
    # With a day of the week as well cron would run on that, but Prefect's scheduler finds no date.
    if min(days) > max(monthrange(A_LEAP_YEAR, month)[1] for month in months):
        raise problem("never comes due: no such day in that month")
    return text


def _alone(place: int, part: str) -> CronSim:
    """What cronsim makes of one field beside stars. Raises the validation error that names the field."""
    field = FIELDS[place]
    elements = [ELEMENT.fullmatch(element) for element in part.split(",")]
    if not all(match and int(match["step"] or 1) <= field.high for match in elements):
        raise _wrong(field)
    expression = ["*"] * len(FIELDS)
    expression[place] = part
    try:
        return CronSim(" ".join(expression), datetime(A_LEAP_YEAR, 1, 1))
    except CronSimError as error:
        raise _wrong(field) from error


def _wrong(field: _Field) -> Exception:
    words = f" or {field.words[0]} to {field.words[-1]}" if field.words else ""
    return problem(
        f"the {field.name} is not one that cron knows: {field.low} to {field.high}{words}",
        hint="Allowed are numbers, ranges (1-5), lists (1,15), steps (*/2) and * for every.",
    )


def next_time(text: str, now: datetime) -> datetime:
    """When a cron expression is due next after ``now``, in the zone of that time."""
    return next(CronSim(text, now))


def previous_time(text: str, now: datetime) -> datetime:
    """When a cron expression was due last before ``now``, in the zone of that time."""
    return next(CronSim(text, now, reverse=True))


def longest_gap(text: str) -> timedelta:
    """The longest time between two due times that follow each other, within the next month and 400 times."""
    start = datetime(2024, 1, 1)
    longest, earlier = timedelta(), next(CronSim(text, start))
    for count, later in enumerate(CronSim(text, earlier)):
        longest = max(longest, later - earlier)
        earlier = later
        if count >= 400 and later - start > timedelta(days=32):
            break
    return longest


Cron = Annotated[str, AfterValidator(check_cron)]
