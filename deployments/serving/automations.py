"""Prefect automations for what no run can report itself: that its machine died, or that it never started.

Where only the run's process is killed, the process that started it reports that (flows/ending.py,
tasks/steps/notices.py).

Created or updated by name whenever the plan is served or registered. They live in the Prefect server and
die with it: an outside heartbeat, or ``datasave audit`` from a second machine, is needed besides.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from tasks.context import PlanContext

if TYPE_CHECKING:
    from prefect.automations import Automation

# Runs send a heartbeat each 30 s (environment.py), Prefect's shortest; five may be lost before a run counts
# as dead. A run that lives after all goes on, and its own end replaces Crashed.
SECONDS_WITHOUT_HEARTBEAT = 150
BEAT = "prefect.flow-run.heartbeat"
ENDED = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")}
RUN = {"prefect.resource.id": "prefect.flow-run.*"}


def ensure_automations(context: PlanContext, alarm: UUID) -> list[str]:
    """Create or update the plan's automations, which start the deployment ``alarm``; returns their names."""
    wanted = [_died(context, alarm)]
    if context.plan.schedule.silent_hours is not None:
        wanted.append(_silent(context, alarm, context.plan.schedule.silent_hours))
    else:
        _remove(_silent_name(context))
    for automation in wanted:
        _ensure(automation)
    return [automation.name for automation in wanted]


def _died(context: PlanContext, alarm: UUID) -> Automation:
    from prefect.automations import Automation, ChangeFlowRunState, EventTrigger, Posture
    from prefect.client.schemas.objects import StateType

    from tasks.steps.running import NO_SIGN

    return Automation(
        name=_died_name(context),
        description="Without it a run whose machine or process was killed would be Running for ever.",
        trigger=EventTrigger(
            after={BEAT},
            expect={BEAT, *ENDED},
            match=_labels(RUN),
            match_related=_runs_of(context),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=_within(context),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"{NO_SIGN}: its process or its machine was stopped. Run it again with Retry",
            ),
            # Not an automation of its own on Crashed: after a restart Prefect's server holds that event
            # back, 15 min and more, for an earlier one that it has forgotten.
            _start(
                alarm,
                "A run died without a word",
                run="{{ flow_run.name }}",
                run_id="run {{ flow_run.id }}",
            ),
        ],
    )


def _silent(context: PlanContext, alarm: UUID, hours: float) -> Automation:
    from prefect.automations import Automation, EventTrigger, Posture

    backups = _labels({"prefect.resource.role": "flow", "prefect.resource.name": "backup"})
    return Automation(
        name=_silent_name(context),
        description=f"Fires after {hours:g} hours without one, though no run may have been started at all.",
        trigger=EventTrigger(
            expect={"prefect.flow-run.Completed"},
            match=_labels(RUN),
            match_related=[backups, *_runs_of(context)],
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(hours=hours),
        ),
        actions=[_start(alarm, f"No backup of {context.plan.name} succeeded for {hours:g} hours")],
    )


def _died_name(context: PlanContext) -> str:
    return f"{context.plan.name}: a run that died counts as Crashed"


def _within(context: PlanContext) -> timedelta:
    """How long a run may send no heartbeat: what was set in the UI, else our default.

    Not changed at a restart: the server would then forget the runs it is waiting for, as after a power cut.
    """
    from prefect.automations import EventTrigger

    found = _read(_died_name(context))
    if found is not None and isinstance(found.trigger, EventTrigger):
        return found.trigger.within
    return timedelta(seconds=SECONDS_WITHOUT_HEARTBEAT)


def _silent_name(context: PlanContext) -> str:
    return f"{context.plan.name}: alarm when no backup succeeds"


def _start(alarm: UUID, reason: str, **about: str) -> Any:
    from prefect.automations import RunDeployment

    # The plan comes from the deployment, which knows its path on the machine that does the run.
    return RunDeployment(source="selected", deployment_id=alarm, parameters={"reason": reason, **about})


def _runs_of(context: PlanContext) -> list[Any]:
    """Runs of this plan: other flows on a shared server have heartbeats of their own."""
    tags = ("datasave", context.plan.name)
    return [
        _labels({"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{tag}"}) for tag in tags
    ]


def _labels(labels: Mapping[str, str]) -> Any:
    from prefect.events import ResourceSpecification

    return ResourceSpecification.model_validate(dict(labels))


def _ensure(wanted: Automation) -> None:
    """Create the automation, or change the one of its name where it differs.

    One that is the same stays untouched: an update would restart its hours each time the plan is served.
    """
    found = _read(wanted.name)
    if found is None:
        wanted.create()
    elif _content(found) != _content(wanted):
        wanted.id = found.id
        wanted.update()


def _remove(name: str) -> None:
    found = _read(name)
    if found is not None:
        found.delete()


def _read(name: str) -> Automation | None:
    from prefect.automations import Automation

    try:
        return cast("Automation", Automation.read(name=name))
    except ValueError:
        return None


def _content(automation: Automation) -> Any:
    content = automation.model_dump(mode="json", exclude={"id", "owner_resource", "enabled"})
    content["trigger"].pop("id", None)
    return _sorted(content)


def _sorted(content: Any) -> Any:
    """Sets come back from the server as lists in any order."""
    if isinstance(content, Mapping):
        return {name: _sorted(value) for name, value in content.items()}
    if isinstance(content, list):
        return sorted((_sorted(item) for item in content), key=repr)
    return content
