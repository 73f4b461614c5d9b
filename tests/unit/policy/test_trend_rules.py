"""When a backup looks too different from the one before it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.options import Alarm
from tasks.policy.trend_rules import Snapshot, anomalies, pause
from tasks.records import TableProfile

TAKEN = datetime(2026, 11, 23, 2, tzinfo=UTC)
MB = 1_000_000


def snapshot(sequence: int, tables: dict[str, int], archive: int = 20 * MB, days: float = 0) -> Snapshot:
    return Snapshot(
        sequence=sequence,
        taken=TAKEN + timedelta(days=days),
        copy_bytes=100 * MB,
        archive_bytes=archive,
        tables=tuple(TableProfile(name=name, rows=rows, fingerprint="-") for name, rows in tables.items()),
    )


BEFORE = snapshot(7, {"ledger": 1000, "patients": 300, "users": 3})


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"ledger": 700, "patients": 300, "users": 3}, ["table ledger lost 30 % of its rows since number 7"]),
        ({"patients": 300, "users": 3}, ["table ledger is gone (1,000 rows in number 7)"]),
        ({"ledger": 1000, "patients": 0, "users": 3}, ["table patients lost 100 %"]),
        ({"ledger": 750, "patients": 225, "users": 0}, []),
        ({"ledger": 5000, "patients": 300, "users": 3, "new": 9}, []),
    ],
)
def test_rows(tables: dict[str, int], words: list[str]) -> None:
    found = anomalies([BEFORE], snapshot(8, tables, days=1), Alarm())
    assert len(found) == len(words)
    assert all(word in one.detail for word, one in zip(words, found, strict=True))


def test_what_a_profile_of_another_version_counts_otherwise() -> None:
    """Large objects were counted in pages of 2 KB, and are in pieces of 1 MB."""

    def held(sequence: int, rows: int, version: str) -> Snapshot:
        names = ("letters", "(large objects)")
        tables = tuple(TableProfile(name=n, rows=rows, fingerprint=f"{version}{rows}:a") for n in names)
        return snapshot(sequence, {}, days=sequence).model_copy(update={"tables": tables})

    (lost,) = anomalies([held(1, 500, "")], held(2, 5, "2:"), Alarm())
    assert "table letters lost 99 %" in lost.detail
    assert len(anomalies([held(1, 500, "2:")], held(2, 5, "2:"), Alarm())) == 2


def test_the_plan_says_how_much() -> None:
    now = snapshot(8, {"ledger": 700, "patients": 300, "users": 3}, days=1)
    assert anomalies([BEFORE], now, Alarm(rows_lost=30)) == ()
    assert len(anomalies([BEFORE], now, Alarm(rows_lost=29))) == 1


def test_data_that_no_longer_packs() -> None:
    held = {"ledger": 1000, "patients": 300, "users": 3}
    assert anomalies([BEFORE], snapshot(8, held, archive=29 * MB, days=1), Alarm()) == ()
    (found,) = anomalies([BEFORE], snapshot(8, held, archive=99 * MB, days=1), Alarm())
    assert "20% of its size then, 99% now" in found.detail
    assert found.sign == "packing"


def test_a_clock_that_went_back() -> None:
    held = {"ledger": 1000, "patients": 300, "users": 3}
    for days in (-1, -3650):
        (found,) = anomalies([BEFORE], snapshot(8, held, days=days), Alarm())
        assert "the clock went back" in found.detail
    assert anomalies([BEFORE], snapshot(8, held, days=-0.03), Alarm()) == ()


def test_a_clock_that_went_ahead() -> None:
    """Only the run itself is doubted: the next one, a day later, lifts it."""
    before, closed = snapshot(1, {}), snapshot(2, {}, days=60)
    assert pause([]) == pause([before]) == pause([before, closed]) == ""
    ahead = snapshot(2, {}, days=364)
    assert "364 days after the one before it, number 1;" in pause([before, ahead])
    assert not pause([before, ahead, snapshot(3, {}, days=365)])
    assert not pause([before, ahead, snapshot(3, {}, days=1)]), "going back is told otherwise"


def test_many_tables_are_counted_not_listed() -> None:
    before = snapshot(7, {f"t{n}": 100 for n in range(9)})
    found = anomalies([before], snapshot(8, {}, days=1), Alarm())
    assert len(found) == 4
    assert found[-1].detail == "and 6 more of the kind"


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 10**6), min_size=1),
    st.integers(1, 100),
    st.integers(0, 100),
)
def test_growth_is_never_suspicious_and_losses_are_by_the_limit(
    tables: dict[str, int], limit: int, lost: int
) -> None:
    before = snapshot(1, tables)
    grown = snapshot(2, {name: rows + lost for name, rows in tables.items()}, days=1)
    assert anomalies([before], grown, Alarm(rows_lost=limit)) == ()
    left = {name: rows * (100 - lost) // 100 for name, rows in tables.items()}
    expected = any(rows > 20 and left[n] < rows * (100 - limit) / 100 for n, rows in tables.items())
    assert bool(anomalies([before], snapshot(2, left, days=1), Alarm(rows_lost=limit))) == expected


def test_a_little_each_night_adds_up() -> None:
    seen = [snapshot(n, {"ledger": 1000 - 60 * n}, days=n) for n in range(5)]
    assert anomalies(seen, snapshot(5, {"ledger": 760}, days=5), Alarm()) == ()
    (found,) = anomalies(seen, snapshot(5, {"ledger": 700}, days=5), Alarm())
    assert found.detail == "table ledger lost 30 % of its rows since number 0 (1,000 then, 700 now)"
    assert anomalies(seen, snapshot(5, {"ledger": 700}, days=5), Alarm(), accepted=3) == ()
    months_later = snapshot(6, {"ledger": 700}, days=50)
    assert anomalies([*seen, months_later], snapshot(7, {"ledger": 680}, days=51), Alarm()) == ()


def contents(sequence: int, prints: Sequence[str], rows: int = 50, days: float = 0) -> Snapshot:
    tables = tuple(
        TableProfile(name=f"t{n}", rows=rows + n, fingerprint=text) for n, text in enumerate(prints)
    )
    return snapshot(sequence, {}, days=days).model_copy(update={"tables": tables})


def test_everything_replaced_and_nothing_counted_differently() -> None:
    (found,) = anomalies([contents(1, "abcd")], contents(2, "efgh", days=1), Alarm())
    assert found.sign == "contents"
    assert "all 4 tables" in found.detail
    assert anomalies([contents(1, "abcd")], contents(2, "efgd", days=1), Alarm()) == (), "one stayed"
    grown = contents(2, "efgh", rows=51, days=1)
    assert anomalies([contents(1, "abcd")], grown, Alarm()) == (), "a busy day"
    usual = [contents(1, "abcd"), contents(2, "efgh", days=1)]
    assert anomalies(usual, contents(3, "ijkl", days=2), Alarm()) == (), "it was so before"
    other_version = contents(2, [f"2:50:{mark}" for mark in "abcd"], days=1)
    assert anomalies([contents(1, "abcd")], other_version, Alarm()) == (), "computed another way"


def test_a_column_that_is_gone() -> None:
    def with_columns(*names: str) -> Snapshot:
        table = TableProfile(name="ledger", rows=5, fingerprint="-", columns=names)
        return snapshot(1, {}).model_copy(update={"tables": (table,)})

    (found,) = anomalies([with_columns("id", "cents")], with_columns("id"), Alarm())
    assert found == ("columns", "column cents of table ledger is gone")
    assert anomalies([with_columns()], with_columns("id"), Alarm()) == (), "not recorded then"
    assert anomalies([with_columns("id")], with_columns("id", "cents"), Alarm()) == ()
