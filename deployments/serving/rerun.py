"""Re-run a failed backup: through its deployment where it has one, else here and now."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.flow_engine import run_flow
from prefect.states import AwaitingRetry

from deployments.serving.admission import checked, kept_here
from flows.backup import backup
from tasks.backup.workspace import is_busy
from tasks.context import PlanContext
from tasks.errors import NoBackup, StateError

FAILED = [StateType.FAILED, StateType.CRASHED, StateType.CANCELLED]
RERUN = [*FAILED, StateType.RUNNING]
# A served run starts within 3 s and a worker's within 11 s; past this nobody is serving.
SECONDS_TO_START = 60


def rerun(context: PlanContext, run: str | None) -> State[Any]:
    """Set a failed run of the plan going again, wait for its end, return its final state.

    Raises NoBackup where no such run is on record, StateError where its runner doesn't answer, StartRefused
    for parameters that no form of the plan's would have sent.
    """
    with get_client(sync_client=True) as client:
        failed = _find(client, context, run)
        client.set_flow_run_state(failed.id, AwaitingRetry(message="Retry by hand"), force=True)
        if failed.deployment_id:
            return _wait_for(client, failed.id)
        again = client.read_flow_run(failed.id)
    parameters = checked(context, backup, again.parameters)
    state = run_flow(kept_here(backup), flow_run=again, parameters=parameters, return_type="state")
    assert isinstance(state, State)  # noqa: S101 - run_flow's signature covers async flows too
    return state


def _find(client: SyncPrefectClient, context: PlanContext, run: str | None) -> FlowRun:
    if run is not None:
        try:
            named = client.read_flow_run(UUID(run))
        except (ValueError, ObjectNotFound) as error:
            raise NoBackup(
                f"there is no run {run}", hint="Copy the run's id from its page in the Prefect UI."
            ) from error
        ours = named.flow_id == client.read_flow_by_name("backup").id and _is_of(context, named)
        if not ours or not _has_ended(context, named):
            raise NoBackup(
                f"run {run} is not a failed backup of {context.path}",
                hint="Only a failed, crashed or cancelled backup of this plan can be run again.",
            )
        return named
    recorded = client.read_flow_runs(
        flow_filter=FlowFilter.model_validate({"name": {"any_": ["backup"]}}),
        flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": RERUN}}}),
        sort=FlowRunSort.START_TIME_DESC,
    )
    for candidate in recorded:
        if _is_of(context, candidate) and _has_ended(context, candidate):
            return candidate
    raise NoBackup(
        f"no failed backup run of {context.path} is on record", hint="Start a new one: datasave backup."
    )


def _is_of(context: PlanContext, run: FlowRun) -> bool:
    return Path(run.parameters.get("plan", "")) == context.path


def _has_ended(context: PlanContext, run: FlowRun) -> bool:
    """Whether a run failed, or died together with its server, which then still counts it as Running.

    The plan's lock shows that: the system drops it when a process dies. Runs of a deployment may be on
    another machine; automations mark those as Crashed.
    """
    if run.state_type in FAILED:
        return True
    return run.deployment_id is None and not is_busy(context.staging)


def _wait_for(client: SyncPrefectClient, run_id: UUID) -> State[Any]:
    began = time.monotonic()
    while True:
        state = client.read_flow_run(run_id).state
        if state is not None and state.is_final():
            return state
        waiting = state is None or state.is_scheduled()
        if waiting and time.monotonic() - began > SECONDS_TO_START:
            raise StateError(
                f"run {run_id} was set to retry, but nobody has started it",
                hint="Start `datasave serve` (or the site's worker); the run starts by itself then.",
            )
        time.sleep(0.5)
