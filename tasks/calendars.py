"""The days in a plan: when a target is due, and which medium has its turn on which day.

Options only, here because the plan, the policy and the drive target all need them; what follows from
them is decided in tasks/policy/due_rules.py and tasks/policy/rotation.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import Annotated, Literal, Protocol, get_args, runtime_checkable

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from tasks.options import problem
from tasks.records import Record

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)
"""In the order of ``date.weekday()``."""

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_MONTH_DAY = rf"(first|last) ({'|'.join(WEEKDAYS)})"
_RHYTHMS = "must be `every run`, `daily`, {weekly: fri}, {monthly: last fri} or {monthly: 15}"


def date_text(day: date) -> str:
    """A date as people write it, the same in every locale: ``Fri 27 Nov 2026``."""
    return f"{WEEKDAYS[day.weekday()].capitalize()} {day.day} {MONTHS[day.month - 1]} {day.year}"


def _month_day(value: object) -> object:
    whole = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 31
    if whole or (isinstance(value, str) and re.fullmatch(_MONTH_DAY, value)):
        return value
    raise problem("must be `first` or `last` and a weekday, such as `last fri`, or a day from 1 to 31")


MonthDay = Annotated[
    int | str,
    BeforeValidator(_month_day),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 31},
                {"type": "string", "pattern": f"^{_MONTH_DAY}$"},
            ]
        }
    ),
]


class When(Record):
    """When a target is due (tasks/policy/due_rules.py). With nothing set: in every run."""

    daily: bool = Field(False, description="At most one backup a day.")
    weekly: Weekday | None = Field(None, description="One backup a week, on this day.", examples=["fri"])
    monthly: MonthDay | None = Field(
        None,
        description="One backup a month: on its `first` or `last` weekday of that name, or on this day. In a "
        "month that has no such day: on its last.",
        examples=["last fri"],
    )

    @model_validator(mode="after")
    def _one_rhythm(self) -> When:
        if bool(self.daily) + (self.weekly is not None) + (self.monthly is not None) > 1:
            raise problem(f"says more than one thing; {_RHYTHMS}")
        return self


def _rhythm(value: object) -> object:
    if value == "every run":
        return {}
    if value == "daily":
        return {"daily": True}
    if not isinstance(value, dict | When):
        raise problem(_RHYTHMS)
    return value


WhenRule = Annotated[
    When, BeforeValidator(_rhythm, json_schema_input_type=When | Literal["every run", "daily"])
]
"""How ``When`` stands in a plan, its two words included."""


_DATE = r"\d{4}-\d{2}-\d{2}"
# Holidays are short; a typo in the year must not close the office for a century.
_LONGEST_HOLIDAY = 92


def _day(value: object) -> object:
    # YAML reads 2026-12-25 as a date by itself. A number would be taken for seconds since 1970.
    if type(value) is date:
        return value
    if isinstance(value, str) and re.fullmatch(_DATE, value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise problem("must be a date, such as 2026-12-25")


Day = Annotated[date, BeforeValidator(_day, json_schema_input_type=str)]


class Days(Record):
    """A stretch of days, both ends included."""

    first: Day
    last: Day

    @model_validator(mode="after")
    def _in_order(self) -> Days:
        if not 0 <= (self.last - self.first).days < _LONGEST_HOLIDAY:
            raise problem(f"must end on or after the day it begins, and last at most {_LONGEST_HOLIDAY} days")
        return self


def _days(value: object) -> object:
    if isinstance(value, Days | dict):
        return value
    first, to, last = value.partition(" to ") if isinstance(value, str) else (value, "", value)
    try:
        return {"first": _day(first), "last": _day(last if to else first)}
    except ValueError:
        cause = "must be a date or two, such as 2026-12-25 or 2026-12-24 to 2027-01-01"
        raise problem(cause) from None


Holiday = Annotated[
    Days,
    BeforeValidator(_days, json_schema_input_type=str),
    WithJsonSchema({"type": "string", "pattern": rf"^{_DATE}( to {_DATE})?$"}),
]

_LABEL = r"[A-Za-z0-9][A-Za-z0-9_-]{0,30}"


def _label(value: str) -> str:
    if not re.fullmatch(_LABEL, value):
        raise problem("must be 1 to 31 of A-Z, a-z, 0-9, - and _, as on the medium's sticker")
    return value


Label = Annotated[str, AfterValidator(_label), WithJsonSchema({"type": "string", "pattern": f"^{_LABEL}$"})]


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Turns = Annotated[
    tuple[Label, ...],
    BeforeValidator(_one_or_more, json_schema_input_type=Label | tuple[Label, ...]),
]
"""One medium, or several that take turns."""

FEWEST_MEDIA = 3


class Calendar(Record):
    """Which medium is used on which day (tasks/policy/rotation.py). Days without one have no backup."""

    mon: Turns = Field((), description="The medium for Mondays; of several, each in turn.", examples=["MON"])
    tue: Turns = Field((), description="The medium for Tuesdays.", examples=["TUE"])
    wed: Turns = Field((), description="The medium for Wednesdays.", examples=["WED"])
    thu: Turns = Field((), description="The medium for Thursdays.", examples=["THU"])
    fri: Turns = Field((), description="The media for Fridays.", examples=[["F1", "F2"]])
    sat: Turns = Field((), description="The medium for Saturdays.", examples=["SAT"])
    sun: Turns = Field((), description="The medium for Sundays.", examples=["SUN"])
    sets: tuple[Turns, ...] = Field(
        (),
        description="Instead of weekdays: at least three media that simply follow one another. A list in the "
        "list takes turns in its place.",
        examples=[["A", "B", "C"]],
    )
    days: tuple[Weekday, ...] = Field(
        WEEKDAYS,
        min_length=1,
        description="With `sets`: the days of the week on which there is a backup.",
        examples=[["mon", "tue", "wed", "thu", "fri"]],
    )
    holidays: tuple[Holiday, ...] = Field(
        (),
        description="Days on which nobody changes the medium, so that none is due: dates, or two with `to` "
        "between them. Leave past ones in, or set `since`: media that take turns are counted without them.",
        examples=[["2026-12-25", "2026-12-31 to 2027-01-03"]],
    )
    since: Day = Field(
        date(2024, 1, 1), description="The day from which turns are counted: the first medium is used then."
    )

    @property
    def week(self) -> tuple[tuple[str, ...], ...]:
        """The media of Monday to Sunday; empty where there is none, and all empty with ``sets``."""
        return self.mon, self.tue, self.wed, self.thu, self.fri, self.sat, self.sun

    @property
    def labels(self) -> tuple[str, ...]:
        """All media, in order."""
        return tuple(label for turns in (*self.week, *self.sets) for label in turns)

    @field_validator("days")
    @classmethod
    def _days_once(cls, days: tuple[Weekday, ...]) -> tuple[Weekday, ...]:
        if len(set(days)) < len(days):
            raise problem("names a day twice")
        return days

    @model_validator(mode="after")
    def _can_rotate(self) -> Calendar:
        if bool(self.sets) == any(self.week):
            raise problem("must name the media either of weekdays (mon: MON, …) or in `sets`")
        if not self.sets and len(self.days) < len(WEEKDAYS):
            raise problem("goes with `sets` only; leave out the weekdays that have no medium", place="days")
        if not all(self.sets):
            raise problem("holds an empty list; name a medium or remove it", place="sets")
        # On Windows, and on stickers, case does not tell names apart.
        if _same(label.casefold() for label in self.labels):
            raise problem("names a medium twice; each has one place in the calendar")
        if (len(self.sets) if self.sets else len(self.labels)) < FEWEST_MEDIA:
            raise problem(
                f"has fewer than {FEWEST_MEDIA} media",
                hint="With fewer than three one bad night, or one theft, can take the only good copy.",
            )
        return self


@runtime_checkable
class HasCalendar(Protocol):
    """Options of a target whose media take turns: a capability, asked for by ``isinstance``."""

    @property
    def calendar(self) -> Calendar: ...


def _same(names: Iterable[str]) -> bool:
    known = list(names)
    return len(set(known)) < len(known)
