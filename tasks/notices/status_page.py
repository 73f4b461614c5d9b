"""The status of an office's backups on one page: for the manager who looks once a day and wants one colour.

Like the reports the page stands alone and holds aggregates only. Its plots are drawn as SVG, a line each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import NamedTuple

from tasks.notices.pages import Tone, page_html
from tasks.notices.wording import clock_text, when_text
from tasks.records import Record

BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH, HEIGHT = 240, 36
# Two weeks of nights are seen at once; the others are folded away.
SHOWN = 14


class Link(NamedTuple):
    """Where else to look: an address and what is there."""

    address: str
    text: str


class StatusLine(Record):
    """One thing and how it is: its tone, a word for it, and what there is to know."""

    name: str
    tone: Tone
    word: str
    detail: str = ""
    next: str = ""


class Night(Record):
    """One day of a target in its bar: its tone, and what happened in words."""

    day: str
    tone: Tone
    word: str


class Nights(Record):
    """The newest days of a target, oldest first."""

    target: str
    days: tuple[Night, ...]

    @property
    def told(self) -> str:
        """The bar in words, for whoever doesn't see it."""
        counts = Counter(night.word for night in self.days if night.tone != "quiet")
        return ", ".join(f"{word} {count}" for word, count in counts.items()) or "nothing yet"


class Restorable(Record):
    """A backup that can be brought back: where it lies, how it was proved, and the command for it."""

    name: str
    taken: str
    places: tuple[str, ...]
    proof: str
    command: str


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

    ``alarms``: what needs attention; ``missing``: what the office still lacks, and how to get it; ``held``:
    backups that a person keeps; ``good_until``: when the next backup should have ended; later than that this
    says nothing any more.
    """

    office: str
    at: datetime
    headline: str
    alarms: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    good_until: datetime | None = None
    nights: tuple[Nights, ...] = ()
    backups: tuple[Restorable, ...] = ()
    targets: tuple[StatusLine, ...] = ()
    media: tuple[str, ...] = ()
    held: tuple[StatusLine, ...] = ()
    proofs: tuple[StatusLine, ...] = ()
    coming: tuple[StatusLine, ...] = ()
    trends: tuple[Trend, ...] = ()
    runs: tuple[StatusLine, ...] = ()

    @property
    def good(self) -> bool:
        """Whether no backup needs attention."""
        return not self.alarms

    @property
    def tone(self) -> Tone:
        """The colour of it all: amber where the backups are good and the office still lacks something."""
        if not self.good:
            return "bad"
        return "warn" if self.missing else "good"


def status_html(status: Status, timezone: tzinfo | None = None, links: Sequence[Link] = ()) -> str:
    """The status as one page; ``links`` are for one that a server shows, without them it stands alone."""
    until = clock_text(status.good_until, timezone) if status.good_until else ""
    facts = {"at": when_text(status.at, timezone), "until": until, "links": links, "shown": SHOWN}
    return page_html("status.html", status=status, width=WIDTH, height=HEIGHT, **facts)


def _shares(values: Sequence[float]) -> list[float]:
    """Each value's place between the smallest (0) and the largest (1); the middle where all are equal."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    return [(value - low) / (high - low) if high > low else 0.5 for value in values]
