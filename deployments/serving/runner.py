"""The child of ``datasave serve`` that registers a plan's deployments and runs them, and that of a worker.

Usage: ``python -m deployments.serving.runner PLAN``, and with ``POOL QUEUE`` for a worker.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import warnings
from contextlib import suppress
from pathlib import Path

from deployments.serving.deployments import register
from deployments.serving.environment import prepare
from deployments.serving.terminal import failure_text
from tasks.context import PlanContext
from tasks.errors import DatasaveError


def main(plan: Path, *queue: str) -> int:
    """Run until told to stop."""
    context = PlanContext(plan)
    prepare(context.path, quiet=False)
    if queue:
        return _work(context, *queue)
    from deployments.serving.starters import PlanRunner

    # Prefect's own handler of SIGTERM says this on its way out.
    warnings.filterwarnings("ignore", "coroutine 'Runner.astop' was never awaited", RuntimeWarning)

    # Paused while it is off, a deployment would miss runs without a trace: they shall wait and be Late.
    # No limit here: with one, runs missed over a weekend would come in several batches, a run of each done.
    runner = PlanRunner(context, name=context.plan.name, pause_on_shutdown=False, limit=None)
    flows = register(context, runner.add_deployment)
    print(f"✓ serving {context.plan.name}: {', '.join(flows)}", flush=True)
    asyncio.run(runner.start())
    return 0


def _work(context: PlanContext, pool: str, queue: str) -> int:
    from prefect.utilities.processutils import setup_signal_handlers_worker

    from deployments.serving.starters import PlanWorker

    name = f"{context.plan.name} on {socket.gethostname()}"
    worker = PlanWorker(context, name=name, work_pool_name=pool, work_queues=[queue])
    setup_signal_handlers_worker(os.getpid(), "the worker", print)
    asyncio.run(worker.start())
    return 0


if __name__ == "__main__":
    try:
        with suppress(KeyboardInterrupt):
            sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
    except DatasaveError as error:
        print(failure_text(error.message, error.hint), file=sys.stderr)
        sys.exit(1)
