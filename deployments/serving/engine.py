"""Does one run that the Prefect server asked for: ``python -m deployments.serving.engine PLAN``.

Prefect's own engine would fetch code as the deployment says. The run's id is in ``PREFECT__FLOW_RUN_ID``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from deployments.serving.environment import prepare
from tasks.context import PlanContext
from tasks.errors import PlanError, StartRefused

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun


def main(plan: Path, run_id: UUID) -> int:
    """Do the run; it ends Failed, with the reason, where it is refused."""
    prepare(plan, quiet=False)
    from prefect._internal.control_listener import configure_from_env
    from prefect.engine import handle_engine_signals
    from prefect.flow_engine import load_flow_run, run_flow
    from prefect.logging.loggers import flow_run_logger

    configure_from_env()  # by this channel the process that started us says that a run was cancelled
    with handle_engine_signals(run_id):
        run = load_flow_run(flow_run_id=run_id)
        try:
            flow, parameters = _admitted(plan, run)
        except StartRefused as error:
            return _refuse(plan, run, error)
        logger: Any = flow_run_logger(flow_run=run)
        run_flow(flow, flow_run=run, parameters=parameters, error_logger=logger)
    return 0


def _admitted(plan: Path, run: FlowRun) -> tuple[Flow[..., Any], dict[str, Any]]:
    from prefect.client.orchestration import get_client
    from prefect.logging.loggers import flow_run_logger

    from deployments.serving.admission import admitted, flow_named, ignored, tell

    with get_client(sync_client=True) as client:
        try:
            context = PlanContext(plan)
        except PlanError:
            # The flow says what is wrong with the plan, and tells people.
            return flow_named(client.read_flow(run.flow_id).name), {"plan": plan}
        flow, parameters = admitted(context, client, run)
        if besides := list(ignored(client, flow, run)):
            headline = f"A {flow.name} was started, without what was asked for besides: {'; '.join(besides)}"
            flow_run_logger(flow_run=run).warning(headline)
            tell(context, flow.name, headline, str(run.id))
    return flow, parameters


def _refuse(plan: Path, run: FlowRun, error: StartRefused) -> int:
    from prefect.client.orchestration import get_client
    from prefect.logging.loggers import flow_run_logger
    from prefect.states import Failed

    from deployments.serving.admission import tell

    headline = f"Refused: {error.message}"
    flow_run_logger(flow_run=run).error("%s. %s", headline, error.hint)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Failed(message=headline), force=True)
    try:
        tell(PlanContext(plan), "run", headline, str(run.id))
    except PlanError:
        return 0  # what is wrong with the plan is said when one of its own runs starts
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), UUID(os.environ["PREFECT__FLOW_RUN_ID"])))
