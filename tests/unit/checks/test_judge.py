"""The verdict: what must fail, fails, and says which table; what GX would pass in silence does not."""

from __future__ import annotations

import json
import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml

from tasks.checks.judge import judge_checks, judge_tables, verify_expectations
from tasks.checks.measure import Measured
from tasks.errors import PlanError, ValidationError
from tasks.options import UserCheck
from tasks.records import Finding, Profile, TableProfile

BETWEEN = "expect_column_values_to_be_between"


def profile_of(**tables: tuple[int, str]) -> Profile:
    return Profile(
        tables=tuple(
            TableProfile(name=name, rows=rows, fingerprint=mark) for name, (rows, mark) in tables.items()
        )
    )


WHOLE = profile_of(patients=(1200, "1200:a"), visits=(5000, "5000:b"), notes=(0, "0:0"))


def only_failure(findings: tuple[Finding, ...]) -> Finding:
    (failed,) = [finding for finding in findings if not finding.passed]
    return failed


class TestTables:
    def test_the_same(self) -> None:
        findings = judge_tables(WHOLE, WHOLE)
        assert all(finding.passed for finding in findings)
        assert [(finding.table, finding.detail) for finding in findings] == [
            ("notes", "0 rows, content identical"),
            ("patients", "1,200 rows, content identical"),
            ("visits", "5,000 rows, content identical"),
        ]

    @pytest.mark.parametrize(
        ("restored", "table", "detail"),
        [
            (
                profile_of(patients=(1199, "1199:x"), visits=(5000, "5000:b"), notes=(0, "0:0")),
                "patients",
                "expected 1,200 rows, found 1,199",
            ),
            (
                profile_of(patients=(1200, "1200:a"), visits=(5001, "5001:x"), notes=(0, "0:0")),
                "visits",
                "expected 5,000 rows, found 5,001",
            ),
            (
                profile_of(patients=(1200, "1200:c"), visits=(5000, "5000:b"), notes=(0, "0:0")),
                "patients",
                "expected 1,200 rows, found 1,200, but their content differs",
            ),
            (
                profile_of(patients=(1200, "1200:a"), visits=(5000, "5000:b")),
                "notes",
                "expected 0 rows, found no such table",
            ),
            (
                WHOLE.model_copy(
                    update={"tables": (*WHOLE.tables, TableProfile(name="odd", rows=7, fingerprint="7:f"))}
                ),
                "odd",
                "expected no such table, found 7 rows",
            ),
        ],
        ids=["a row less", "a row more", "content", "missing table", "unknown table"],
    )
    def test_one_difference_is_one_failure(self, restored: Profile, table: str, detail: str) -> None:
        failed = only_failure(judge_tables(WHOLE, restored))
        assert (failed.table, failed.detail) == (table, detail)

    def test_rows_beyond_53_bits_are_compared_exactly(self) -> None:
        left, right = profile_of(t=(2**60, "m")), profile_of(t=(2**60 + 1, "m"))
        assert only_failure(judge_tables(left, right)).check == "row count"

    def test_nothing_at_all_fails(self) -> None:
        nothing = profile_of()
        assert "neither" in only_failure(judge_tables(nothing, nothing)).detail
        assert not any(finding.passed for finding in judge_tables(WHOLE, nothing))
        assert not any(finding.passed for finding in judge_tables(nothing, WHOLE))

    def test_a_table_named_twice(self) -> None:
        twice = Profile(tables=(WHOLE.tables[0], WHOLE.tables[0]))
        with pytest.raises(ValidationError, match="twice"):
            judge_tables(twice, twice)

    def test_many_tables(self) -> None:
        before = profile_of(**{f"table{number}": (number, f"{number}:a") for number in range(600)})
        after = profile_of(
            **{f"table{number}": (number, f"{number}:a") for number in range(599)}, table599=(1, "x")
        )
        findings = judge_tables(before, after)
        assert len(findings) == 600
        assert only_failure(findings).table == "table599"

    def test_side_by_side(self) -> None:
        """Two runs in one process don't get into each other's way."""
        with ThreadPoolExecutor(4) as pool:
            same = [pool.submit(judge_tables, WHOLE, WHOLE) for _ in range(8)]
            other = [pool.submit(judge_tables, WHOLE, profile_of()) for _ in range(8)]
            assert all(all(finding.passed for finding in each.result()) for each in same)
            assert not any(any(finding.passed for finding in each.result()) for each in other)

    def test_quiet(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        calls: list[object] = []

        def refuse(_self: object, address: object) -> None:
            calls.append(address)
            raise OSError("no network here")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        with caplog.at_level(logging.WARNING):
            judge_tables(WHOLE, profile_of())
        assert calls == []
        assert capfd.readouterr() == ("", "")
        assert not caplog.records


def check(as_: str = "number", kind: str = BETWEEN, **limits: Any) -> UserCheck:
    return UserCheck.model_validate(
        {"title": "the check", "sql": "SELECT 1", "as": as_, "expect": {"type": kind, "kwargs": limits}}
    )


def verdict(user_check: UserCheck, value: Any) -> Finding:
    (finding,) = judge_checks([user_check], [Measured(value=value)])
    return finding


class TestChecks:
    @pytest.mark.parametrize(
        ("user_check", "value", "passed"),
        [
            (check(min_value=1, max_value=3), 2, True),
            (check(min_value=1, max_value=3), 3, True),
            (check(min_value=1, max_value=3), 4, False),
            (check("age_days", min_value=-1, max_value=3), 2.9, True),
            (check("age_days", min_value=-1, max_value=3), 3.1, False),
            (check("age_days", min_value=-1, max_value=3), -400.0, False),
            (check(min_value=2**53), 2**53 - 1, False),
            (check("text", "expect_column_values_to_match_regex", regex="^v[0-9]+$"), "v12", True),
            (check("text", "expect_column_values_to_match_regex", regex="^v[0-9]+$"), "Ursula", False),
            (check("text", "expect_column_values_to_be_in_set", value_set=["a", "b"]), "b", True),
            (check("text", "expect_column_values_to_be_in_set", value_set=["a", "b"]), "c", False),
            (check("text", "expect_column_values_to_not_be_in_set", value_set=["a"]), "a", False),
            (check("text", "expect_column_value_lengths_to_equal", value=3), "abc", True),
            (check("text", "expect_column_value_lengths_to_equal", value=3), "abcd", False),
        ],
    )
    def test_verdicts(self, user_check: UserCheck, value: object, passed: bool) -> None:
        finding = verdict(user_check, value)
        assert finding.passed is passed
        assert finding.check == "the check"

    @pytest.mark.parametrize("value", [None, float("nan")])
    @pytest.mark.parametrize(
        "user_check",
        [
            check(min_value=0),
            check("age_days", min_value=0),
            check("text", "expect_column_values_to_not_be_in_set", value_set=["a"]),
        ],
    )
    def test_no_value_fails(self, user_check: UserCheck, value: object) -> None:
        finding = verdict(user_check, value)
        assert not finding.passed
        assert "no value" in finding.detail

    def test_a_number_is_shown_and_a_text_is_not(self) -> None:
        assert "found 1,234" in verdict(check(max_value=3), 1234).detail
        assert "found 4.5 days" in verdict(check("age_days", max_value=3), 4.5).detail
        text = verdict(check("text", "expect_column_values_to_match_regex", regex="^v"), "Ursula")
        assert "Ursula" not in text.detail
        assert "^v" in text.detail

    def test_a_value_of_another_kind_fails_without_being_shown(self) -> None:
        finding = verdict(check(max_value=3), "Ursula")
        assert not finding.passed
        assert "Ursula" not in finding.detail

    def test_several_in_order_with_problems_between(self) -> None:
        checks = [check(max_value=3), check(max_value=3), check(max_value=3)]
        values = [Measured(value=9), Measured(problem="its SQL failed"), Measured(value=1)]
        findings = judge_checks(checks, values)
        assert [finding.passed for finding in findings] == [False, False, True]
        assert findings[1].detail == "its SQL failed"
        assert judge_checks([], []) == ()
        assert judge_checks(checks[:1], values[1:2])[0].passed is False

    def test_a_missing_value_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="argument"):
            judge_checks([check(max_value=3)], [])


