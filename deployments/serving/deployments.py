"""The deployments of one plan: which flows users start and schedule, under which names, with which forms.

A flow that users start belongs into ``flows_offered``; whatever serves or registers takes it from there. Then
write deployments/prefect.yaml anew: ``DATASAVE_REGENERATE_GOLDEN=1 pytest tests/golden/test_prefect_yaml.py``

The UI's page of deployments lists the names alone, those of all plans on its server, and cuts them off after
some 24 letters: each name is unique, short, and without quotes, so that it can be typed:
``prefect deployment run "drill/Drill clinic"``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from uuid import UUID

from deployments.serving.automations import ensure_automations
from tasks.context import PlanContext

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.deployments.runner import RunnerDeployment

NAMES = {
    "backup": "Back up {}",
    "drill": "Drill {}",
    "audit": "Look at {} targets",
    "restart": "Restart {} engine",
    "log": "Back up {} log",
    "deliver": "Deliver {} backup",
    "prune": "Prune {} backups",
    "restore": "Restore {}",
    "copy": "Copy {} unencrypted",
    "check": "Check {}",
    "alarm": "Alarm of {}",
}


class WorkQueue(NamedTuple):
    """The queue of a work pool whose worker does a plan's runs.

    ``plan`` is the plan's path on that worker's machine, where it is another than here.
    """

    pool: str
    queue: str
    plan: str = ""


def deployment_name(flow: str, plan: str) -> str:
    """The name of a plan's deployment of a flow."""
    return NAMES[flow].format(plan)


def plan_of(flow: str, name: str) -> str:
    """The name of the plan whose deployment of a flow has this name."""
    before, after = NAMES[flow].split("{}")
    return name.removeprefix(before).removesuffix(after)


def register(
    context: PlanContext, add: Callable[[RunnerDeployment], Any], queue: WorkQueue | None = None
) -> list[str]:
    """Register a plan's deployments and the automations that watch over their runs; the names of the flows.

    ``add`` registers a deployment with the server and returns its id.
    """
    from prefect.context import SyncClientContext

    deployments = deployments_of(context, queue)
    # One client for all requests: to make one takes 50 ms, and Prefect would make some thirty.
    with SyncClientContext.get_or_create() as opened:
        registered = [cast("UUID", add(deployment)) for deployment in deployments]
        ensure_automations(context, registered[-1])
        _remove_old_names(opened.client, context.plan.name)
    return [str(made.flow_name) for made in deployments]


def flows_offered(context: PlanContext) -> dict[Flow[..., Any], str | None]:
    """The flows that users start, each with the cron by which it starts by itself, if any."""
    times = context.plan.schedule.model_dump()
    return {flow: times.get(flow.name) for flow in offered()}


def offered() -> tuple[Flow[..., Any], ...]:
    """The flows that users start."""
    from flows.audit import audit
    from flows.backup import backup
    from flows.copying import check, copy
    from flows.deliver import deliver
    from flows.drill import drill
    from flows.engine import log, restart
    from flows.prune import prune
    from flows.restore import restore

    return backup, drill, audit, restart, log, deliver, prune, restore, copy, check


def flows_by_name() -> dict[str, Flow[..., Any]]:
    """Every flow that a plan's deployments start: those that users do, and the alarm."""
    from flows.alarm import alarm

    return {flow.name: flow for flow in (*offered(), alarm)}


def form_of(context: PlanContext, flow: Flow[..., Any]) -> dict[str, Any]:
    """The JSON schema of a flow's parameters, with the plan's own names."""
    made = _deployment(context, None, flow, tags=[])
    return made._parameter_openapi_schema.model_dump_for_openapi()


def deployments_of(context: PlanContext, queue: WorkQueue | None = None) -> list[RunnerDeployment]:
    """The plan's deployments, each flow under a name that a practice manager understands.

    ``queue`` is None where the process that serves them also runs them. The last deployment is the alarm,
    which automations start: it runs beside whatever is under way, and no automation watches it.
    """
    from flows.alarm import alarm

    plan = context.plan
    usual = [
        _deployment(context, queue, flow, cron=cron, tags=["datasave", plan.name, flow.name])
        for flow, cron in flows_offered(context).items()
    ]
    return [*usual, _deployment(context, queue, alarm, tags=["datasave", "alarm"], all_of_them=True)]


def _deployment(
    context: PlanContext,
    queue: WorkQueue | None,
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
    plan = (queue.plan if queue else "") or str(context.path)
    made = flow.to_deployment(
        name=deployment_name(flow.name, context.plan.name),
        schedule=Cron(cron, timezone=context.plan.schedule.timezone) if cron else None,
        parameters={"plan": plan},
        tags=tags,
        description=(flow.description or "").partition("\n\nArgs:")[0],  # the form explains those
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=collision),
        work_pool_name=queue.pool if queue else None,
        work_queue_name=queue.queue if queue else None,
        # Found by its module wherever the process was started, also after a reboot from another folder.
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    deployment = cast("RunnerDeployment", made)
    _fill_in_form(deployment, context, plan)
    return deployment


def _fill_in_form(deployment: RunnerDeployment, context: PlanContext, plan: str) -> None:
    """Let the form of a custom run in the UI offer the plan's own names, so that none is typed.

    Prefect makes the form from a flow's signature and docstring, which know no plan. The server refuses
    other values, wherever they come from. ``plan`` is where the plan lies.
    """
    schema = deployment._parameter_openapi_schema
    targets = [entry.name for entry in context.plan.targets]
    choices: dict[str, dict[str, Any]] = {
        # Shown, not to be changed: whoever may start runs starts those of this plan.
        "plan": {**_one([plan]), "readOnly": True},
        "targets": _several(targets),
        "skip": _several(targets),
        "target": _one(targets),
        "source": _one(list(context.full_names)),
    }
    for name, field in schema.properties.items():
        if name in choices:
            kept = {key: field[key] for key in ("title", "description", "position") if key in field}
            schema.properties[name] = {**kept, **choices[name]}
        schema.properties[name]["title"] = name.replace("_", " ").capitalize()


def _one(names: list[str]) -> dict[str, Any]:
    return {"type": "string", "enum": names}


def _several(names: list[str]) -> dict[str, Any]:
    return {"type": "array", "items": _one(names), "uniqueItems": True}


def _remove_old_names(client: SyncPrefectClient, plan: str) -> None:
    """Remove the deployments that were registered when all of a plan's had its name.

    They would go on to start runs of their own by the same schedule. Their past runs stay.
    """
    from prefect.client.schemas.filters import DeploymentFilter

    old = DeploymentFilter.model_validate({"name": {"any_": [plan]}, "tags": {"all_": ["datasave"]}})
    for deployment in client.read_deployments(deployment_filter=old):
        client.delete_deployment(deployment.id)
