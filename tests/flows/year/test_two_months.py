"""Two months of the year: a day closed, a service down, a machine off, and a clock that is wrong for a night.

All 400 nights are in test_year.py, for `make test-all`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest

from tests.flows.year import events
from tests.flows.year.living import (
    Year,
    lived,
    nothing_good_goes_while_the_clock_is_wrong,
    restore_the_newest,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
NIGHTS = [day for day in events.NIGHTS if date(2026, 5, 11) <= day <= date(2026, 7, 12)]


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Year]:
    with lived(tmp_path_factory.mktemp("year"), NIGHTS) as year:
        yield year


def test_no_medium_twice_running(year: Year) -> None:
    used = [label for _, label in year.log()]
    assert all(one != other for one, other in pairwise(used))
    assert Counter(used) == Counter(label for _, label in year.almanac.log)
    assert min(Counter(used).values()) >= 3 and len(set(used)) == 6, "all six are in use"


@pytest.mark.parametrize(
    ("day", "words"),
    [
        (date(2026, 5, 15), "cannot be reached"),
        (date(2026, 6, 17), "clock is 8736 hours ahead of the service's"),
    ],
    ids=str,
)
def test_what_went_wrong_was_said(year: Year, day: date, words: str) -> None:
    assert words in year.nights[day].problems["cloud"]


def test_what_a_target_missed_it_gets_in_the_next_run(year: Year) -> None:
    got = {day for day, night in year.nights.items() if night.outcomes["cloud"] == "delivered"}
    assert date(2026, 5, 16) in got, "the service was down on the Friday"
    assert date(2026, 7, 11) in got, "the machine was off on the Friday"


def test_with_the_clock_wrong_nothing_good_goes(year: Year) -> None:
    nothing_good_goes_while_the_clock_is_wrong(year)


def test_the_newest_backup_of_every_target_restores(year: Year, tmp_path: Path) -> None:
    restore_the_newest(year, tmp_path)
