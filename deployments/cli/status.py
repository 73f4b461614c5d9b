"""The status as a terminal shows it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from rich.markup import escape
from rich.table import Table

from deployments.cli.screen import bad, good, out, say
from tasks.notices.status_page import Status, StatusLine, Trend
from tasks.notices.wording import when_text

COLOURS = {"good": "green", "warn": "yellow", "bad": "red", "quiet": "default"}
# What a terminal of 80 columns has room for beside the words.
BLOCKS_SHOWN = 30


def show_status(status: Status, timezone: tzinfo) -> None:
    """Everything of the page, the alarms first."""
    say(f"{status.office}, as of {when_text(status.at, timezone)}")
    if status.good:
        good(status.headline)
    else:
        bad(status.headline)
        for alarm in status.alarms:
            say(f"  → {alarm}")
    _lines("where the backups are", status.targets, "next due")
    for advice in status.media:
        say(advice)
    _lines("what drills proved", status.proofs, "next due")
    _lines("what comes next", status.coming)
    _trends(status.trends)
    _lines("what ran", status.runs)


def _lines(title: str, lines: Sequence[StatusLine], last: str = "") -> None:
    if not lines:
        return
    table = Table(title=title, title_justify="left", show_edge=False, show_header=bool(last))
    for column in ("", "", "", *([last] if last else [])):
        table.add_column(column, overflow="fold")
    for line in lines:
        colour = COLOURS[line.tone]
        cells = [escape(line.name), f"[{colour}]{line.word}[/{colour}]", escape(line.detail)]
        table.add_row(*cells, *([escape(line.next)] if last else []))
    out.print(table)


def _trends(trends: Sequence[Trend]) -> None:
    if not trends:
        return
    table = Table(title="the newest runs", title_justify="left", show_edge=False, show_header=False)
    for trend in trends:
        table.add_row(escape(trend.title), trend.blocks[-BLOCKS_SHOWN:], trend.newest)
    out.print(table)
