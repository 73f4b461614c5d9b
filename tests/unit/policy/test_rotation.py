"""Which medium has its turn: never one twice running, Fridays in turn, whatever the holidays."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.calendars import WEEKDAYS, Calendar
from tasks.policy.rotation import (
    Advice,
    is_run_day,
    medium_for,
    next_run_day,
    previous_run_day,
    repeated,
    tonight,
    where,
)

DAY = timedelta(days=1)
OFFICE: dict[str, Any] = {"mon": "MON", "tue": "TUE", "wed": "WED", "thu": "THU", "fri": ["F1", "F2"]}


def calendar(**options: Any) -> Calendar:
    """The calendar of the practice, with these options."""
    return Calendar.model_validate({**OFFICE, "since": "2026-11-02", **options})


def sets(*media: Any, **options: Any) -> Calendar:
    return Calendar.model_validate({"sets": media, **options})


starts = st.dates(date(2019, 1, 1), date(2035, 12, 31))


@st.composite
def closed(draw: st.DrawFn, start: date) -> list[dict[str, date]]:
    """Up to six stretches of holidays around a date; they may touch and overlap."""
    found = []
    for _ in range(draw(st.integers(0, 6))):
        first = start + DAY * draw(st.integers(-30, 150))
        found.append({"first": first, "last": first + DAY * draw(st.sampled_from([0, 0, 1, 5, 6, 13, 27]))})
    return found


@st.composite
def by_weekday(draw: st.DrawFn) -> tuple[Calendar, date]:
    start = draw(starts)
    days = draw(st.lists(st.sampled_from(WEEKDAYS), min_size=1, unique=True))
    sizes = {day: draw(st.integers(1, 5)) for day in days}
    if sum(sizes.values()) < 3:
        sizes[days[0]] += 2
    media = {day: [f"{day}-{n}" for n in range(size)] for day, size in sizes.items()}
    holidays, since = draw(closed(start)), start + DAY * draw(st.integers(-900, 900))
    return Calendar.model_validate({**media, "holidays": holidays, "since": since}), start


@st.composite
def by_sets(draw: st.DrawFn) -> tuple[Calendar, date]:
    start = draw(starts)
    sizes = draw(st.lists(st.integers(1, 3), min_size=3, max_size=7))
    media = [[f"S{place}-{n}" for n in range(size)] for place, size in enumerate(sizes)]
    days = draw(st.lists(st.sampled_from(WEEKDAYS), min_size=1, unique=True))
    holidays, since = draw(closed(start)), start + DAY * draw(st.integers(-900, 900))
    options = {"sets": media, "days": days, "holidays": holidays, "since": since}
    return Calendar.model_validate(options), start


calendars = by_weekday() | by_sets()


def media_of(plan: Calendar, start: date, days: int = 200) -> list[tuple[date, str]]:
    found = ((start + DAY * n, medium_for(plan, start + DAY * n)) for n in range(days))
    return [(day, label) for day, label in found if label is not None]


def closed_on(plan: Calendar, day: date) -> bool:
    return any(free.first <= day <= free.last for free in plan.holidays)


@settings(deadline=None)
@given(calendars)
def test_never_one_medium_on_two_run_days_running(made: tuple[Calendar, date]) -> None:
    plan, start = made
    for (day, one), (_, following) in pairwise(media_of(plan, start)):
        assert one != following, day


@settings(deadline=None)
@given(calendars)
def test_a_medium_is_due_on_the_calendars_days_but_for_holidays(made: tuple[Calendar, date]) -> None:
    plan, start = made
    for n in range(200):
        day = start + DAY * n
        named = WEEKDAYS[day.weekday()] in plan.days if plan.sets else plan.week[day.weekday()]
        assert is_run_day(plan, day) is (bool(named) and not closed_on(plan, day))
        assert (medium_for(plan, day) is not None) is is_run_day(plan, day)
        assert medium_for(plan, day) in (None, *plan.labels)


@settings(deadline=None)
@given(by_weekday())
def test_media_of_one_weekday_take_turns_and_holidays_cost_no_turn(made: tuple[Calendar, date]) -> None:
    plan, start = made
    used = media_of(plan, start, 400)
    for weekday, turns in enumerate(plan.week):
        if len(turns) > 1:
            labels = [label for day, label in used if day.weekday() == weekday]
            for one, following in pairwise(labels):
                assert turns.index(following) == (turns.index(one) + 1) % len(turns)


@settings(deadline=None)
@given(by_weekday())
def test_a_days_own_medium_unless_it_was_the_last_one_used(made: tuple[Calendar, date]) -> None:
    plan, start = made
    for (_, before), (day, label) in pairwise(media_of(plan, start)):
        own = plan.week[day.weekday()]
        assert label in own or (own == (before,) and plan.holidays)


@settings(deadline=None)
@given(by_sets())
def test_sets_follow_one_another(made: tuple[Calendar, date]) -> None:
    plan, start = made
    place = {label: number for number, members in enumerate(plan.sets) for label in members}
    labels = [label for _, label in media_of(plan, start, 400)]
    for one, following in pairwise(labels):
        assert place[following] == (place[one] + 1) % len(plan.sets)
    for number, members in enumerate(plan.sets):
        own = [members.index(label) for label in labels if place[label] == number]
        assert all(following == (one + 1) % len(members) for one, following in pairwise(own))


@settings(deadline=None)
@given(calendars)
def test_run_days_around_a_date(made: tuple[Calendar, date]) -> None:
    plan, start = made
    before, after = previous_run_day(plan, start), next_run_day(plan, start)
    assert before < start < after
    assert is_run_day(plan, before)
    assert is_run_day(plan, after)
    assert not any(
        is_run_day(plan, before + DAY * n)
        for n in range(1, (after - before).days)
        if before + DAY * n != start
    )


@settings(deadline=None)
@given(calendars, st.data())
def test_who_follows_the_advice_has_what_is_needed(made: tuple[Calendar, date], data: st.DataObject) -> None:
    """Runs may be missed, because nobody was there to change media or for a fault of their own."""
    plan, start = made
    missed = data.draw(st.sets(st.integers(0, 40)))
    nobody_there = data.draw(st.booleans())
    uses: list[tuple[date, str]] = []
    home: set[str] = set()
    for number, (day, label) in enumerate(media_of(plan, start, 60)):
        advice = tonight(plan, day, uses)
        assert advice.plug_in == label
        if number in missed and nobody_there:
            continue
        home -= set(advice.bring_back)
        home |= {advice.take_home} - {None}
        assert label not in home, f"{day}: what is to be plugged in is not in the house"
        if uses and max(uses)[1] != label:
            assert max(uses)[1] in home, f"{day}: the newest copy is not out of the house"
        if nobody_there or not missed:
            assert home == set(where(uses, plan, day)) - {label}
        if number not in missed:
            uses.append((day, label))


@settings(deadline=None)
@given(calendars, st.data())
def test_no_run_uses_what_the_run_before_it_used(made: tuple[Calendar, date], data: st.DataObject) -> None:
    plan, start = made
    used = media_of(plan, start, 60)
    kept = [use for use in used if data.draw(st.booleans())]
    for (before, label), (day, due) in pairwise(used):
        assert repeated(plan, day, kept) == (label if (before, label) in kept else None)
        assert repeated(plan, day, kept) != due


# The calendar of the domain text


def test_fridays_alternate_over_a_year_of_53_weeks() -> None:
    fridays = [date(2026, 12, 4) + 7 * DAY * n for n in range(7)]
    assert fridays[4].isocalendar().week == 53
    labels = [medium_for(calendar(since="2026-12-04"), day) for day in fridays]
    assert labels == ["F1", "F2", "F1", "F2", "F1", "F2", "F1"]


def test_a_friday_off_costs_no_turn() -> None:
    plan = calendar(since="2026-12-04", holidays=["2026-12-25", "2027-01-01"])
    fridays = [date(2026, 12, 4) + 7 * DAY * n for n in range(7)]
    assert [medium_for(plan, day) for day in fridays] == ["F1", "F2", "F1", None, None, "F2", "F1"]


def test_five_fridays_and_turns_before_the_first_day() -> None:
    plan = calendar(fri=["F1", "F2", "F3", "F4", "F5"], since="2026-11-06")
    fridays = [date(2026, 10, 30) + 7 * DAY * n for n in range(7)]
    assert [medium_for(plan, day) for day in fridays] == ["F5", "F1", "F2", "F3", "F4", "F5", "F1"]


def test_holidays_in_the_past_can_go_when_since_moves_on() -> None:
    before = calendar(since="2026-11-06", holidays=["2026-11-27"])
    after = calendar(since="2026-12-11")
    day = date(2026, 12, 11)
    assert medium_for(before, day) == medium_for(after, day) == "F1"
    for n in range(300):
        assert medium_for(before, day + DAY * n) == medium_for(after, day + DAY * n)


def test_a_stand_in_after_a_week_of_holidays() -> None:
    """Monday, closed, Monday: Thursday's medium stands in, and the Friday media wait out of the house."""
    plan = calendar(holidays=["2026-12-22 to 2026-12-27"])
    assert medium_for(plan, date(2026, 12, 21)) == "MON"
    assert medium_for(plan, date(2026, 12, 28)) == "THU"
    assert medium_for(plan, date(2026, 12, 29)) == "TUE"
    longer = calendar(holidays=["2026-12-22 to 2026-12-27", "2026-12-29 to 2026-12-30"])
    assert medium_for(longer, date(2026, 12, 28)) == "WED"
    assert medium_for(longer, date(2026, 12, 31)) == "THU"


