"""``datasave runbook``: write the disaster plan, and put it on the targets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from deployments.cli.options import DEFAULT_PLAN, PlanOption
from deployments.cli.screen import bad, good, path_line
from tasks.context import PlanContext
from tasks.errors import DatasaveError
from tasks.health.runbook import put_runbook, write_runbook


def runbook(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    out: Annotated[
        Path | None, Parameter(help="A folder to write it to; without it, the plan's state folder.")
    ] = None,
    put: Annotated[
        bool, Parameter(negative=(), help="Put it on every target that can be reached, too.")
    ] = False,
) -> int:
    """Write the office's disaster plan: whom to call, where the backups are, what to type on which bad day.

    As a page to print and as Markdown. Each backup puts the newest edition on its targets by itself.

    Exit status 1 where --put could not reach a target.

    **Examples:**

        datasave runbook

        datasave runbook --plan clinic.yaml --out D:/papers

        datasave runbook --put
    """
    context = PlanContext(plan)
    path_line("Print this, and keep it outside the office:", write_runbook(context, out))
    return _put(context) if put else 0


def _put(context: PlanContext) -> int:
    failed = False
    for entry in context.plan.targets:
        try:
            with context.target(entry.name) as target:
                put_runbook(context, target)
            good(f"{entry.name} has the newest edition")
        except DatasaveError as error:
            bad(error)
            failed = True
    return 1 if failed else 0
