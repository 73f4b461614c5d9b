"""What a Prefect server may start here: one of our flows, on this plan, with values that its form allows.

Whoever has a server's password can write anything into a deployment, a run, a work pool or a block. Of all
that two things are read: the name of the run's flow, and its parameters. Code, commands, environments and
places to keep results are this machine's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployments.serving.deployments import flows_by_name, form_of
from tasks.context import PlanContext
from tasks.errors import PlanError, StartRefused
from tasks.health.notify import notifier_of, tell_everyone, tell_plainly
from tasks.journal.kinds import Kind
from tasks.notices.wording import plain_text
from tasks.reports import RunReport

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

# The same attempt, made every minute, shall not bury its own notice.
TOLD_FOR = timedelta(days=1)
LONGEST = 300
HINT = "Change the password of the Prefect server, look at its deployments, and register them again."


def flow_named(name: str) -> Flow[..., Any]:
    """Our flow of that name, its results kept in Prefect's folder here. Raises StartRefused."""
    flow = flows_by_name().get(name)
    if flow is None:
        raise StartRefused(
            f"a run of the flow {_shown(name)} was asked for, which is none of ours", hint=HINT
        )
    return kept_here(flow)


def kept_here(flow: Flow[..., Any]) -> Flow[..., Any]:
    """The flow with its results kept here: a server's own default would send them to where it says.

    Results that are read back from there would be code: they may be pickles.
    """
    from prefect.settings import get_current_settings

    folder: Any = Path(get_current_settings().results.local_storage_path)
    return flow.with_options(result_storage=folder)


def checked(context: PlanContext, flow: Flow[..., Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A run's parameters, the plan this machine's own. Raises StartRefused for any that the form refuses."""
    from prefect.utilities.schema_tools.validation import ValidationError, validate

    given = {name: value for name, value in parameters.items() if value is not None}
    asked = given.pop("plan", None)
    if not isinstance(asked, str | Path) or Path(asked).resolve() != context.path.resolve():
        raise StartRefused(
            f"a {flow.name} with the plan {_shown(asked)} was asked for; {context.path} is served here",
            hint=HINT,
        )
    schema: Any = form_of(context, flow)
    if unknown := given.keys() - schema["properties"].keys():
        raise StartRefused(f"a {flow.name} has no parameter {_shown(min(unknown))}", hint=HINT)
    try:
        validate({**given, "plan": str(context.path)}, schema, raise_on_error=True)
    except ValidationError as error:
        raise StartRefused(
            f"a {flow.name} was asked for with a value that it cannot have: {_shown(error)}", hint=HINT
        ) from error
    return {**given, "plan": context.path}


def admitted(
    context: PlanContext, client: SyncPrefectClient, run: FlowRun
) -> tuple[Flow[..., Any], dict[str, Any]]:
    """The flow and the parameters of a run that the server asks for. Raises StartRefused."""
    flow = flow_named(client.read_flow(run.flow_id).name)
    return flow, checked(context, flow, run.parameters)


def ignored(client: SyncPrefectClient, flow: Flow[..., Any], run: FlowRun) -> Iterator[str]:
    """What a run or its deployment says beyond that, which nothing here follows, in words."""
    if run.job_variables:
        yield f"job variables of the run ({_shown(', '.join(sorted(run.job_variables)))})"
    if run.deployment_id is None:
        return
    deployment = client.read_deployment(run.deployment_id)
    if deployment.job_variables:
        yield f"job variables of its deployment ({_shown(', '.join(sorted(deployment.job_variables)))})"
    if steps := [step for step in deployment.pull_steps or () if step]:
        yield f"pull steps of its deployment ({_shown(', '.join(name for step in steps for name in step))})"
    ours = f"{flow.fn.__module__}.{flow.fn.__name__}"
    if deployment.entrypoint != ours:
        yield f"another entrypoint of its deployment ({_shown(deployment.entrypoint)})"


def tell(context: PlanContext, flow: str, headline: str, run: str) -> None:
    """Write into the journal what was refused or ignored, and tell of it; within a day once."""
    now = datetime.now(UTC).replace(microsecond=0)
    told = any(
        entry.facts.get("detail") == headline and now - entry.time < TOLD_FOR
        for entry in context.journal.entries(Kind.REFUSED)
    )
    context.journal.append(Kind.REFUSED, detail=headline, run=run)
    if told:
        return
    facts = RunReport(
        flow=flow,
        run=run,
        source=context.plan.name,
        started=now,
        finished=now,
        succeeded=False,
        headline=headline,
        advice=(HINT,),
    )
    try:
        with notifier_of(context.path) as notifier:
            tell_everyone(notifier, facts, tell_plainly)
    except PlanError:
        return  # whom it tells can't be read; the journal has it


def _shown(value: object) -> str:
    return plain_text(str(value), LONGEST)
