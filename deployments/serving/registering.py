"""The deployments of one plan: which flows users start and schedule, under which names.

A flow that users start belongs into ``offered``; whatever serves or registers takes it from there. Then
write deployments/prefect.yaml anew: ``DATASAVE_REGENERATE_GOLDEN=1 pytest tests/golden/test_prefect_yaml.py``
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from uuid import UUID

from deployments.serving.automations import watch
from deployments.serving.forms import fill_in
from deployments.serving.naming import deployment_name, forget_old_names
from tasks.context import PlanContext

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.deployments.runner import RunnerDeployment


class Place(NamedTuple):
    """The work pool whose worker shall do the runs, and the queue in it.

    ``plan`` is the plan's path on that worker's machine, where it is another than here.
    """

    pool: str
    queue: str
    plan: str = ""


def register(
    context: PlanContext, add: Callable[[RunnerDeployment], Any], place: Place | None = None
) -> list[str]:
    """Register a plan's deployments, each by ``add``, which returns its id, and what watches over their runs.

    Returns the names of the flows.
    """
    from prefect.context import SyncClientContext

    deployments = deployments_of(context, place)
    # One client for all requests: to make one takes 50 ms, and Prefect would make some thirty.
    with SyncClientContext.get_or_create() as opened:
        registered = [cast("UUID", add(deployment)) for deployment in deployments]
        watch(context, registered[-1])
        forget_old_names(opened.client, context.plan.name)
    return [str(made.flow_name) for made in deployments]


def offered(context: PlanContext) -> dict[Flow[..., Any], str | None]:
    """The flows that users start, each with the cron by which it starts by itself, if any."""
    from flows.audit import audit
    from flows.backup import backup
    from flows.copying import check, copy
    from flows.deliver import deliver
    from flows.drill import drill
    from flows.engine import log, restart
    from flows.prune import prune
    from flows.restore import restore

    times = context.plan.schedule
    return {
        backup: times.backup,
        drill: times.drill,
        audit: times.audit,
        restart: times.restart,
        log: times.log,
        deliver: None,
        prune: times.prune,
        restore: None,
        copy: None,
        check: None,
    }


def deployments_of(context: PlanContext, place: Place | None = None) -> list[RunnerDeployment]:
    """The plan's deployments, each flow under a name that a practice manager understands.

    ``place`` is None where the process that serves them also runs them. The last one is the alarm, which
    automations start: it runs beside whatever is under way, and what watches over runs leaves it alone.
    """
    from flows.alarm import alarm

    plan = context.plan
    usual = [
        _deployment(context, place, flow, cron=cron, tags=["datasave", plan.name, flow.name])
        for flow, cron in offered(context).items()
    ]
    return [*usual, _deployment(context, place, alarm, tags=["datasave", "alarm"], all_of_them=True)]


def _deployment(
    context: PlanContext,
    place: Place | None,
    flow: Flow[..., Any],
    *,
    tags: list[str],
    cron: str | None = None,
    all_of_them: bool = False,
) -> RunnerDeployment:
    """One deployment; ``all_of_them``: runs that meet another wait, else they are Cancelled."""
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.schedules import Cron
    from prefect.types.entrypoint import EntrypointType

    # After a night asleep the missed runs come all at once; one of them is enough.
    enough = ConcurrencyLimitStrategy.CANCEL_NEW
    collision = ConcurrencyLimitStrategy.ENQUEUE if all_of_them else enough
    plan = (place.plan if place else "") or str(context.path)
    made = flow.to_deployment(
        name=deployment_name(flow.name, context.plan.name),
        schedule=Cron(cron, timezone=context.plan.schedule.timezone) if cron else None,
        parameters={"plan": plan},
        tags=tags,
        description=(flow.description or "").partition("\n\nArgs:")[0],  # the form explains those
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=collision),
        work_pool_name=place.pool if place else None,
        work_queue_name=place.queue if place else None,
        # Found by its module wherever the process was started, also after a reboot from another folder.
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    deployment = cast("RunnerDeployment", made)
    fill_in(deployment, context, plan)
    return deployment
