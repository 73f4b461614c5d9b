"""``datasave deploy``: a plan's flows and schedules on a Prefect server elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from deployments.cli.options import DEFAULT_PLAN, POOL, PlanOption, PoolOption, QueueOption
from deployments.cli.screen import good, path_line, say
from deployments.serving.deployments import WorkQueue, deployments_of
from deployments.serving.environment import prepare
from deployments.serving.worker import prefect_yaml, register_for_worker, server_url
from tasks.context import PlanContext
from tasks.platform.files import write_atomic


def deploy(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    pool: PoolOption = POOL,
    queue: QueueOption = None,
    write: Annotated[
        Path | None, Parameter(help="Write a prefect.yaml for `prefect deploy` instead of registering.")
    ] = None,
) -> int:
    """Register the plan's flows and schedules with a Prefect server, for a worker to run.

    The server is the one that PREFECT_API_URL names. Makes the work pool where there is none, and the
    automations that alarm. Registering again changes what differs.

    **Examples:**

        datasave deploy --pool offices --queue front-office

        datasave deploy --write prefect.yaml
    """
    context = PlanContext(plan)
    prepare(context.path)
    work = WorkQueue(pool, queue or context.plan.name)
    if write is not None:
        write_atomic(write, prefect_yaml(deployments_of(context, work)).encode("utf-8"))
        path_line("Written:", write)
        return 0
    server_url()
    flows = register_for_worker(context, work)
    say(f"On the machine of {context.plan.name}: datasave worker --pool {work.pool} --queue {work.queue}")
    good(f"{context.plan.name} is deployed: {', '.join(flows)}")
    return 0
