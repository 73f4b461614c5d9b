"""The report of one run: an HTML page for people, markdown for the artifact in the UI, tables for the UI.

Every text in them that came from elsewhere is hostile until escaped: by jinja2's autoescape in HTML
(pages.py), by ``markdown_text`` in markdown and in the cells of tables, which the UI takes for markdown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import tzinfo

from tasks.errors import DatasaveError
from tasks.notices.pages import page_html
from tasks.notices.report_text import ReportFacts, SourceFacts, TableLine, TargetLine, facts_of, posture_rows
from tasks.notices.wording import MESSAGE_LIMIT, count_text, plain_text, size_text, step_text
from tasks.reports import RunReport, SourceReport

# More tables than this are folded away, the failed ones excepted.
SHOWN_TABLES = 12
UNKNOWN = "–"

Rows = list[dict[str, str]]
"""Rows of a table, each by its heads."""

# Prefect's UI takes raw HTML in markdown for HTML, images included, and shows numeric character references
# by their number: backslashes are what both of its faces (and CommonMark) understand alike.
_MARKUP = re.compile(
    r"[\\`*\[\]<>&~|]"  # inline markup, HTML, ends of table cells
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # emphasis; an underscore inside a word is none
    r"|^[-+=#]"  # lists, headings
)
_NUMBERED = re.compile(r"^(\d{1,9})(?=[.)](\s|$))")
# Bare addresses become links even where escaped. Nothing foreign may offer a link in a page that people
# trust, so an invisible word joiner parts what would make one.
_ADDRESS = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?=@)", re.IGNORECASE)
_WORD_JOINER = "\u2060"


def report_html(report: RunReport, timezone: tzinfo | None = None, posture_page: str = "") -> str:
    """The report as one self-contained page; times in ``timezone`` beside UTC, or in UTC alone.

    ``posture_page``: the file beside it that says what is open, "" where the page goes by itself.
    """
    facts = facts_of(report, timezone)
    return page_html(
        "report.html",
        facts=facts,
        folded=_folded,
        other_tables_title=_other_tables_title,
        posture_page=posture_page,
    )


def report_markdown(report: RunReport, timezone: tzinfo | None = None) -> str:
    """The same facts as GitHub-flavoured markdown; the first line says what happened and what to do."""
    facts = facts_of(report, timezone)
    todo = f"What to do: {markdown_text(facts.advice[0])}" if facts.advice else "There is nothing to do."
    parts = [f"**{markdown_text(facts.verdict)}** {todo}", markdown_text(facts.headline)]
    if len(facts.advice) > 1:
        parts += ["## What to do next", _items(facts.advice, ordered=True)]
    parts += _targets(facts.targets)
    for source in facts.sources:
        parts += _source(source)
    if facts.holders:
        parts += [
            "## Who can open it",
            "Any one of these holders, with their own key:",
            _items(facts.holders),
        ]
    parts += _section(
        "Who was told",
        ("Channel", "Outcome", "Detail"),
        [(line.name, line.outcome, line.detail) for line in facts.notices],
    )
    if facts.posture:
        parts += ["## Posture", f"{markdown_text(facts.posture.summary)} `datasave posture` says which."]
    parts += _section(
        "Steps and their time",
        ("Step", "Outcome", "Time>", "Detail"),
        [(line.name, line.outcome, line.took, line.detail) for line in facts.steps],
    )
    for source in facts.sources:
        parts += _tables(_other_tables_title(source), source, source.other_tables)
    parts += ["## Technical details", _pairs(facts.technical)]
    return "\n\n".join(part for part in parts if part) + "\n"


def refusal_markdown(error: DatasaveError) -> str:
    """What the page of a run says that could not begin or go on; the first line says what to do."""
    message, hint = plain_text(error.message, MESSAGE_LIMIT), plain_text(error.hint, MESSAGE_LIMIT)
    todo = f"What to do: {markdown_text(hint)}" if hint else "Its log says more."
    return f"**Not done: {markdown_text(message)}.** {todo}\n"


def markdown_text(text: str) -> str:
    """Foreign text as it stands, whatever markdown or HTML would make of it."""
    marked = _MARKUP.sub(r"\\\g<0>", _ADDRESS.sub(_WORD_JOINER, text))
    return _NUMBERED.sub(r"\1\\", marked)


def report_grids(report: RunReport) -> list[tuple[str, str, Rows]]:
    """The tables that the report has facts for: (kind, what it shows, rows)."""
    facts = facts_of(report)
    grids = [
        ("steps", "How long each step took, and how large what it made is.", _step_rows(report, facts)),
        (
            "tables",
            "What was checked: each table with its rows, then the other checks.",
            _checked_rows(facts),
        ),
    ]
    if report.posture:
        about = f"How far the advice on backups is followed: {report.posture.score} of 100."
        grids.append(("posture", about, posture_rows(report.posture)))
    return [(kind, about, [_escaped(row) for row in rows]) for kind, about, rows in grids if rows]


def _folded(source: SourceFacts) -> bool:
    return len(source.other_tables) + len(source.failed_tables) > SHOWN_TABLES


def _other_tables_title(source: SourceFacts) -> str:
    count = len(source.other_tables)
    noun = count_text(count, f"other {source.group}" if source.failed_tables else source.group)
    if source.further:
        noun = f"{noun} of {source.source}"
    compared = sum(line.tone == "good" for line in source.other_tables)
    if compared == count:
        return f"{noun}: all OK"
    return f"{noun}: none compared" if not compared else f"{noun}: {count_text(compared)} OK"


def _source(source: SourceFacts) -> list[str]:
    """What the markdown says of one source, its tables that hold apart."""
    return [
        f"## {markdown_text(source.copied_title)}",
        _pairs(source.copied),
        markdown_text(source.tables_summary),
        *_tables(f"{source.group.capitalize()}s that failed", source, source.failed_tables),
        *_section(
            "Other checks",
            ("Check", "Detail", "Result"),
            [(line.name, line.detail, line.outcome) for line in source.checks],
        ),
        *(["## What was proven", markdown_text(" ".join(source.proof))] if source.proof else []),
    ]


def _targets(lines: Sequence[TargetLine]) -> list[str]:
    heads = ("Target", "Outcome", "Size>", "Time>", "Backups kept>", "Removed>")
    rows = [(line.name, line.outcome, line.size, line.took, line.kept, line.removed) for line in lines]
    notes = [
        " ".join((f"{line.name}:", line.detail, line.hint)) for line in lines if line.detail or line.hint
    ]
    return [*_section("Where it went", heads, rows), _items(notes)]


def _tables(title: str, source: SourceFacts, lines: Sequence[TableLine]) -> list[str]:
    heads = (source.group.capitalize(), f"{source.item.capitalize()}s recorded>", "After restoring", "Result")
    return _section(
        title, heads, [(line.name, line.rows, line.detail or "–", line.outcome) for line in lines]
    )


def _section(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A heading and a table, nothing where there are no rows."""
    return [f"## {title}", _grid(heads, rows)] if rows else []


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return _grid(("Fact", "Value"), pairs)


