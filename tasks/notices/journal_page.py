"""The auditor's page: what a journal tells of a period, in plain words."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.notices.pages import page_html


@dataclass(frozen=True)
class JournalSection:
    """One question and its answers, oldest first, each a time and what happened then."""

    title: str
    none: str
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class JournalPage:
    """A period of a journal. ``defects`` are what shows that it was tampered with, in words."""

    office: str
    period: str
    made: str
    machine: str
    entries: str
    head: str
    signature_file: str
    defects: tuple[str, ...]
    sections: tuple[JournalSection, ...]


def journal_html(page: JournalPage) -> str:
    """The page, self-contained."""
    return page_html("journal.html", page=page)
