"""The deployments of one plan: which flows users start and schedule, under which names.

A flow that users start belongs into ``offered``; whatever serves or registers takes it from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from tasks.steps.office import Office

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.deployments.runner import RunnerDeployment


def offered(office: Office) -> dict[Flow[..., Any], str | None]:
    """The flows that users start, each with the cron by which it starts by itself, if any."""
    from flows.audit import audit
    from flows.backup import backup
    from flows.deliver import deliver
    from flows.drill import drill
    from flows.engine import log, restart
    from flows.prune import prune
    from flows.restore import restore

    times = office.plan.schedule
    return {
        backup: times.backup,
        drill: times.drill,
        audit: times.audit,
        restart: times.restart,
        log: times.log,
        deliver: None,
        prune: None,
        restore: None,
    }


def deployments_of(office: Office) -> list[RunnerDeployment]:
    """The plan's deployments: each flow under a name that a practice manager understands."""
    return [_deployment(office, flow, cron) for flow, cron in offered(office).items()]


def _deployment(office: Office, flow: Flow[..., Any], cron: str | None) -> RunnerDeployment:
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.schedules import Cron

    plan = office.plan
    made = flow.to_deployment(
        name=plan.name,
        schedule=Cron(cron, timezone=plan.schedule.timezone) if cron else None,
        parameters={"plan": str(office.path)},
        tags=["datasave", plan.name, flow.name],
        description=flow.description,
        # CANCEL_NEW: after a night asleep the missed runs come all at once; one of them is enough.
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
        ),
    )
    return cast("RunnerDeployment", made)
