"""Keeps going what runs a plan's flows, and the Prefect server where it is ours."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from deployments.serving.environment import answers
from deployments.serving.server import Child, PrefectServer
from tasks.context import PlanContext
from tasks.errors import ProgramError

SECONDS_BETWEEN_CHECKS = 1.0
# One that ends this soon, at the first start, never ran anything.
SECONDS_TO_REGISTER = 20
# A program that dies again and again is not helped by starting it again.
MOST_STARTS, WITHIN_SECONDS = 5, 300


def keep_running(
    context: PlanContext,
    command: Sequence[str],
    url: str,
    server: PrefectServer | None,
    say: Callable[[str], None],
) -> None:
    """Run ``command``, and the server where one is given, until Ctrl-C; ``say`` tells of each restart.

    Raises ProgramError where one of them dies again and again.
    """
    runner = _Runner(context, command, say)
    try:
        while True:
            time.sleep(SECONDS_BETWEEN_CHECKS)
            if server is not None and server.ended:
                say("the Prefect server ended: starting it again")
                runner.count_start()
                server.start()
                runner.stale = True
            elif server is None and not answers(url):
                runner.stale = True
            runner.check(url)
    except KeyboardInterrupt:
        say("stopping")
    finally:
        runner.stop()


class _Runner:
    """The process that runs the plan's flows, started again where it died or lost touch with the server.

    After an outage of the server it goes on with schedules, but no longer hears when someone presses
    Cancel: it is ``stale``, and replaced once nothing is under way, since a run that it started ends with it.
    """

    def __init__(self, context: PlanContext, command: Sequence[str], say: Callable[[str], None]) -> None:
        self._context = context
        self._command = command
        self._say = say
        self._starts: list[float] = []
        self.stale = False
        self._child = self._start()

    def check(self, url: str) -> None:
        """Start the process again if need be."""
        if self._child.ended:
            if len(self._starts) == 1 and time.monotonic() - self._starts[0] < SECONDS_TO_REGISTER:
                raise ProgramError(
                    f"{self._context.plan.name} could not be served", hint="It said why, above."
                )
            self._say("what runs the flows ended: starting it again")
        elif not self.stale or not answers(url) or _busy(self._context):
            return
        else:
            self._child.stop()
        self._child = self._start()

    def count_start(self) -> None:
        """Note that something was started again. Raises ProgramError where that happens all the time."""
        now = time.monotonic()
        self._starts = [start for start in self._starts if now - start < WITHIN_SECONDS] + [now]
        if len(self._starts) > MOST_STARTS:
            raise ProgramError(
                f"what serves {self._context.plan.name} ended {MOST_STARTS} times within minutes",
                hint=f"Read what it said above, and the server's log in {os.environ['PREFECT_HOME']}.",
            )

    def stop(self) -> None:
        """End the process."""
        self._child.stop()

    def _start(self) -> Child:
        self.count_start()
        self.stale = False
        return Child(self._command, os.environ, with_all=False)


def _busy(context: PlanContext) -> bool:
    """Whether a run of the plan is under way, as far as the server knows."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter

    states = {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}
    ours = FlowRunFilter.model_validate({"state": states, "tags": {"all_": ["datasave", context.plan.name]}})
    with get_client(sync_client=True) as client:
        return bool(client.read_flow_runs(flow_run_filter=ours, limit=1))
