"""``datasave status``: how the backups stand, as a terminal shows it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from rich.markup import escape

from deployments.cli.options import DEFAULT_PLAN, PlanOption
from deployments.cli.screen import out, path_line, say, table, verdict
from tasks.context import PlanContext
from tasks.health.status import status_of, write_status
from tasks.notices.status_page import Status, StatusLine, Trend
from tasks.notices.wording import clock_text, when_text

COLOURS = {"good": "green", "warn": "yellow", "bad": "red", "quiet": "default"}
# What a terminal of 80 columns has room for beside the words.
BLOCKS_SHOWN = 30


def status(*, plan: PlanOption = DEFAULT_PLAN) -> int:
    """Show how backups stand: the newest proven backup of each target, what is due, what needs attention.

    Shows what this machine remembers, at once and without reaching any target; `datasave audit` looks at
    the targets themselves. The same is written as a page after each run.

    Exit status 1 where a backup needs attention. What the office still lacks, such as a second person who is
    told, is shown and leaves it at 0: `datasave posture` ends with 1 there.

    **Examples:**

        datasave status

        datasave status --plan clinic.yaml
    """
    context = PlanContext(plan)
    shown = status_of(context)
    _show(shown, context.timezone)
    path_line("Page:", write_status(context))
    _verdict(shown, context.timezone)
    return 0 if shown.good else 1


def _show(page: Status, timezone: tzinfo) -> None:
    """All that is on the page but its verdict, which comes last, where a terminal stops scrolling."""
    say(f"{page.office}, as of {when_text(page.at, timezone)}")
    _lines("where the backups are", page.targets, "next due")
    for advice in page.media:
        say(advice)
    _lines("kept by hand", page.held, "through")
    _lines("what drills proved", page.proofs, "next due")
    _lines("what comes next", page.coming)
    _trends(page.trends)
    _lines("what ran", page.runs)


def _verdict(page: Status, timezone: tzinfo) -> None:
    verdict(page.tone, page.headline)
    for text in (*page.alarms, *page.missing):
        say(f"  → {text}")
    if page.good_until:
        say(f"The next backup should have ended by {clock_text(page.good_until, timezone)}.")


def _lines(title: str, lines: Sequence[StatusLine], last: str = "") -> None:
    if not lines:
        return
    shown = table(title, ("", "", "", *([last] if last else [])), fold=True, header=bool(last))
    for line in lines:
        colour = COLOURS[line.tone]
        cells = [escape(line.name), f"[{colour}]{line.word}[/{colour}]", escape(line.detail)]
        shown.add_row(*cells, *([escape(line.next)] if last else []))
    out.print(shown)


def _trends(trends: Sequence[Trend]) -> None:
    if not trends:
        return
    shown = table("the newest runs", (), header=False)
    for trend in trends:
        shown.add_row(escape(trend.title), trend.blocks[-BLOCKS_SHOWN:], trend.newest)
    out.print(shown)
