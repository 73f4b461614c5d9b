"""``datasave serve``: on the office machine, a Prefect server and what runs the plan's schedules."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from deployments.children import Child
from deployments.environment import home_of, password_file, prepare
from deployments.options import DEFAULT_PLAN, PlanOption
from deployments.screen import path_line, say
from deployments.server import LOOPBACK, Server, answers, running
from tasks.errors import ProgramError
from tasks.steps.office import Office
from tasks.steps.workspace import held, sweep

SECONDS_BETWEEN_LOOKS = 1.0
# One that ends this soon, at the first start, never ran anything.
SECONDS_TO_REGISTER = 20
# A program that dies again and again is not helped by starting it again.
MOST_STARTS, WITHIN_SECONDS = 5, 300


def serve(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    port: Annotated[int, Parameter(help="Port of the Prefect server.")] = 4200,
    host: Annotated[
        str, Parameter(help="Where the Prefect server listens; 0.0.0.0 is every network of this machine.")
    ] = LOOPBACK,
) -> int:
    """Run the plan's schedules until stopped; watch the runs in the browser.

    Starts a Prefect server on this machine unless PREFECT_API_URL names one, and starts again what
    dies of it. A run that was missed while the machine slept or was off is caught up once. One run of
    each kind at a time.

    **Examples:**

        datasave serve

        datasave serve --plan clinic.yaml --port 4300
    """
    office = Office(plan)
    home = Path(os.environ.get("PREFECT_HOME", home_of(office.path)))
    with held(home / f"serving-{office.plan.name}.lock", f"{office.plan.name} is being served already"):
        prepare(office.path, quiet=False)
        for swept in sweep(office.staging, office.plan.spool):
            say(f"cleared what a dead run left in {swept}")
        if "PREFECT_API_URL" in os.environ:
            return _keep_running(office, os.environ["PREFECT_API_URL"], None)
        with running(Server(host, port)) as server:
            return _keep_running(office, server.url, server)


def _keep_running(office: Office, url: str, server: Server | None) -> int:
    say(f"Watch, start and retry runs at {url.removesuffix('/api')} (stop with Ctrl-C)")
    password = password_file(Path(os.environ["PREFECT_HOME"]))
    if server is not None and password.exists():
        path_line("The page asks for name and password; they are in:", password)
    runner = Kept(office)
    try:
        while True:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            if server is not None and server.ended:
                say("the Prefect server ended: starting it again")
                runner.count_start()
                server.start()
                runner.stale = True
            elif server is None and not answers(url):
                runner.stale = True
            runner.look_after(url)
    except KeyboardInterrupt:
        say("stopping")
        return 0
    finally:
        runner.stop()


class Kept:
    """The process that runs the plan's flows, started again where it died or lost touch with the server.

    After an outage of the server it goes on with schedules, but no longer hears when someone presses
    Cancel. It is exchanged once nothing is under way: with it, the run that it started would end.
    """

    def __init__(self, office: Office) -> None:
        self._office = office
        self._starts: list[float] = []
        self.stale = False
        self._child = self._start()

    def look_after(self, url: str) -> None:
        """Start the process again if need be."""
        if self._child.ended:
            if len(self._starts) == 1 and time.monotonic() - self._starts[0] < SECONDS_TO_REGISTER:
                raise ProgramError(
                    f"{self._office.plan.name} could not be served", hint="It said why, above."
                )
            say("what runs the flows ended: starting it again")
        elif not self.stale or not answers(url) or _busy(self._office):
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
                f"what serves {self._office.plan.name} ended {MOST_STARTS} times within minutes",
                hint=f"Read what it said above, and the server's log in {os.environ['PREFECT_HOME']}.",
            )

    def stop(self) -> None:
        """End the process."""
        self._child.stop()

    def _start(self) -> Child:
        self.count_start()
        self.stale = False
        command = [sys.executable, "-m", "deployments.runner", str(self._office.path)]
        return Child(command, os.environ, with_all=False)


def _busy(office: Office) -> bool:
    """Whether a run of the plan is under way, as far as the server knows."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter

    states = {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}
    ours = FlowRunFilter.model_validate({"state": states, "tags": {"all_": ["datasave", office.plan.name]}})
    with get_client(sync_client=True) as client:
        return bool(client.read_flow_runs(flow_run_filter=ours, limit=1))
