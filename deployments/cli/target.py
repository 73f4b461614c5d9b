"""``datasave target``: the places that receive backups."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from deployments.cli.options import DEFAULT_PLAN, PlanOption
from deployments.cli.screen import good, warning
from tasks.backup.apart import ON_THE_SAME_DISK, shares_disk
from tasks.context import PlanContext
from tasks.targets.capabilities import prepare


def init(
    target: Annotated[str, Parameter(help="Name of the target in the plan.")],
    /,
    *,
    plan: PlanOption = DEFAULT_PLAN,
) -> int:
    """Make a place ready to be a target: write the marker by which it is known from then on.

    This is done only by this command, and once: without its marker a path that isn't mounted would pass for
    the drive, and backups would pile up on the system disk.

    **Examples:**

        datasave target init nas
    """
    context = PlanContext(plan)
    with context.target(context.entry(target).name) as place:
        good(prepare(place))
        if shares_disk(context, place):
            warning(f"{target} lies {ON_THE_SAME_DISK}")
    return 0
