"""When a target is due: every period gets exactly one delivery, in its first run, whatever runs there are.

How new the newest backup must be, by the schedule alone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tasks.calendars import WEEKDAYS, Calendar, When, WhenRule
from tasks.policy.due_rules import (
    Due,
    due,
    forgotten_slots,
    fresh_since,
    fresh_without_schedule,
    last_due,
    last_turn,
    next_due,
)

DAY = timedelta(days=1)
RULE: TypeAdapter[When] = TypeAdapter(WhenRule)

weekdays = st.sampled_from(WEEKDAYS)
month_days = st.integers(1, 31) | st.builds(
    lambda which, day: f"{which} {day}", st.sampled_from(["first", "last"]), weekdays
)
rhythms = st.one_of(
    st.just(When(daily=True)),
    weekdays.map(lambda day: When(weekly=day)),
    month_days.map(lambda rule: When(monthly=rule)),
)
dates = st.dates(date(2019, 1, 1), date(2041, 12, 31))
# Days between runs: several on one day, every day, weeks closed.
gaps = st.lists(st.sampled_from([0, 1, 1, 1, 1, 2, 3, 10, 45]), min_size=1, max_size=120)


def when(rule: object) -> When:
    return RULE.validate_python(rule)


def is_due_day(rule: When, day: date) -> bool:
    """The rhythm, stated otherwise."""
    if rule.weekly:
        return WEEKDAYS[day.weekday()] == rule.weekly
    if isinstance(rule.monthly, int):
        return day.day == rule.monthly or (rule.monthly > day.day and (day + DAY).day == 1)
    if rule.monthly:
        which, weekday = rule.monthly.split()
        edge = day.day <= 7 if which == "first" else (day + 7 * DAY).month != day.month
        return edge and WEEKDAYS[day.weekday()] == weekday
    return True


def period_of(rule: When, day: date) -> date:
    while not is_due_day(rule, day):
        day -= DAY
    return day


def deliveries(rule: When, runs: list[date], last: date | None = None) -> list[tuple[date, Due]]:
    """What is delivered over these runs, each successful."""
    made = []
    for run in runs:
        verdict = due(rule, run, last)
        if verdict.due:
            made.append((run, verdict))
            last = run
    return made


@given(rhythms, dates, gaps)
def test_each_period_with_a_run_gets_one_delivery_in_its_first_run(
    rule: When, start: date, gaps: list[int]
) -> None:
    runs = [start + DAY * sum(gaps[:n]) for n in range(len(gaps))]
    first_runs = {period_of(rule, run): run for run in reversed(runs)}
    assert [run for run, _ in deliveries(rule, runs)] == sorted(first_runs.values())


@given(rhythms, dates)
def test_with_a_run_each_day_deliveries_fall_on_the_due_days(rule: When, start: date) -> None:
    runs = [start + DAY * n for n in range(100)]
    made = deliveries(rule, runs)
    assert made[0][0] == start, "a new target does not wait for its day"
    assert [run for run, _ in made[1:]] == [run for run in runs[1:] if is_due_day(rule, run)]
    for (_, verdict), (following, _) in pairwise(made):
        assert verdict.next == following


@given(rhythms, dates)
def test_due_days_around_a_date(rule: When, day: date) -> None:
    last, coming = last_due(rule, day), next_due(rule, day)
    assert last <= day < coming
    assert last == period_of(rule, day)
    assert is_due_day(rule, coming)
    assert not any(is_due_day(rule, day + DAY * n) for n in range(1, (coming - day).days))


@given(rhythms | st.just(When()), dates, st.none() | dates)
@example(When(weekly="fri"), date(2024, 2, 29), date(2024, 2, 29))
def test_every_answer_has_a_reason_and_a_next_day(rule: When, run: date, last: date | None) -> None:
    verdict = due(rule, run, last)
    assert verdict.reason
    assert verdict.next == next_due(rule, run)
    if not verdict.due:
        assert last is not None
        assert last <= run


@given(dates, st.none() | dates)
def test_every_run_means_every_run(run: date, last: date | None) -> None:
    assert due(When(), run, last) == Due(due=True, reason="due in every run", next=run + DAY)


@given(rhythms, dates, st.integers(1, 4000))
def test_a_delivery_from_the_future_counts_for_nothing(rule: When, run: date, days: int) -> None:
    """A clock that was ten years ahead for one night must not silence a target for ten years."""
    verdict = due(rule, run, run + DAY * days)
    assert verdict.due
    assert "still to come" in verdict.reason


FRIDAY = date(2026, 11, 27)


@pytest.mark.parametrize(
    ("rule", "run", "last", "said"),
    [
        ({"weekly": "fri"}, FRIDAY, date(2026, 11, 20), "due on Fri 27 Nov 2026"),
        ({"weekly": "fri"}, FRIDAY + DAY, date(2026, 11, 20), "catching up: missed on Fri 27 Nov 2026"),
        (
            {"weekly": "fri"},
            FRIDAY + DAY,
            FRIDAY,
            "not due: delivered on Fri 27 Nov 2026, due again on Fri 4 Dec 2026",
        ),
        ({"weekly": "fri"}, FRIDAY - DAY, None, "due: nothing has been delivered here yet"),
        ("daily", FRIDAY, FRIDAY, "not due: delivered on Fri 27 Nov 2026, due again on Sat 28 Nov 2026"),
        ("daily", FRIDAY, FRIDAY - DAY, "due on Fri 27 Nov 2026"),
        ({"monthly": "last fri"}, FRIDAY, date(2026, 10, 30), "due on Fri 27 Nov 2026"),
        ({"monthly": "first mon"}, FRIDAY, date(2026, 10, 5), "catching up: missed on Mon 2 Nov 2026"),
        ({"monthly": 31}, date(2027, 2, 28), date(2027, 1, 31), "due on Sun 28 Feb 2027"),
        (
            {"monthly": 15},
            date(2027, 1, 14),
            date(2026, 12, 15),
            "not due: delivered on Tue 15 Dec 2026, due again on Fri 15 Jan 2027",
        ),
        ({"weekly": "fri"}, FRIDAY, FRIDAY + DAY, "due: the last delivery is dated Sat 28 Nov 2026, which "),
    ],
)
def test_what_it_says(rule: object, run: date, last: date | None, said: str) -> None:
    verdict = due(when(rule), run, last)
    assert verdict.reason.startswith(said)
    assert verdict.due == (not said.startswith("not due"))


def test_catching_up_does_not_move_the_day() -> None:
    """Friday's run was missed, Saturday's caught up: the next one is due on Friday all the same."""
    runs = [FRIDAY + DAY, FRIDAY + 2 * DAY, FRIDAY + 6 * DAY, FRIDAY + 7 * DAY]
    made = deliveries(When(weekly="fri"), runs, last=date(2026, 11, 20))
    assert [run for run, _ in made] == [FRIDAY + DAY, FRIDAY + 7 * DAY]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("every run", When()),
        ("daily", When(daily=True)),
        ({"weekly": "sun"}, When(weekly="sun")),
        ({"monthly": "last fri"}, When(monthly="last fri")),
        ({"monthly": 1}, When(monthly=1)),
        (When(monthly=3), When(monthly=3)),
    ],
)
def test_what_a_plan_can_say(given: Any, meant: When) -> None:
    assert when(given) == meant
    assert when(meant.model_dump()) == meant
    assert RULE.validate_json(RULE.dump_json(meant)) == meant


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        ("weekly", "every run"),
        (7, "every run"),
        (["daily"], "every run"),
        ({"weekly": "friday"}, "fri"),
        ({"weekly": ["mon", "tue"]}, "mon"),
        ({"monthly": "second fri"}, "first"),
        ({"monthly": "last"}, "first"),
        ({"monthly": "LAST FRI"}, "first"),
        ({"monthly": 0}, "from 1 to 31"),
        ({"monthly": 32}, "from 1 to 31"),
        ({"monthly": True}, "from 1 to 31"),
        ({"monthly": 1.5}, "from 1 to 31"),
        ({"weekly": "fri", "monthly": 1}, "more than one thing"),
        ({"daily": True, "weekly": "fri"}, "more than one thing"),
        ({"yearly": 1}, "yearly"),
    ],
)
def test_what_a_plan_cannot_say(given: Any, cause: str) -> None:
    with pytest.raises(ValidationError, match=cause) as caught:
        when(given)
    assert caught.value.error_count() == 1


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