def test_stand_ins_and_own_media_alternate_over_several_such_weeks() -> None:
    plan = calendar(holidays=["2026-12-22 to 2026-12-27", "2026-12-29 to 2027-01-03"])
    mondays = [date(2026, 12, 21) + 7 * DAY * n for n in range(3)]
    assert [medium_for(plan, day) for day in mondays] == ["MON", "THU", "MON"]


def test_three_media_and_no_weekends() -> None:
    plan = sets("A", "B", "C", days=WEEKDAYS[:5], since="2026-11-02")
    used = media_of(plan, date(2026, 11, 2), 10)
    assert [label for _, label in used] == ["A", "B", "C", "A", "B", "C", "A", "B"]


MONDAY = date(2026, 11, 9)
LOG = [(date(2026, 10, 30), "F2"), (date(2026, 11, 5), "THU"), (date(2026, 11, 6), "F1")]


@pytest.mark.parametrize(
    ("day", "uses", "said", "away"),
    [
        (date(2026, 11, 5), LOG, "tonight: THU; take F2 home", ("F2",)),
        (date(2026, 11, 6), LOG, "tonight: F1; take THU home", ("THU", "F2")),
        (MONDAY - DAY, LOG, "tonight: no medium; take F1 home; bring THU and F2", ("F1",)),
        (MONDAY, LOG, "tonight: MON; take F1 home; bring THU and F2", ("F1",)),
        (MONDAY + DAY, LOG, "tonight: TUE; take F1 home; bring THU and F2", ("F1",)),
        (MONDAY + DAY, [*LOG, (MONDAY, "MON")], "tonight: TUE; take MON home", ("MON", "F1")),
        (
            MONDAY + 2 * DAY,
            [*LOG, (MONDAY, "MON"), (MONDAY + DAY, "TUE")],
            "tonight: WED; take TUE home; bring MON",
            ("TUE", "F1"),
        ),
        (MONDAY, [], "tonight: MON", ()),
        # Nothing worked for a week: the newest copy is at home and has its turn again.
        (MONDAY, [(MONDAY - 7 * DAY, "MON")], "tonight: MON; bring MON", ("MON",)),
    ],
)
def test_advice(day: date, uses: list[tuple[date, str]], said: str, away: tuple[str, ...]) -> None:
    assert tonight(calendar(), day, uses).text == said
    assert where(uses, calendar(), day) == away
    assert tonight(calendar(), day, uses[::-1]) == tonight(calendar(), day, uses)


