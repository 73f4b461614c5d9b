"""The page of all drills: what was proved, with whose key, how long it took, what is due."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo

from tasks.notices.pages import Tone, page_html
from tasks.notices.wording import clock_text, count_text, duration_text, plain_text
from tasks.records import Certificate

# As many drills as a person will read; the certificates themselves stay on record.
LISTED = 200


@dataclass(frozen=True)
class DrillLine:
    """One target with one holder's key (or one of them alone): the last drill in words, and what is due."""

    target: str
    holder: str
    word: str
    tone: Tone
    last: str
    took: str
    due: str


@dataclass(frozen=True)
class DrillBook:
    """Everything that drills proved. ``covered`` has a line for each target and for each holder's key."""

    office: str
    at: str
    objective: str
    pairs: tuple[DrillLine, ...]
    covered: tuple[DrillLine, ...]
    certificates: tuple[Certificate, ...]

    @property
    def good(self) -> bool:
        """Whether each target and each holder's key was proved within the set time."""
        return all(line.tone != "bad" for line in self.covered)


def drills_html(book: DrillBook, timezone: tzinfo | None = None) -> str:
    """The history of drills as one self-contained page, the newest first."""
    newest = sorted(book.certificates, key=lambda one: one.drilled, reverse=True)
    return page_html(
        "drills.html",
        book=book,
        rows=[_row(certificate, timezone) for certificate in newest[:LISTED]],
        total=count_text(len(newest), "drill"),
        left=count_text(len(newest) - LISTED, "older one") if len(newest) > LISTED else "",
    )


def outcome_of(certificate: Certificate) -> tuple[str, Tone]:
    """A drill's outcome in a word."""
    if not certificate.passed:
        return "FAILED", "bad"
    if certificate.unchecked:
        return "Not all checked", "warn"
    return ("Passed", "good") if certificate.in_time else ("Too slow", "warn")


def _row(certificate: Certificate, timezone: tzinfo | None) -> dict[str, str]:
    word, tone = outcome_of(certificate)
    return {
        "when": clock_text(certificate.drilled, timezone),
        "target": plain_text(certificate.target),
        "holder": plain_text(certificate.holder),
        "backup": f"{plain_text(certificate.source)} #{certificate.sequence}",
        "word": word,
        "tone": tone,
        "took": duration_text(certificate.seconds),
        "detail": _checks(certificate),
    }


def _checks(certificate: Certificate) -> str:
    failed = ", ".join(check.check for check in certificate.checks if check.failed)
    unchecked = ", ".join(certificate.unchecked)
    passed = count_text(sum(check.passed for check in certificate.checks), "check")
    parts = [f"failed: {plain_text(failed)}" if failed else f"{passed} passed"]
    parts += [f"not checked: {plain_text(unchecked)}"] if unchecked else []
    return "; ".join(parts)
