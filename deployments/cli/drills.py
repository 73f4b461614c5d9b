"""``datasave drills``: what drills proved, and what is due."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from deployments.cli.options import DEFAULT_PLAN, PlanOption
from deployments.cli.screen import bad, good, out, path_line, say
from tasks.context import PlanContext
from tasks.health.drills import drillbook, gather, write_drills
from tasks.notices.drills_page import DrillLine

COLOURS = {"good": "green", "bad": "red", "warn": "yellow", "quiet": "dim"}


def drills(*, plan: PlanOption = DEFAULT_PLAN) -> int:
    """Show what drills proved: for each target and each holder's key the last one, and what is due.

    Reads the signed certificates on all targets that can be reached, and those kept on this machine.
    Exit status 1 where a target or a key was not proved within the time that the plan sets.

    **Examples:**

        datasave drills

        datasave drills --plan clinic.yaml
    """
    context = PlanContext(plan)
    looked = gather(context)
    book = drillbook(context, looked.places)
    say(f"{book.office}, as of {book.at}")
    _table("each target and each key", book.covered)
    _table("each target with each key", book.pairs)
    for name, cause in looked.away.items():
        say(f"{name} was not looked at: {cause}")
    path_line("All drills:", write_drills(context, looked.places))
    if not book.good:
        bad("not everything was proved in time: `datasave drill` takes what is due first")
        return 1
    good("each target and each key was proved in time")
    return 0


def _table(title: str, lines: tuple[DrillLine, ...]) -> None:
    table = Table(title=title, title_justify="left", show_edge=False)
    for column in ("target", "key of", "last drill", "outcome", "took", "next due"):
        table.add_column(column, overflow="fold")
    for line in lines:
        colour = COLOURS[line.tone]
        table.add_row(
            escape(line.target) or "any",
            escape(line.holder) or "any",
            line.last,
            f"[{colour}]{line.word}[/{colour}]",
            line.took or "–",
            line.due,
        )
    out.print(table)
