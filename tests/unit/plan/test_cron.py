"""Cron expressions: what is accepted comes due, and the scheduler reads it alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prefect._vendor.croniter import croniter
from pydantic_core import PydanticCustomError

from tasks.plan.cron import DAYS, FIELDS, MONTHS, check_cron, longest_gap
from tasks.plan.groups import Schedule

FINE = [
    "0 2 * * *",
    "*/15 8-18 * * mon-fri",
    "0 6 * * sun",
    "0 6 * * 7",
    "0,30 0-23/2 1,15 JAN-mar,dec 0-6/2",
    "5 4 29 feb *",
    "  0   2 * * * ",
]
WRONG = [
    ("", "must have five parts"),
    ("0 2 * *", "must have five parts"),
    ("0 0 2 * * *", "must have five parts"),
    ("@daily", "must have five parts"),
    ("60 2 * * *", "the minute is not one that cron knows: 0 to 59"),
    ("-1 2 * * *", "the minute"),
    ("0 24 * * *", "the hour is not one that cron knows: 0 to 23"),
    ("0 2 0 * *", "the day of the month is not one that cron knows: 1 to 31"),
    ("0 2 32 * *", "the day of the month"),
    ("0 2 L * *", "the day of the month"),
    ("0 2 * 13 *", "the month is not one that cron knows: 1 to 12 or jan to dec"),
    ("0 2 * mon *", "the month"),
    ("0 2 * * 8", "the day of the week is not one that cron knows: 0 to 7 or sun to sat"),
    ("0 2 * * jan", "the day of the week"),
    ("0 2 * * fri-mon", "the day of the week"),
    ("0 2 * * 1#1", "the day of the week"),
    ("0 2 * * monday", "the day of the week"),
    ("*/0 2 * * *", "the minute"),
    ("*/60 2 * * *", "the minute"),
    ("5/10 2 * * *", "the minute"),
    ("*-5 2 * * *", "the minute"),
    ("1,,2 2 * * *", "the minute"),
    ("R 2 * * *", "the minute"),
    ("٣ 2 * * *", "the minute"),
    ("0 2 31 2 *", "never comes due"),
    ("0 2 30 feb *", "never comes due"),
    ("0 2 31 4,6,9,11 *", "never comes due"),
]


@pytest.mark.parametrize("text", FINE)
def test_a_cron_expression_is_kept_as_written(text: str) -> None:
    assert check_cron(text) == text
    assert croniter.is_valid(text.strip())


@pytest.mark.parametrize(("text", "cause"), WRONG)
def test_what_is_refused(text: str, cause: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        check_cron(text)
    assert caught.value.message().startswith(cause)
    assert not text or text not in caught.value.message()


def parts(low: int, high: int, words: tuple[str, ...]) -> st.SearchStrategy[str]:
    number = st.integers(low - 1, high + 1)
    names = st.sampled_from(words) if words else number.map(str)
    single = st.one_of(number.map(str), names)
    spans = st.tuples(number, number).map(lambda ends: f"{ends[0]}-{ends[1]}")
    steps = st.tuples(st.one_of(st.just("*"), spans), st.integers(0, high + 2)).map(
        lambda s: f"{s[0]}/{s[1]}"
    )
    element = st.one_of(st.just("*"), single, spans, steps)
    return st.lists(element, min_size=1, max_size=3).map(",".join)


EXPRESSIONS = st.tuples(*(parts(field.low, field.high, field.words) for field in FIELDS)).map(" ".join)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(EXPRESSIONS)
def test_whatever_is_accepted_comes_due_in_the_scheduler(text: str) -> None:
    try:
        check_cron(text)
    except PydanticCustomError:
        return
    now = datetime(2026, 11, 23, tzinfo=UTC)
    # The longest wait is for 29 February over a century year without one.
    assert croniter(text, now).get_next(datetime) < now + timedelta(days=366 * 8)


def test_names_stand_for_their_numbers() -> None:
    now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    for number, name in enumerate(DAYS):
        check_cron(f"0 2 * * {name}")
        assert croniter(f"0 2 * * {name}", now).get_next() == croniter(f"0 2 * * {number}", now).get_next()
    for number, name in enumerate(MONTHS, 1):
        check_cron(f"0 2 1 {name} *")
        assert croniter(f"0 2 1 {name} *", now).get_next() == croniter(f"0 2 1 {number} *", now).get_next()


@pytest.mark.parametrize(
    ("cron", "hours"),
    [
        ("0 2 * * *", 24),
        ("0 2 * * mon-fri", 72),
        ("*/5 8-17 * * mon-fri", 62 + 5 / 60),
        ("0 0 1 * *", 31 * 24),
        ("0 0 29 2 *", 2921 * 24),
    ],
)
def test_longest_gap(cron: str, hours: float) -> None:
    assert longest_gap(cron) == timedelta(hours=hours)


def test_after_how_many_hours_a_silence_is_an_alarm() -> None:
    assert Schedule().silent_hours is None
    assert Schedule(backup="0 2 * * mon-fri").silent_hours == 74
    assert Schedule(backup="0 2 * * *", alarm_hours=200).silent_hours == 200
