"""Many offices on one Prefect server: their plans, and what the server knows of their backups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from deployments.serving.deployments import plan_of
from tasks.context import PlanContext
from tasks.errors import DatasaveError, PlanError
from tasks.plan.cron import longest_gap, next_time

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

PAGE = 200
PATIENCE = timedelta(hours=2)
BACKUP = "backup"
# More that start in one minute hold each other up, at the server and on the line.
MOST_AT_ONCE = 10


class OfficeStatus(NamedTuple):
    """An office: its newest completed backup, the state of its newest run, when the next one is due."""

    name: str
    last_good: datetime | None
    newest: str
    next: datetime | None
    late: bool


def plans_in(folder: Path) -> list[PlanContext]:
    """The plans in a folder, by file name. Raises PlanError naming every one that cannot be used."""
    paths = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    if not paths:
        raise PlanError(f"{folder} holds no plan", hint="Put a plan for each office there, NAME.yaml.")
    offices: list[PlanContext] = []
    wrong: list[str] = []
    for path in paths:
        try:
            offices.append(PlanContext(path))
        except DatasaveError as error:
            wrong.append(f"{path.name}: {error.message}")
    names = Counter(context.plan.name for context in offices)
    wrong += [f"{many} plans have the name {name}" for name, many in names.items() if many > 1]
    if wrong:
        raise PlanError(
            f"nothing was registered: {'; '.join(wrong)}", hint="Mend these plans; `datasave doctor` helps."
        )
    return offices


def crowded_times(offices: Sequence[PlanContext]) -> Iterator[str]:
    """A line for each time at which too many backups start at once."""
    times = Counter(
        (context.plan.schedule.backup, context.plan.schedule.timezone)
        for context in offices
        if context.plan.schedule.backup
    )
    for (cron, timezone), starting in times.items():
        if starting > MOST_AT_ONCE:
            yield f'{starting} offices start at "{cron}" ({timezone}): give them different minutes.'


def statuses_of(pool: str, now: datetime) -> list[OfficeStatus]:
    """Every office of a pool, the late ones first, then by name."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        offices = [_status(client, deployment, now) for deployment in _deployments(client, pool)]
    return sorted(offices, key=lambda office: (not office.late, office.name))


def _deployments(client: SyncPrefectClient, pool: str) -> Iterator[DeploymentResponse]:
    from prefect.client.schemas.filters import DeploymentFilter, WorkPoolFilter

    ours = DeploymentFilter.model_validate({"tags": {"all_": ["datasave", BACKUP]}})
    there = WorkPoolFilter.model_validate({"name": {"any_": [pool]}})
    for offset in count(step=PAGE):
        found = client.read_deployments(
            deployment_filter=ours, work_pool_filter=there, limit=PAGE, offset=offset
        )
        yield from found
        if len(found) < PAGE:
            return


def _status(client: SyncPrefectClient, deployment: DeploymentResponse, now: datetime) -> OfficeStatus:
    good = _newest(client, deployment.id, "COMPLETED")
    last = _newest(client, deployment.id)
    crons = list(_crons(deployment))
    gaps = [longest_gap(cron) for cron, _ in crons]
    # Where nothing is scheduled nobody is late; an office that never had a backup is, from its first day on.
    since = good[0] if good else deployment.created or now
    late = bool(gaps) and now - since > min(gaps) + PATIENCE
    return OfficeStatus(
        name=plan_of(BACKUP, deployment.name),
        last_good=good[0] if good else None,
        newest=last[1] if last else "never ran",
        next=min((next_time(cron, now.astimezone(zone)) for cron, zone in crons), default=None),
        late=late,
    )


def _newest(client: SyncPrefectClient, deployment: UUID, state: str = "") -> tuple[datetime, str] | None:
    """When the newest run ended or began, and its state; of the runs in one state where that is given."""
    from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    wanted = [StateType(state)] if state else [kind for kind in StateType if kind is not StateType.SCHEDULED]
    runs = client.read_flow_runs(
        deployment_filter=DeploymentFilter.model_validate({"id": {"any_": [deployment]}}),
        flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": wanted}}}),
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
