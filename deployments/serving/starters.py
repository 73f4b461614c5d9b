"""Prefect's runner and worker, with one thing taken from them: to start what a server says.

They ask for runs, tell the server how these stand and hear of cancellations. What is started is
``deployments.serving.engine`` with this machine's plan, in this machine's environment, whatever a deployment,
a run, a work pool or a block asks for; the hooks of a run that was cut off are those of our own flows.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio
from prefect.client.orchestration import get_client
from prefect.runner import Runner
from prefect.runner._flow_run_executor import FlowRunExecutorContext
from prefect.runner._hook_runner import HookRunner
from prefect.runner._starter_engine import EngineCommandStarter
from prefect.utilities.processutils import command_to_string
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from deployments.serving import engine
from deployments.serving.admission import admitted
from tasks.context import PlanContext

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun


def _starter(context: PlanContext, control: Any) -> EngineCommandStarter:
    # -P: no module is taken from the folder that the command is used in.
    command = [sys.executable, "-P", "-m", engine.__name__, str(context.path)]
    return EngineCommandStarter(command=command_to_string(command), control_channel=control)


def _resolver(context: PlanContext) -> Callable[[FlowRun], Awaitable[Flow[..., Any]]]:
    def find(run: FlowRun) -> Flow[..., Any]:
        with get_client(sync_client=True) as client:
            return admitted(context, client, run)[0]

    async def resolve(run: FlowRun) -> Flow[..., Any]:
        return await asyncio.to_thread(find, run)

    return resolve


class PlanRunner(Runner):
    """Runs the deployments of a plan that ``datasave serve`` registered."""

    def __init__(self, context: PlanContext, **options: Any) -> None:
        super().__init__(**options)
        self._context = context

    async def __aenter__(self) -> PlanRunner:
        """Replace what would load a deployment's code: the starter of runs, and the runner of hooks."""
        await super().__aenter__()
        hooks = HookRunner(resolve_flow=_resolver(self._context))
        poller = self._scheduled_run_poller
        poller._resolve_starter = lambda _run: _starter(self._context, self._control_channel)
        self._hook_runner = poller._hook_runner = self._cancellation_manager._hook_runner = hooks
        return self


class _OwnConfiguration(ProcessJobConfiguration):
    """What runs as: nothing of it comes from the work pool, the deployment or the run."""

    @classmethod
    async def from_template_and_values(cls, *_asked: Any, **_besides: Any) -> _OwnConfiguration:
        return cls()


class PlanWorker(ProcessWorker):
    """Does the runs of a queue for one plan: the worker of type process, as far as a server can tell."""

    type = "process"
    job_configuration = _OwnConfiguration

    def __init__(self, context: PlanContext, **options: Any) -> None:
        super().__init__(**options)
        self._context = context

    @classmethod
    def __dispatch_key__(cls) -> str:
        """Known beside Prefect's own worker of that type, not in its place."""
        return "datasave"

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,  # noqa: ARG002 - it says nothing
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Do the run, to its end."""
        async with FlowRunExecutorContext() as within, anyio.create_task_group() as group:
            executor = within.create_executor(
                flow_run,
                _starter(self._context, within.control_channel),
                resolve_flow=_resolver(self._context),
                propose_submitting=False,
            )
            ended: list[Any] = []

            async def submit(*, task_status: anyio.abc.TaskStatus[Any]) -> None:
                ended.append(await executor.submit(task_status=task_status))

            handle = await group.start(submit)
            if task_status is not None:
                task_status.started(handle.pid)
        execution = ended[0] if ended else None
        if execution is None or execution.status_code is None:
            raise RuntimeError("the run's process did not start")
        return ProcessWorkerResult(status_code=execution.status_code, identifier=str(handle.pid))
