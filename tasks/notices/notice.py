"""The notices that people get: one run's outcome as a subject line, a text for phones, and a mail's HTML.

All foreign text went through ``plain_text`` (report_text.py): no text here can add a line to a header.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import tzinfo

from tasks.notices.pages import Tone, page_html
from tasks.notices.report_page import report_html
from tasks.notices.report_text import Line, ReportFacts, TargetLine, facts_of
from tasks.notices.verdict import Word, word_of
from tasks.notices.wording import count_text, plain_text
from tasks.reports import RunReport

SUBJECT_LIMIT = 150
# Failed tables or checks that a mail tells one by one.
LISTED = 10
ATTACHED = "The whole report is attached."
# In mails to people the figures that matter; the page that is attached has them all.
FIGURES = frozenset({"Engine", "Tables", "Rows", "Folders", "Files", "Encrypted, as delivered", "Took"})


@dataclass(frozen=True)
class Notice:
    """``word`` and ``tone`` say how it went; ``page`` is the whole report, empty for a mere test."""

    word: Word
    tone: Tone
    subject: str
    headline: str
    text: str
    html: str
    page: str = ""
    page_name: str = "report.html"


def notice_of(
    report: RunReport,
    office: str,
    *,
    timezone: tzinfo | None = None,
    machine: str = "",
    attached: bool = True,
    test: bool = False,
) -> Notice:
    """The notice of one run. ``office`` is the plan's name, ``machine`` the computer that sends it."""
    facts = facts_of(report, timezone)
    word: Word = "TEST" if test else word_of(report)
    tone: Tone = "quiet" if test else facts.tone
    subject = f"{word} {plain_text(office)}: {_short(facts.headline, office)}"
    foot = f"Sent by Datasave{f' on {plain_text(machine)}' if machine else ''}, run {plain_text(report.run)}."
    return Notice(
        word=word,
        tone=tone,
        subject=plain_text(subject, SUBJECT_LIMIT),
        headline=facts.headline,
        text=_text(word, office, facts, foot),
        html=page_html(
            "mail.html",
            word=word,
            colour=tone,
            subject=subject,
            office=plain_text(office),
            facts=facts,
            failed=_failed(facts),
            figures=_figures(facts),
            foot=f"{foot} {ATTACHED}" if attached else foot,
        ),
        page=report_html(report, timezone) if attached else "",
        page_name=f"{plain_text(report.source)}-{report.started:%Y%m%dT%H%M%SZ}-{plain_text(report.flow)}.html",
    )


def _short(headline: str, office: str) -> str:
    """A subject names the office once: ``clinic #12 is backed up`` becomes ``#12 is backed up``."""
    return headline.removeprefix(f"{plain_text(office)} ")


def _text(word: Word, office: str, facts: ReportFacts, foot: str) -> str:
    parts = [f"{word} {plain_text(office)}\n{facts.verdict}", facts.headline]
    if facts.advice:
        numbered = (f"{number}. {advice}" for number, advice in enumerate(facts.advice, 1))
        parts.append(
            "\n".join(["What to do next:" if word in ("FAILED", "MISSED") else "Worth doing:", *numbered])
        )
    for title, lines in (
        ("Where it went", facts.targets),
        *_failed(facts),
        ("Who was told", facts.notices),
    ):
        if lines:
            parts.append("\n".join([f"{title}:", *(f"- {_sentence(line)}" for line in lines)]))
    parts.append("\n".join(f"{label}: {value}" for label, value in _figures(facts)))
    return "\n\n".join([*parts, foot]) + "\n"


def _sentence(line: Line) -> str:
    size = f", {line.size} in {line.took}" if isinstance(line, TargetLine) and line.size != "–" else ""
    return " ".join(filter(None, (f"{line.name}: {line.outcome}{size}.", line.detail, line.hint)))


def _failed(facts: ReportFacts) -> list[tuple[str, tuple[Line, ...]]]:
    """The checks and tables that failed or could not be checked; those that hold are in the report."""
    tables = tuple(line for source in facts.sources for line in source.failed_tables)
    checks = tuple(line for source in facts.sources for line in source.checks if line.tone == "bad")
    unchecked = tuple(line for source in facts.sources for line in source.checks if line.tone == "warn")
    named = (("What differs", tables), ("Checks that failed", checks), ("Not checked", unchecked))
    return [(title, _at_most(rows)) for title, rows in named if rows]


def _at_most(rows: tuple[Line, ...]) -> tuple[Line, ...]:
    more = len(rows) - LISTED
    if more <= 1:
        return rows
    return *rows[:LISTED], replace(
        rows[0], name=f"and {count_text(more)} more", detail="The report has them all.", hint=""
    )


def _figures(facts: ReportFacts) -> list[tuple[str, str]]:
    main = facts.sources[0]
    return [
        *((label, value) for label, value in main.copied if label in FIGURES),
        *((("Compared", main.tables_summary),) if main.tables_summary else ()),
        *((label, value) for label, value in main.copied if label == "Started"),
    ]
