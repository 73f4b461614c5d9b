"""The verdict on a restored copy: is it what was recorded, and what its users expect of it.

Great Expectations compares; the guards around it catch what it would pass silently: a frame without rows,
NULL on both sides, NULL between limits. Findings name tables and counts. The value of a text check
is never shown, it may be a patient's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.checks.gx import LABEL, Outcome, expectation, expectation_of, run, verify
from tasks.checks.measure import Measured
from tasks.errors import ValidationError
from tasks.options import UserCheck
from tasks.records import Finding, Profile, TableProfile

_FRAME = (LABEL, "expected_rows", "restored_rows", "expected_content", "restored_content")
_NOT_NULL = "expect_column_values_to_not_be_null"


def judge_tables(expected: Profile, restored: Profile) -> tuple[Finding, ...]:
    """One finding a table, in name order, comparing a restored copy with the record of the original.

    Passed means the same number of rows with the same content. A missing table, an unknown one and no
    table at all are failures.
    """
    return _judged(expected, restored, _FRAME[1:])


def judge_counts(expected: Profile, restored: Profile) -> tuple[Finding, ...]:
    """As ``judge_tables``, of rows that were only counted: the bytes are known to be those recorded."""
    return _judged(expected, restored, _FRAME[1:3])


def _judged(expected: Profile, restored: Profile, compared: Sequence[str]) -> tuple[Finding, ...]:
    before, after = _by_name(expected), _by_name(restored)
    names = sorted(before.keys() | after.keys())
    outcomes = run(_table_frame(names, before, after), _table_expectations(compared))
    failed = {label for outcome in outcomes.values() for label in outcome.labels}
    content = len(compared) > 2
    findings = [
        _table_finding(name, before.get(name), after.get(name), name in failed, content=content)
        for name in names
    ]
    return tuple(findings + _unexplained(outcomes, findings))


def judge_checks(checks: Sequence[UserCheck], values: Sequence[Measured]) -> tuple[Finding, ...]:
    """One finding a check, in order; ``values`` are those of measure_checks for the same checks."""
    if not checks:
        return ()
    measured = {
        f"value{number}": (check, value.value)
        for number, (check, value) in enumerate(zip(checks, values, strict=True))
        if not value.problem
    }
    outcomes = _judge_values(measured)
    return tuple(
        Finding(check=check.title, passed=False, detail=value.problem)
        if value.problem
        else _check_finding(check, value, outcomes, f"value{number}")
        for number, (check, value) in enumerate(zip(checks, values, strict=True))
    )


def verify_expectations(checks: Sequence[UserCheck]) -> None:
    """Look at a plan's checks before any backup is made. Raises PlanError, naming the check."""
    for check in checks:
        verify(check)


def _by_name(profile: Profile) -> dict[str, TableProfile]:
    tables = {table.name: table for table in profile.tables}
    if len(tables) != len(profile.tables):
        raise ValidationError("cannot compare the tables: a profile names one of them twice")
    return tables


def _table_frame(
    names: Sequence[str], before: Mapping[str, TableProfile], after: Mapping[str, TableProfile]
) -> Any:
    import pandas

    # dtype=object keeps integers beyond 2^53 exact; None is a table that one side lacks.
    rows = [
        (
            name,
            *(
                getattr(side.get(name), part, None)
                for part in ("rows", "fingerprint")
                for side in (before, after)
            ),
        )
        for name in names
    ]
    return pandas.DataFrame(rows, columns=list(_FRAME), dtype=object)


def _table_expectations(compared: Sequence[str]) -> list[Any]:
    pairs = zip(compared[::2], compared[1::2], strict=True)
    return [
        expectation("expect_table_row_count_to_be_between", "any table", min_value=1),
        *(
            expectation(
                "expect_column_pair_values_to_be_equal",
                f"{left} = {right}",
                column_A=left,
                column_B=right,
                ignore_row_if="neither",
            )
            for left, right in pairs
        ),
        *(expectation(_NOT_NULL, name, column=name) for name in compared),
    ]


def _table_finding(
    name: str, before: TableProfile | None, after: TableProfile | None, failed: bool, *, content: bool
) -> Finding:
    if before is None:
        found = f"{after.rows:,} rows" if after else "nothing"
        return Finding(
            check="tables", passed=False, table=name, detail=f"expected no such table, found {found}"
        )
    if after is None:
        detail = f"expected {before.rows:,} rows, found no such table"
        return Finding(check="tables", passed=False, table=name, detail=detail)
    if not failed:
        detail = f"{after.rows:,} rows{', content identical' if content else ''}"
        return Finding(check="content" if content else "row count", passed=True, table=name, detail=detail)
    detail = f"expected {before.rows:,} rows, found {after.rows:,}"
    if before.rows == after.rows:
        return Finding(
            check="content", passed=False, table=name, detail=f"{detail}, but their content differs"
        )
    return Finding(check="row count", passed=False, table=name, detail=detail)


def _unexplained(outcomes: Mapping[str, Outcome], findings: Sequence[Finding]) -> list[Finding]:
    """A failed finding where the comparison as a whole failed, yet no table shows it."""
    broke = [outcome.name for outcome in outcomes.values() if outcome.broke]
    silent = not all(outcome.passed for outcome in outcomes.values()) and all(f.passed for f in findings)
    if not (broke or silent):
        return []
    nothing = "neither the record nor the restored copy has a table"
    detail = "the comparison itself failed" if findings else nothing
    return [Finding(check="tables", passed=False, detail=detail)]


def _judge_values(measured: Mapping[str, tuple[UserCheck, Any]]) -> dict[str, Outcome]:
    import pandas

    columns: dict[str, list[Any]] = {name: [value] for name, (_, value) in measured.items()}
    frame = pandas.DataFrame({LABEL: ["copy"], **columns}, dtype=object)
    expectations: list[Any] = []
    for name, (check, _) in measured.items():
        expectations.append(expectation_of(check, name, name))
        expectations.append(expectation(_NOT_NULL, f"{name} is there", column=name))
    return run(frame, expectations) if expectations else {}


def _check_finding(check: UserCheck, value: Measured, outcomes: Mapping[str, Outcome], name: str) -> Finding:
    there, met = outcomes[f"{name} is there"], outcomes[name]
    limits = ", ".join(f"{key}={limit}" for key, limit in check.expect.kwargs.items())
    if not there.passed:
        detail = "found no value (NULL)"
    elif met.broke:
        detail = "the value cannot be compared with the limits"
    else:
        detail = f"found {_shown(check, value)}"
    passed = there.passed and met.passed and not met.broke
    return Finding(check=check.title, passed=passed, detail=f"{detail}; {check.expect.type}: {limits}")


def _shown(check: UserCheck, value: Measured) -> str:
    if check.as_ == "age_days":
        return f"{value.value:.1f} days"
    return f"{value.value:,}" if check.as_ == "number" else "a text"
