"""The tables that a run's page shows: aggregates of every table, sizes and times of every step."""

from __future__ import annotations

import re

from tasks.errors import TargetMissing
from tasks.notices.report_page import refusal_markdown, report_grids
from tests.unit.notices import sample_reports


def test_checks_and_steps_of_a_good_run() -> None:
    report = sample_reports.success()
    grids = {kind: rows for kind, _, rows in report_grids(report)}
    assert report.profile is not None
    rows = {row["Checked"]: row["Rows"] for row in grids["tables"]}
    assert {table.name: f"{table.rows:,}" for table in report.profile.tables}.items() <= rows.items()
    times = {row["Step"]: (row["Outcome"], row["Size"], row["Time"]) for row in grids["steps"]}
    assert len(times) == len(report.steps)
    assert times["live copy"][0] == "Done" and times["live copy"][1].endswith("B")


def test_names_in_a_database_are_no_markup() -> None:
    cells = [
        cell for _, _, rows in report_grids(sample_reports.hostile()) for row in rows for cell in row.values()
    ]
    assert any("\\<" in cell for cell in cells)
    assert not [cell for cell in cells if re.search(r"(?<!\\)[<\[`]|://", cell)]


def test_the_first_line_of_a_refusal_says_what_to_do() -> None:
    error = TargetMissing("nas <img src=x> is not mounted", hint="Mount it, then run again.")
    page = refusal_markdown(error)
    assert page.count("\n") == 1
    assert page.startswith("**Not done: nas \\<img src=x\\> is not mounted.** What to do: Mount it")