class TestVerify:
    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            (check(kind="expect_column_values_to_be_betwen", max_value=3), f"Did you mean {BETWEEN}"),
            (check(kind="expect_something"), "These can be used"),
            (check(kind="expect_column_values_to_be_unique"), "no expectation about one value"),
            (
                check(kind="expect_table_row_count_to_be_between", min_value=1),
                "no expectation about one value",
            ),
            (check(), "min_value and max_value"),
            (check(max=3), "extra fields"),
            (check(kind=BETWEEN, max_value=3, name=1), "extra fields"),
            (check(max_value=2**53 + 1), "max_value may not be given"),
            (check(max_value=3, mostly=0.0), "mostly may not be given"),
            (check(max_value=3, row_condition="a > 1"), "row_condition may not be given"),
            (check(max_value=3, column="other"), "column may not be given"),
            (check(max_value={"$PARAMETER": "x"}), "max_value may not be given"),
            (
                check("text", "expect_column_values_to_not_be_in_set", value_set=[]),
                "value_set may not be given",
            ),
            (check(min_value=9, max_value=3), "limits do not suit"),
            (check("text", min_value=1), "limits do not suit"),
            (check("text", "expect_column_values_to_match_regex", regex="("), "limits do not suit"),
            (check(max_value=3).model_copy(update={"sql": "DROP TABLE visits"}), "begin with SELECT"),
        ],
    )
    def test_wrong_checks_are_refused_by_title(self, wrong: UserCheck, words: str) -> None:
        with pytest.raises(PlanError) as caught:
            verify_expectations([check(max_value=3), wrong])
        assert "'the check'" in caught.value.message
        assert words in str(caught.value)
        assert caught.value.hint

    def test_right_checks(self) -> None:
        verify_expectations([])
        verify_expectations(
            [
                check(min_value=1, max_value=3),
                check("age_days", min_value=-1, max_value=3),
                check("text", "expect_column_values_to_match_regex", regex="^v"),
            ]
        )


class TestRecord:
    PLAN = """
        title: newest visit at most 3 days old
        sql: SELECT MAX(at) FROM visits
        as: age_days
        expect: {type: expect_column_values_to_be_between, kwargs: {min_value: -1, max_value: 3}}
    """

    def test_from_yaml_and_back_by_json(self) -> None:
        user_check = UserCheck.model_validate(yaml.safe_load(self.PLAN))
        assert user_check.as_ == "age_days"
        text = user_check.model_dump_json()
        assert json.loads(text)["as"] == "age_days"
        assert UserCheck.model_validate_json(text) == user_check
        assert UserCheck(title="t", sql="SELECT 1", as_="text", expect=user_check.expect).as_ == "text"
        assert (
            UserCheck.model_validate({"title": "t", "sql": "SELECT 1", "expect": user_check.expect}).as_
            == "number"
        )

    @pytest.mark.parametrize("change", [{"as": "days"}, {"title": ""}, {"unknown": 1}, {"expect": {}}])
    def test_refusals(self, change: dict[str, object]) -> None:
        with pytest.raises(ValueError, match="validation error"):
            UserCheck.model_validate({**yaml.safe_load(self.PLAN), **change})
