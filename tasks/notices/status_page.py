"""The status of an office's backups on one page: for the manager who looks once a day and wants one colour.

Like the reports the page stands alone and holds aggregates only. Its plots are drawn as SVG, a line each.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo

from tasks.notices.pages import Tone, page_html
from tasks.notices.wording import when_text
from tasks.records import Record

BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH, HEIGHT = 240, 36


class StatusLine(Record):
    """One thing and how it is: its tone, a word for it, and what there is to know."""

    name: str
    tone: Tone
    word: str
    detail: str = ""
    next: str = ""


class Trend(Record):
    """A figure over the newest runs, oldest first; ``newest`` is its last value in words."""

    title: str
    newest: str
    values: tuple[float, ...]

    @property
    def points(self) -> str:
        """The line of its plot: SVG points in a field of WIDTH by HEIGHT, the smallest value at the foot."""
        step = WIDTH / max(1, len(self.values) - 1)
        return " ".join(
            f"{index * step:.1f},{HEIGHT - 2 - share * (HEIGHT - 4):.1f}"
            for index, share in enumerate(_shares(self.values))
        )

    @property
    def blocks(self) -> str:
        """The same for a terminal: a character a run."""
        return "".join(BLOCKS[round(share * (len(BLOCKS) - 1))] for share in _shares(self.values))


class Status(Record):
    """How an office's backups stand at ``at``.

    ``alarms``: what needs attention; ``held``: backups that a person keeps.
    """

    office: str
    at: datetime
    headline: str
    alarms: tuple[str, ...] = ()
    targets: tuple[StatusLine, ...] = ()
    media: tuple[str, ...] = ()
    held: tuple[StatusLine, ...] = ()
    proofs: tuple[StatusLine, ...] = ()
    coming: tuple[StatusLine, ...] = ()
    trends: tuple[Trend, ...] = ()
    runs: tuple[StatusLine, ...] = ()

    @property
    def good(self) -> bool:
        """Whether there is nothing to do."""
        return not self.alarms


def status_html(status: Status, timezone: tzinfo | None = None) -> str:
    """The status as one self-contained page."""
    at = when_text(status.at, timezone)
    return page_html("status.html", status=status, at=at, width=WIDTH, height=HEIGHT)


def _shares(values: Sequence[float]) -> list[float]:
    """Each value's place between the smallest (0) and the largest (1); the middle where all are equal."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    return [(value - low) / (high - low) if high > low else 0.5 for value in values]
