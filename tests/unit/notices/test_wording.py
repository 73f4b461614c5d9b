"""Sizes, durations, times and foreign text in words."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.notices.wording import (
    count_text,
    duration_text,
    plain_text,
    size_text,
    stamp_text,
    when_text,
)

UNITS = {
    "byte": 1,
    "bytes": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "PB": 10**15,
    "EB": 10**18,
}
MOMENT = datetime(2026, 11, 23, 2, 0, 7, tzinfo=UTC)


def in_bytes(text: str) -> float:
    number, unit = text.split(" ")
    return float(number) * UNITS[unit]


def in_seconds(text: str) -> int:
    words = text.split(" ")
    return sum(
        int(number) * {"s": 1, "min": 60, "h": 3600, "d": 86400}[unit]
        for number, unit in zip(words[::2], words[1::2], strict=True)
    )


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.00 kB"),
        (9_994, "9.99 kB"),
        (9_996, "10.0 kB"),
        (99_960, "100 kB"),
        (999_499, "999 kB"),
        (999_999, "1.00 MB"),
        (812_345_678, "812 MB"),
        (4_213_456_789, "4.21 GB"),
        (10**18, "1.00 EB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


@given(st.integers(0, 10**18))
def test_a_size_in_words_is_off_by_half_a_percent_at_most(size: int) -> None:
    assert in_bytes(size_text(size)) == pytest.approx(size, rel=0.00501)


@given(st.integers(0, 10**18), st.integers(0, 10**18))
def test_a_larger_size_never_reads_smaller(one: int, other: int) -> None:
    small, large = sorted((one, other))
    assert in_bytes(size_text(small)) <= in_bytes(size_text(large)) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.2, "under 1 s"),
        (12.4, "12 s"),
        (59.6, "1 min 0 s"),
        (72, "1 min 12 s"),
        (3599.7, "1 h 0 min"),
        (7530, "2 h 5 min"),
        (49 * 3600, "2 d 1 h"),
        (-30, "0 s"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@given(st.floats(1, 10**7), st.floats(1, 10**7))
def test_a_longer_duration_never_reads_shorter(one: float, other: float) -> None:
    short, long = sorted((one, other))
    assert in_seconds(duration_text(short)) <= in_seconds(duration_text(long))


def test_times_name_their_zone() -> None:
    assert when_text(MOMENT) == "Mon 23 Nov 2026, 02:00 UTC"
    new_york = ZoneInfo("America/New_York")
    assert when_text(MOMENT, new_york) == "Sun 22 Nov 2026, 21:00 EST (23 Nov, 02:00 UTC)"
    summer = datetime(2026, 7, 1, 16, 5, tzinfo=UTC)
    assert when_text(summer, new_york) == "Wed 1 Jul 2026, 12:05 EDT (16:05 UTC)"


def test_a_zone_without_letters_shows_its_offset() -> None:
    text = when_text(MOMENT, ZoneInfo("America/Sao_Paulo"))
    assert text == "Sun 22 Nov 2026, 23:00 UTC-0300 (23 Nov, 02:00 UTC)"


def test_a_zone_that_is_utc_is_not_said_twice() -> None:
    assert when_text(MOMENT, ZoneInfo("Etc/UTC")) == "Mon 23 Nov 2026, 02:00 UTC"


def test_naive_and_foreign_moments_are_brought_to_utc() -> None:
    assert when_text(MOMENT.replace(tzinfo=None)) == when_text(MOMENT)
    assert stamp_text(MOMENT.astimezone(timezone(timedelta(hours=5)))) == "2026-11-23 02:00:07 UTC"


def test_counts() -> None:
    assert count_text(1_204_553) == "1,204,553"
    assert count_text(1, "table") == "1 table"
    assert count_text(0, "table") == "0 tables"
    assert count_text(3, "copy", "copies") == "3 copies"


@pytest.mark.parametrize(
    ("foreign", "text"),
    [
        ("visits", "visits"),
        ("one\n\r\n two\tthree", "one two three"),
        ("\x1b[2Jgone", "[U+001B][2Jgone"),
        ("cod\u202etxt.exe", "cod[U+202E]txt.exe"),
        ("zero\u200bwidth", "zero[U+200B]width"),
        ("half \udce4 pair", "half [U+DCE4] pair"),
        ("line\u2028break", "line break"),
        ("Überweisungen 患者 ملف", "Überweisungen 患者 ملف"),
    ],
)
def test_foreign_text_is_made_harmless(foreign: str, text: str) -> None:
    assert plain_text(foreign) == text


def test_long_text_loses_its_middle() -> None:
    text = plain_text("a" * 5000 + "z", limit=40)
    assert len(text) == 40
    assert text.startswith("aaa")
    assert "…" in text
    assert text.endswith("az")


@given(st.text(st.characters(codec=None), max_size=300))
def test_nothing_unseen_comes_through(foreign: str) -> None:
    text = plain_text(foreign)
    assert not {unicodedata.category(character) for character in text} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert text.encode("utf-8").decode("utf-8") == text
