"""Five-field cron expressions: minute, hour, day of the month, month, day of the week.

The dialect is the part of crontab(5) that every scheduler reads alike: numbers, names of months and
days, ranges, lists, steps. A typing error here means backups that are never taken, so it is found
when the plan is read, a date that never comes (30 February) included.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

from tasks.options import problem

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTH_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
ELEMENT = re.compile(
    r"(?P<first>\*|[0-9]{1,2}|[a-z]{3})(-(?P<last>[0-9]{1,2}|[a-z]{3}))?(/(?P<step>[0-9]{1,2}))?"
)


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()

    def number(self, text: str) -> int:
        value = (
            self.words.index(text) + self.low if text in self.words else int(text) if text.isdigit() else -1
        )
        if not self.low <= value <= self.high:
            raise _wrong(self)
        return value


FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, MONTHS),
    _Field("day of the week", 0, 7, DAYS),
)


def check_cron(text: str) -> str:
    """Return ``text`` if it is a cron expression that comes due; else the validation error."""
    parts = text.lower().split()
    if len(parts) != len(FIELDS):
        raise problem(
            "must have five parts: minute, hour, day of the month, month, day of the week",
            hint='"0 2 * * *" is every night at 2:00, "0 6 * * sun" every Sunday at 6:00.',
        )
    values = [_values(part, field) for part, field in zip(parts, FIELDS, strict=True)]
    days, months = values[2], values[3]
    longest = max(MONTH_LENGTHS[month - 1] for month in months)
    # With a day of the week as well cron would run on that, but Prefect's scheduler finds no date.
    if min(days) > longest:
        raise problem("never comes due: no such day in that month")
    return text


def next_time(text: str, now: datetime) -> datetime:
    """When a cron expression is due next after ``now``, in the zone of that time."""
    from cronsim import CronSim

    return next(CronSim(text, now))


def previous_time(text: str, now: datetime) -> datetime:
    """When a cron expression was due last before ``now``, in the zone of that time."""
    from cronsim import CronSim

    return next(CronSim(text, now, reverse=True))


def longest_gap(text: str) -> timedelta:
    """The longest time between two due times that follow each other, within the next month and 400 times."""
    from cronsim import CronSim

    start = datetime(2024, 1, 1)
    longest, earlier = timedelta(), next(CronSim(text, start))
    for count, later in enumerate(CronSim(text, earlier)):
        longest = max(longest, later - earlier)
        earlier = later
        if count >= 400 and later - start > timedelta(days=32):
            break
    return longest


def _values(part: str, field: _Field) -> set[int]:
    values: set[int] = set()
    for element in part.split(","):
        match = ELEMENT.fullmatch(element)
        if match is None:
            raise _wrong(field)
        values.update(_range(match, field))
    return values


def _range(match: re.Match[str], field: _Field) -> range:
    first, last, step = match["first"], match["last"], match["step"]
    every = first == "*"
    if (every and last) or (step and not (every or last)) or step in ("0", "00"):
        raise _wrong(field)
    low = field.low if every else field.number(first)
    high = field.high if every else field.number(last or first)
    if low > high or int(step or 1) > field.high:
        raise _wrong(field)
    return range(low, high + 1, int(step or 1))


def _wrong(field: _Field) -> Exception:
    words = f" or {field.words[0]} to {field.words[-1]}" if field.words else ""
    return problem(
        f"the {field.name} is not one that cron knows: {field.low} to {field.high}{words}",
        hint="Allowed are numbers, ranges (1-5), lists (1,15), steps (*/2) and * for every.",
    )


Cron = Annotated[str, AfterValidator(check_cron)]