def test_advice_is_a_record() -> None:
    assert tonight(calendar(), MONDAY, LOG) == Advice(
        plug_in="MON",
        take_home="F1",
        bring_back=("THU", "F2"),
        text="tonight: MON; take F1 home; bring THU and F2",
    )


# What a plan can say


def test_what_stands_in_a_plan_survives_a_round_trip() -> None:
    plan = calendar(
        holidays=["2026-12-25", date(2026, 12, 26), "2026-12-31 to 2027-01-03"], since=date(2026, 1, 1)
    )
    assert [(free.first.day, free.last.day) for free in plan.holidays] == [(25, 25), (26, 26), (31, 3)]
    assert (plan.mon, plan.fri, plan.sat) == (("MON",), ("F1", "F2"), ())
    assert Calendar.model_validate(plan.model_dump()) == plan
    assert Calendar.model_validate_json(plan.model_dump_json()) == plan


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({}, "either of weekdays"),
        ({**OFFICE, "sets": ["A", "B", "C"]}, "either of weekdays"),
        ({"sets": ["A", "B"]}, "fewer than 3 media"),
        ({"sets": [["A", "B", "C"]]}, "fewer than 3 media"),
        ({"fri": ["F1", "F2"]}, "fewer than 3 media"),
        ({"sets": ["A", "B", []]}, "holds an empty list"),
        ({**OFFICE, "sat": "mon"}, "names a medium twice"),
        ({**OFFICE, "fri": ["F1", "f1"]}, "names a medium twice"),
        ({"sets": ["A", "B", "C", "A"]}, "names a medium twice"),
        ({**OFFICE, "days": ["mon"]}, "goes with `sets` only"),
        ({"sets": ["A", "B", "C"], "days": []}, "at least 1"),
        ({"sets": ["A", "B", "C"], "days": ["mon", "mon"]}, "a day twice"),
        ({"sets": ["A", "B", "C"], "days": ["monday"]}, "mon"),
        ({**OFFICE, "mon": "-x"}, "sticker"),
        ({**OFFICE, "mon": "a/b"}, "sticker"),
        ({**OFFICE, "mon": 1}, "mon"),
        ({**OFFICE, "monday": "MON"}, "monday"),
        ({**OFFICE, "holidays": ["christmas"]}, "must be a date or two"),
        ({**OFFICE, "holidays": ["2026-02-30"]}, "must be a date or two"),
        ({**OFFICE, "holidays": [20261225]}, "must be a date or two"),
        ({**OFFICE, "holidays": ["2026-12-25 to 2026-12-24"]}, "on or after"),
        ({**OFFICE, "holidays": ["2026-12-25 to 2036-12-26"]}, "at most 92 days"),
        ({**OFFICE, "since": 1700000000}, "must be a date"),
        ({**OFFICE, "since": "1.1.2026"}, "must be a date"),
    ],
)
def test_what_a_plan_cannot_say(options: dict[str, Any], cause: str) -> None:
    with pytest.raises(ValidationError, match=cause):
        Calendar.model_validate(options)


def test_every_option_is_explained() -> None:
    for name, field in Calendar.model_fields.items():
        assert field.description, name
