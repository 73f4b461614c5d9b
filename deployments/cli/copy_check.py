"""Commands that copy or check the database when someone asks, without making a backup: copy, check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from deployments.cli.options import DEFAULT_PLAN, PlanOption, SourceOption
from deployments.cli.run import run_flow
from deployments.serving.reaching import prepare_run
from tasks.context import PlanContext


def copy(
    *,
    to: Annotated[
        Path | None, Parameter(help="A new or empty folder here; without it, a new one in the state folder.")
    ] = None,
    plan: PlanOption = DEFAULT_PLAN,
    source: SourceOption = None,
) -> int:
    """Copy the database now, while it is in use: checked, and NOT encrypted.

    Whoever reaches the folder can read it: keep it on this machine, and delete it when it has served. It is
    no backup. A folder that holds anything, is on the network, or belongs to a target is refused.

    **Examples:**

        datasave copy --to D:/copy-for-the-accountant

        datasave copy --plan clinic.yaml --source programs --to /srv/copy
    """
    context = PlanContext(plan)
    context.source_name(source)
    prepare_run(context.path)
    from flows.copying import copy as flow

    destination = to.absolute() if to else None
    return run_flow(context, flow, plan=context.path, destination=destination, source=source)


def check(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    source: Annotated[
        str | None, Parameter(help="Which of the plan's sources; without it, each of them.")
    ] = None,
) -> int:
    """Check the database now, while it is in use: the engine's own check, every table counted.

    Works on a copy in staging, which goes afterwards. No target receives anything.

    **Examples:**

        datasave check

        datasave check --plan clinic.yaml --source programs
    """
    context = PlanContext(plan)
    if source is not None:
        context.source_name(source)
    prepare_run(context.path)
    from flows.copying import check as flow

    return run_flow(context, flow, plan=context.path, source=source)
