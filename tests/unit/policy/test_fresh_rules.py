"""How new the newest backup must be, by the schedule alone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tasks.calendars import Calendar, When
from tasks.policy.fresh_rules import forgotten_slots, fresh_since, fresh_without_schedule, last_turn

OFFICE = ZoneInfo("America/New_York")
RUN = datetime(2026, 11, 25, 2, 0, tzinfo=OFFICE)  # a Wednesday


@pytest.mark.parametrize(
    ("when", "since"),
    [
        (When(), RUN),
        (When(daily=True), datetime(2026, 11, 25, tzinfo=OFFICE)),
        (When(weekly="fri"), datetime(2026, 11, 20, tzinfo=OFFICE)),
        (When(weekly="wed"), datetime(2026, 11, 25, tzinfo=OFFICE)),
        (When(monthly="last fri"), datetime(2026, 10, 30, tzinfo=OFFICE)),
        (When(monthly=25), datetime(2026, 11, 25, tzinfo=OFFICE)),
    ],
    ids=str,
)
def test_since_the_last_due_day(when: When, since: datetime) -> None:
    assert fresh_since(when, RUN) == since


@pytest.mark.parametrize(
    ("when", "allowed"),
    [
        (When(), timedelta(hours=26)),
        (When(weekly="fri"), timedelta(days=7, hours=26)),
        (When(monthly=1), timedelta(days=31, hours=26)),
    ],
    ids=str,
)
def test_without_a_schedule(when: When, allowed: timedelta) -> None:
    now = datetime(2026, 11, 25, tzinfo=UTC)
    assert now - fresh_without_schedule(when, now) == allowed


def test_the_last_turn_of_a_medium() -> None:
    calendar = Calendar(mon=("MON",), tue=("TUE",), wed=("WED",), fri=("F1", "F2"), since=date(2026, 11, 20))
    long_ago = date(2020, 1, 1)
    assert last_turn(calendar, "MON", RUN.date(), long_ago) == date(2026, 11, 23)
    assert last_turn(calendar, "WED", RUN.date(), long_ago) == date(2026, 11, 25)
    assert last_turn(calendar, "F1", RUN.date(), long_ago) == date(2026, 11, 20)
    assert last_turn(calendar, "F2", RUN.date(), date(2026, 11, 1)) == date(2026, 11, 13)
    assert last_turn(calendar, "MON", RUN.date(), date(2026, 11, 24)) is None, "it was made after that"
    assert last_turn(calendar, "LOST", RUN.date(), long_ago) is None


def test_slots_that_are_not_replaced_any_more() -> None:
    day = RUN.date()
    newest = {
        "MON": day - timedelta(days=2),
        "TUE": day - timedelta(days=15),
        "SAT": day - timedelta(days=60),
    }
    runs = [day - timedelta(days=number) for number in range(14) if (day - timedelta(number)).weekday() < 5]
    assert forgotten_slots(newest, runs, day) == {"TUE": day - timedelta(days=15)}, "no run is due on SAT"
