"""Prefect tasks: people and the heartbeat hear how a run went. A hook tells of runs that were cut off."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

from prefect import Flow, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import TaskRunContext
from prefect.futures import wait

from tasks.errors import PlanError
from tasks.health.notify import HEARTBEAT, Channel, notifier_of, outcome_of, tell_everyone, tell_plainly
from tasks.notices.notice import Notice
from tasks.reports import Notified, RunReport
from tasks.steps.declaration import worth_another_try
from tasks.steps.report import amend

# Greylisting servers take a mail at the second or third try, after some five minutes at the most.
PATIENCE = [10.0, 60.0, 360.0]

_told: set[str] = set()


def _once(context: TaskRunContext, parameters: dict[str, Any]) -> str | None:
    """A re-run sends nobody the same notice twice. The heartbeat gets each: its clock has started again."""
    run = context.task_run.flow_run_id
    channel, notice = parameters["channel"], parameters["notice"]
    if run is None or channel.name == HEARTBEAT:
        return None
    text = "\0".join((str(run), channel.name, notice.word, notice.headline))
    return hashlib.sha256(text.encode()).hexdigest()


@task(
    name="tell",
    task_run_name="{channel.name}",
    persist_result=True,
    result_serializer="json",
    cache_key_fn=_once,
    retries=3,
    retry_delay_seconds=PATIENCE,
    retry_condition_fn=worth_another_try,
)
def tell(channel: Channel, notice: Notice) -> str:
    """Tell one person, channel or heartbeat; its name is what this step is called on the run's page."""
    return channel.tell(notice)


@task(name="begin", task_run_name="heartbeat, start", cache_policy=NO_CACHE, retries=1, retry_delay_seconds=5)
def begin(plan: Path, flow: str) -> str:
    """Tell the heartbeat that a run begins. Nothing waits for it: what counts is how the run ends."""
    with notifier_of(plan) as notifier:
        return notifier.start(flow)


def notify(plan: Path, facts: RunReport, *, reporting: bool = True) -> RunReport:
    """Tell everyone how a run went, note who was told in its report, and return the amended facts."""
    if run := runtime.flow_run.id:
        _told.add(str(run))
    try:
        with notifier_of(plan) as notifier:
            # The posture stays in the office: notices tell of the run alone.
            done = tell_everyone(notifier, facts.model_copy(update={"posture": None}), _by_tasks)
    except PlanError:
        return facts  # whom it tells can't be read either; the run fails for that already
    done = done.model_copy(update={"posture": facts.posture})
    return amend(plan, facts, done) if reporting and done.notices else done


def _by_tasks(channels: Sequence[Channel], notice: Notice) -> list[Notified]:
    futures = [tell.submit(channel, notice) for channel in channels]
    wait(futures)
    return [outcome_of(channel, future.result) for channel, future in zip(channels, futures, strict=True)]


def tell_of_the_end(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Tell of a run that ended before it could: killed, interrupted, cancelled, or by an error of ours.

    Prefect calls it by these very names of its parameters, for each run that didn't complete.
    """
    if str(flow_run.id) in _told:
        _told.discard(str(flow_run.id))
        return
    plan, now = Path(flow_run.parameters["plan"]), datetime.now(UTC).replace(microsecond=0)
    cause = {
        "CANCELLED": "was cancelled",
        "CANCELLING": "was cancelled",
        "FAILED": "ended by an error in Datasave",
    }
    headline = (
        f"The {flow.name} {cause.get(state.type.value, 'was stopped before its end, or its program died')}"
    )
    with notifier_of(plan) as notifier:
        facts = RunReport(
            flow=flow.name,
            run=flow_run.name,
            source=notifier.name,
            started=flow_run.start_time or now,
            finished=now,
            succeeded=False,
            headline=headline,
            advice=(
                "Run it again (`datasave retry` for a backup). Its log in the Prefect UI has the details.",
            ),
        )
        tell_everyone(notifier, facts, tell_plainly)


class Endings(TypedDict):
    """The hooks among a flow's options."""

    on_failure: list[Any]
    on_crashed: list[Any]
    on_cancellation: list[Any]


def notify_at_every_end(*before: Any) -> Endings:
    """A flow's options by which people hear of it however it ends.

    ``before`` are hooks that run first after a run was cut off, such as clearing staging.
    """
    return {
        "on_failure": [tell_of_the_end],
        "on_crashed": [*before, tell_of_the_end],
        "on_cancellation": [*before, tell_of_the_end],
    }
