"""``datasave serve``: one process on the office machine that runs the plan's schedules."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import httpx
from cyclopts import Parameter

from deployments.environment import announce_server, password_file, prepare, retract_server
from deployments.options import DEFAULT_PLAN, PlanOption
from deployments.registering import deployments_of
from deployments.screen import good, path_line, say
from tasks.errors import ProgramError
from tasks.steps.office import Office
from tasks.steps.workspace import sweep

# A new database takes up to 17 s on a small machine, a busy one longer.
SECONDS_TO_START = 120
SECONDS_TO_STOP = 20


def serve(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    port: Annotated[int, Parameter(help="Port of the Prefect server, on this machine only.")] = 4200,
) -> int:
    """Run the plan's schedules for backup, drill, audit and restart until stopped; watch them in the browser.

    Starts a Prefect server on this machine unless PREFECT_API_URL names one. A run that was missed
    while the machine slept is caught up once. One run at a time.

    **Examples:**

        datasave serve

        datasave serve --plan clinic.yaml --port 4300
    """
    office = Office(plan)
    prepare(office.path, quiet=False)
    for swept in sweep(office.staging, office.plan.spool):
        say(f"cleared what a dead run left in {swept}")
    if "PREFECT_API_URL" in os.environ:
        return _serve_plan(office, os.environ["PREFECT_API_URL"])
    with _server(port) as url:
        return _serve_plan(office, url)


def _serve_plan(office: Office, url: str) -> int:
    from prefect import serve as prefect_serve

    deployments = deployments_of(office)
    good(f"serving {office.plan.name}: {', '.join(str(made.flow_name) for made in deployments)}")
    say(f"Watch, start and retry runs at {url.removesuffix('/api')} (stop with Ctrl-C)")
    password = password_file(Path(os.environ["PREFECT_HOME"]))
    if password.exists():
        path_line("The page asks for name and password; they are in:", password)
    prefect_serve(*deployments)
    return 0


@contextmanager
def _server(port: int) -> Iterator[str]:
    """A Prefect server on loopback, ended with the block."""
    try:
        # Whatever else listens there would pass for the server that this starts.
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise ProgramError(
            f"cannot use port {port} of this machine: {error.strerror}",
            hint="Choose another one with --port.",
        ) from error
    url = f"http://127.0.0.1:{port}/api"
    home = Path(os.environ["PREFECT_HOME"])
    environment = {
        **os.environ,
        "PREFECT_UI_URL": f"http://127.0.0.1:{port}",
        # With the default of "*" any web page open in a browser here could drive this server.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port}",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    log = home / "server.log"
    with log.open("ab") as output:
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        _wait_until_up(server, url, log)
        os.environ["PREFECT_API_URL"] = url
        announce_server(home, url)
        yield url
    finally:
        retract_server(home)
        server.terminate()
        try:
            server.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            server.kill()


def _wait_until_up(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            if httpx.get(f"{url}/health", timeout=2.0).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise ProgramError(
        f"the Prefect server did not start on {url}",
        hint=f"Another program may use the port: choose one with --port. Its log: {log}",
    )
