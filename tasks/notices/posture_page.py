"""The page of the posture: each rule, what was found, and how to meet those that are open."""

from __future__ import annotations

from datetime import datetime, tzinfo

from tasks.notices.pages import Tone, page_html
from tasks.notices.report_text import posture_text
from tasks.notices.wording import when_text
from tasks.reports import Posture


def posture_html(office: str, posture: Posture, at: datetime, timezone: tzinfo | None = None) -> str:
    """The posture of an office as one self-contained page, as of ``at``."""
    tone: Tone = ("warn" if posture.open else "good") if posture.good else "bad"
    facts = {"office": office, "tone": tone, "at": when_text(at, timezone)}
    return page_html("posture.html", text=posture_text(posture), **facts)
