"""What a Prefect server knows of the backups of many offices."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from deployments.serving.naming import plan_of
from tasks.plan.cron import longest_gap, next_time

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

PAGE = 200
PATIENCE = timedelta(hours=2)
BACKUP = "backup"


class Site(NamedTuple):
    """An office: its newest completed backup, the state of its newest run, when the next one is due."""

    name: str
    last_good: datetime | None
    newest: str
    next: datetime | None
    late: bool


def sites_of(pool: str, now: datetime) -> list[Site]:
    """Every office of a pool, the late ones first, then by name."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        sites = [_site(client, deployment, now) for deployment in _deployments(client, pool)]
    return sorted(sites, key=lambda site: (not site.late, site.name))


def _deployments(client: SyncPrefectClient, pool: str) -> Iterator[DeploymentResponse]:
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterTags,
        WorkPoolFilter,
        WorkPoolFilterName,
    )

    page = 0
    while True:
        found = client.read_deployments(
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
            deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=["datasave", BACKUP])),
            limit=PAGE,
            offset=page * PAGE,
        )
        yield from found
        if len(found) < PAGE:
            return
        page += 1


def _site(client: SyncPrefectClient, deployment: DeploymentResponse, now: datetime) -> Site:
    good = _newest(client, deployment.id, "COMPLETED")
    last = _newest(client, deployment.id)
    crons = list(_crons(deployment))
    gaps = [longest_gap(cron) for cron, _ in crons]
    # Where nothing is scheduled nobody is late; a site that never had a backup is, from its first day on.
    since = good[0] if good else deployment.created or now
    late = bool(gaps) and now - since > min(gaps) + PATIENCE
    return Site(
        name=plan_of(BACKUP, deployment.name),
        last_good=good[0] if good else None,
        newest=last[1] if last else "never ran",
        next=min((next_time(cron, now.astimezone(zone)) for cron, zone in crons), default=None),
        late=late,
    )


def _newest(client: SyncPrefectClient, deployment: UUID, state: str = "") -> tuple[datetime, str] | None:
    """When the newest run ended or began, and its state; of the runs in one state where that is said."""
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterId,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    wanted = [StateType(state)] if state else [kind for kind in StateType if kind is not StateType.SCHEDULED]
    runs = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=wanted))),
        sort=FlowRunSort.START_TIME_DESC,
        limit=1,
    )
    for run in runs:
        moment = run.end_time or run.start_time or run.created
        if moment is not None:
            return moment.astimezone(UTC), run.state_name or ""
    return None


def _crons(deployment: DeploymentResponse) -> Iterator[tuple[str, ZoneInfo]]:
    from prefect.client.schemas.schedules import CronSchedule

    for entry in deployment.schedules:
        if entry.active and isinstance(entry.schedule, CronSchedule):
            yield entry.schedule.cron, ZoneInfo(entry.schedule.timezone or "UTC")