def _grid(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a head that ends in ``>`` aligns its column to the right. Cells are escaped here."""
    rules = ["---:" if head.endswith(">") else "---" for head in heads]
    lines = [
        [head.rstrip(">") for head in heads],
        rules,
        *([markdown_text(cell) for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _items(texts: Iterable[str], *, ordered: bool = False) -> str:
    return "\n".join(
        f"{f'{number}.' if ordered else '-'} {markdown_text(text)}" for number, text in enumerate(texts, 1)
    )


def _escaped(row: dict[str, str]) -> dict[str, str]:
    return {head: markdown_text(cell) for head, cell in row.items()}


def _checked_rows(facts: ReportFacts) -> Rows:
    return [row for source in facts.sources for row in _source_rows(source)]


def _source_rows(source: SourceFacts) -> Rows:
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


def _step_rows(report: RunReport, facts: ReportFacts) -> Rows:
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
    made = {name: size for source in report.sources for name, size in _sizes_of(source).items()}
    sent = {step_text(f"deliver {d.target}", d.source_name): d.bytes for d in report.deliveries}
    return {**made, **sent}


def _sizes_of(source: SourceReport) -> dict[str, int]:
    sizes = {
        "live copy": source.copy_bytes,
        "archive and encrypt": source.sealed_bytes,
    }
    return {step_text(name, source.source_name): size for name, size in sizes.items()}
