"""Commands that only look: list, status."""

from __future__ import annotations

from deployments.cli.options import DEFAULT_PLAN, PlanOption, TargetsOption
from deployments.cli.screen import bad, path_line, shelf_table
from deployments.cli.status import show_status
from tasks.backup.retain import shelf_of
from tasks.context import PlanContext
from tasks.errors import DatasaveError
from tasks.health.status import status_of, write_status
from tasks.notices.wording import place_text


def list_backups(*, plan: PlanOption = DEFAULT_PLAN, target: TargetsOption = None) -> int:
    """List the backups on every target, newest first, verified or with what is wrong with them.

    Exit status 1 where a target can't be reached.

    **Examples:**

        datasave list

        datasave list --plan clinic.yaml --target nas
    """
    context = PlanContext(plan)
    names = context.chosen(target)
    failed = False
    for name in names:
        try:
            with context.target(name) as place:
                for source_name in context.source_names:
                    shelf_table(place_text(name, source_name), shelf_of(context, place, source_name))
        except DatasaveError as error:
            bad(error)
            failed = True
    return 1 if failed else 0


def status(*, plan: PlanOption = DEFAULT_PLAN) -> int:
    """Show how backups stand: the newest proven backup of each target, what is due, what needs attention.

    Tells what this machine remembers, at once and without reaching any target; `datasave audit` looks at
    the targets themselves. The same is written as a page after each run.

    Exit status 1 where something needs attention.

    **Examples:**

        datasave status

        datasave status --plan clinic.yaml
    """
    context = PlanContext(plan)
    shown = status_of(context)
    show_status(shown, context.timezone)
    path_line("Page:", write_status(context))
    return 0 if shown.good else 1
