"""The fingerprint notices what counting cannot; users' values are read safely."""

from __future__ import annotations

import random
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from tasks.checks.measure import convert, measure_checks, profile, scalar, statement_problem
from tasks.errors import ValidationError
from tasks.options import UserCheck
from tasks.records import Table, TableProfile

TAKEN = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
TABLE = Table(name="t", reference='"t"', columns=('"id"', '"note"'))


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)) as opened:
        opened.execute("CREATE TABLE t (id, note)")
        yield opened


def fingerprint(connection: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> str:
    connection.execute("DELETE FROM t")
    connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
    return profile(connection, [TABLE]).tables[0].fingerprint


ROWS: list[tuple[Any, ...]] = [(number, f"note number {number} " + "x" * 200) for number in range(300)]


class TestFingerprint:
    def test_order_does_not_matter(self, connection: sqlite3.Connection) -> None:
        shuffled = random.Random(1).sample(ROWS, len(ROWS))
        assert shuffled != ROWS
        assert fingerprint(connection, shuffled) == fingerprint(connection, ROWS)
        assert fingerprint(connection, ROWS).startswith("300:")

    @pytest.mark.parametrize(
        "change",
        [
            lambda rows: rows[:-1],
            lambda rows: [*rows, rows[0]],
            lambda rows: [(*rows[0][:1], rows[0][1].replace("xxx", "xyz", 1)), *rows[1:]],
            lambda rows: [(rows[0][0], rows[1][1]), (rows[1][0], rows[0][1]), *rows[2:]],
            lambda rows: [(str(rows[0][0]), rows[0][1]), *rows[1:]],
            lambda rows: [(float(rows[0][0]), rows[0][1]), *rows[1:]],
            lambda rows: [(None, rows[0][1]), *rows[1:]],
            lambda rows: [(rows[0][0], rows[0][1].encode()), *rows[1:]],
            lambda rows: [(rows[0][0], ""), *rows[1:]],
            lambda rows: [rows[1], rows[1], *rows[2:]],
        ],
        ids=[
            "a row less",
            "a row twice",
            "three bytes inside a text",
            "values swapped between rows",
            "int to text",
            "int to float",
            "NULL",
            "text to blob",
            "empty text",
            "another row instead",
        ],
    )
    def test_every_change_shows(self, connection: sqlite3.Connection, change: Any) -> None:
        assert fingerprint(connection, change(ROWS)) != fingerprint(connection, ROWS)

    def test_swaps_that_cancel_out_in_a_plain_sum(self, connection: sqlite3.Connection) -> None:
        def plain_sum(rows: list[tuple[Any, ...]]) -> int:
            return sum(zlib.crc32(repr(row).encode()) for row in rows)

        chance, blind = random.Random(2), 0
        for _ in range(60_000):
            first, second = (f"{chance.getrandbits(64):016x}" for _ in range(2))
            rows: list[tuple[Any, ...]] = [(first[:8], first[8:]), (second[:8], second[8:])]
            swapped: list[tuple[Any, ...]] = [(first[:8], second[8:]), (second[:8], first[8:])]
            if plain_sum(rows) == plain_sum(swapped):
                blind += 1
                assert fingerprint(connection, rows) != fingerprint(connection, swapped)
        assert blind > 0

    def test_progress_counts_rows_of_all_tables(self, connection: sqlite3.Connection) -> None:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 15000) "
            "INSERT INTO t SELECT i, i FROM n"
        )
        seen: list[tuple[int, int]] = []
        found = profile(
            connection,
            [TABLE, TABLE.model_copy(update={"name": "again"})],
            lambda done, total: seen.append((done, total)),
        )
        assert seen == [(10_000, 0), (25_000, 0), (30_000, 30_000)]
        assert [table.name for table in found.tables] == ["again", "t"]
        assert found.rows == 30_000

    def test_one_row_at_a_time(self) -> None:
        """A driver is never asked for many rows at once: each may hold megabytes."""
        asked: list[int] = []
        with closing(sqlite3.connect(":memory:")) as connection:

            def big(number: int) -> bytes:
                asked.append(number)
                return b"x"

            connection.create_function("big", 1, big)
            connection.execute("CREATE TABLE t (id INTEGER)")
            connection.executemany("INSERT INTO t VALUES (?)", [(number,) for number in range(20_000)])
            table = Table(name="t", reference="t", columns=("big(id)",))
            ahead: list[int] = []
            profile(connection, [table], lambda done, _total: ahead.append(len(asked) - done))
        assert max(ahead) <= 1

    def test_a_digest_is_computed_by_the_server(self, connection: sqlite3.Connection) -> None:
        """Version 2: one row comes over, whatever the table holds; nothing stands for no rows."""
        table = TABLE.model_copy(update={"digest": "hex(sum(id) + count(note))"})
        empty = profile(connection, [table]).tables[0]
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(5, "a"), (6, None)])
        seen: list[tuple[int, int]] = []
        full = profile(connection, [table, TABLE], lambda done, total: seen.append((done, total)))
        assert empty == TableProfile(name="t", rows=0, fingerprint="2:0:0", columns=("id", "note"))
        assert full.tables[0].fingerprint == f"2:2:{b'12'.hex()}"
        assert full.tables[1].fingerprint.startswith("2:")
        assert [found.version for found in full.tables] == [2, 1]
        assert full.version == 2
        assert seen == [(2, 0), (4, 4)]
        with pytest.raises(ValidationError, match=r"cannot read table t .*SQLITE_ERROR"):
            profile(connection, [TABLE.model_copy(update={"digest": "md5(id)"})])

    def test_a_table_that_cannot_be_read_is_named_without_values(
        self, connection: sqlite3.Connection
    ) -> None:
        connection.execute("INSERT INTO t VALUES (1, CAST(x'4dfc6c6c6572' AS TEXT))")
        with pytest.raises(ValidationError, match="cannot read table t ") as caught:
            profile(connection, [TABLE])
        assert "ller" not in str(caught.value)
        assert caught.value.__cause__ is None
        with pytest.raises(ValidationError, match=r"cannot read table gone .*SQLITE_ERROR"):
            profile(connection, [Table(name="gone", reference='"gone"', columns=("a",))])

    def test_what_progress_raises_comes_through(self, connection: sqlite3.Connection) -> None:
        def cancel(_done: int, _total: int) -> None:
            raise RuntimeError("stop")

        with pytest.raises(RuntimeError, match="stop"):
            profile(connection, [TABLE], cancel)


