"""A run's facts as tables for the UI: the checks of each table, the size and the time of each step.

Aggregates only: names, counts, outcomes. The UI takes cells for markdown, so each is escaped here.
"""

from __future__ import annotations

from tasks.notices.posture_page import posture_rows
from tasks.notices.report_page import markdown_text
from tasks.notices.report_text import Facts, SourceFacts, facts_of
from tasks.notices.wording import size_text, step_text
from tasks.reports import RunReport, SourceReport

Rows = list[dict[str, str]]
UNKNOWN = "–"


def report_grids(report: RunReport) -> list[tuple[str, str, Rows]]:
    """The tables that the report has facts for: (kind, what it shows, rows)."""
    facts = facts_of(report)
    grids = [
        ("steps", "How long each step took, and how large what it made is.", _steps(report, facts)),
        ("tables", "What was checked: each table with its rows, then the other checks.", _checks(facts)),
    ]
    if report.posture:
        about = f"How far the advice on backups is followed: {report.posture.score} of 100."
        grids.append(("posture", about, posture_rows(report.posture)))
    return [(kind, about, [_escaped(row) for row in rows]) for kind, about, rows in grids if rows]


def _escaped(row: dict[str, str]) -> dict[str, str]:
    return {head: markdown_text(cell) for head, cell in row.items()}


def _checks(facts: Facts) -> Rows:
    return [row for source in facts.sources for row in _of_source(source)]


def _of_source(source: SourceFacts) -> Rows:
    tables = [
        {"Checked": line.name, "Rows": line.rows, "Outcome": line.outcome, "Detail": line.detail}
        for line in (*source.failed_tables, *source.other_tables)
    ]
    others = [
        {"Checked": line.name, "Rows": UNKNOWN, "Outcome": line.outcome, "Detail": line.detail}
        for line in source.checks
    ]
    about = {"Source": source.source} if source.further else {}
    return [{**about, **row} for row in (*tables, *others)]


def _steps(report: RunReport, facts: Facts) -> Rows:
    sizes = _sizes(report)
    return [
        {
            "Step": line.name,
            "Outcome": line.outcome,
            "Size": size_text(size) if (size := sizes.get(line.name)) else UNKNOWN,
            "Time": line.took,
        }
        for line in facts.steps
    ]


def _sizes(report: RunReport) -> dict[str, int]:
    """Bytes by the name of the step that made or sent them."""
    made = {name: size for source in report.sources for name, size in _made(source).items()}
    sent = {step_text(f"deliver {d.target}", d.source_name): d.bytes for d in report.deliveries}
    return {**made, **sent}


def _made(source: SourceReport) -> dict[str, int]:
    sizes = {
        "live copy": source.copy_bytes,
        "archive": source.archive_bytes,
        "encrypt": source.sealed_bytes,
    }
    return {step_text(name, source.source_name): size for name, size in sizes.items()}