class TestScalar:
    @pytest.mark.parametrize(
        ("sql", "value"),
        [
            ("SELECT 7", 7),
            ("  select 'a;b -- c' ; ", "a;b -- c"),
            ("WITH n(i) AS (SELECT 3) SELECT i FROM n", 3),
            ("-- how many\nSELECT /* ; */ 1", 1),
            ("SELECT max(id) FROM t", None),
        ],
    )
    def test_values(self, connection: sqlite3.Connection, sql: str, value: object) -> None:
        assert scalar(connection, sql) == value

    @pytest.mark.parametrize(
        ("sql", "words"),
        [
            ("SELECT id FROM t", "no row"),
            ("SELECT 1 UNION ALL SELECT 2", "more than one row"),
            ("SELECT 1, 2", "2 columns"),
            ("DELETE FROM t", "begin with SELECT"),
            ("PRAGMA user_version", "begin with SELECT"),
            ("selection", "begin with SELECT"),
            ("", "begin with SELECT"),
            ("SELECT 1; DELETE FROM t", "more than one statement"),
            ("SELECT nothing FROM t", "SQLITE_ERROR"),
        ],
    )
    def test_refusals(self, connection: sqlite3.Connection, sql: str, words: str) -> None:
        with pytest.raises(ValidationError, match=words):
            scalar(connection, sql)

    def test_a_quote_cannot_hide_a_second_statement(self) -> None:
        assert statement_problem("SELECT 'it''s'; DROP TABLE t --'")
        assert not statement_problem("SELECT 'x; DROP TABLE t'")

    def test_time_limit(self, connection: sqlite3.Connection) -> None:
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        with pytest.raises(ValidationError, match=r"longer than 0\.2 s"):
            scalar(connection, endless, seconds=0.2)
        assert scalar(connection, "SELECT 1", seconds=0.2) == 1


class TestConvert:
    @pytest.mark.parametrize(
        ("value", "days"),
        [
            ("2026-11-22 02:00:00", 1.0),
            (b"2026-11-22T02:00:00Z", 1.0),
            ("2026-11-22T03:00:00+01:00", 1.0),
            ("2026-11-23", 2 / 24),
            (datetime(2026, 11, 20, 2, 0), 3.0),
            (datetime(2026, 11, 23, 4, 0, tzinfo=timezone(timedelta(hours=1))), -1 / 24),
            (date(2026, 11, 22), 1 + 2 / 24),
            (int(TAKEN.timestamp()) - 86_400, 1.0),
            (TAKEN.timestamp() + 43_200.0, -0.5),
            (Decimal(int(TAKEN.timestamp())), 0.0),
        ],
    )
    def test_age_is_counted_to_the_copys_time(self, value: object, days: float) -> None:
        assert convert(value, "age_days", TAKEN) == pytest.approx(days)

    @pytest.mark.parametrize(
        ("value", "as_", "result"),
        [
            (None, "age_days", None),
            (None, "number", None),
            (3, "number", 3),
            (2**60 + 1, "number", 2**60 + 1),
            (2.5, "number", 2.5),
            (Decimal(2**60 + 1), "number", 2**60 + 1),
            (Decimal("2.5"), "number", 2.5),
            ("abc", "text", "abc"),
            (b"\xc3\xbc", "text", "ü"),
            (12, "text", "12"),
        ],
    )
    def test_numbers_and_texts(self, value: object, as_: Any, result: object) -> None:
        assert convert(value, as_, TAKEN) == result

    @pytest.mark.parametrize(
        ("value", "as_"),
        [
            ("12", "number"),
            (float("nan"), "number"),
            (float("inf"), "number"),
            (Decimal("NaN"), "number"),
            (date(2026, 1, 1), "number"),
            ("Ursula", "age_days"),
            (1e300, "age_days"),
            (float("nan"), "age_days"),
            (b"M\xfcller", "text"),
        ],
    )
    def test_what_does_not_fit_is_refused_without_naming_it(self, value: object, as_: Any) -> None:
        with pytest.raises(ValueError, match="it is n") as caught:
            convert(value, as_, TAKEN)
        assert "Ursula" not in str(caught.value)
        assert "ller" not in str(caught.value)


class TestMeasureChecks:
    def test_one_broken_check_does_not_stop_the_others(self, connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO t VALUES (1, '2026-11-20T02:00:00')")
        checks = [
            check("SELECT max(note) FROM t", "age_days"),
            check("SELECT gone FROM t", "number"),
            check("SELECT note FROM t", "number"),
            check("SELECT id FROM t WHERE id > 5", "number"),
        ]
        measured = measure_checks(connection, checks, TAKEN)
        assert measured[0].value == pytest.approx(3.0)
        assert [bool(value.problem) for value in measured] == [False, True, True, True]
        assert "2026" not in repr(measured)


def check(sql: str, as_: str) -> UserCheck:
    return UserCheck.model_validate(
        {"title": "a check", "sql": sql, "as": as_, "expect": {"type": "expect_column_values_to_be_between"}}
    )
