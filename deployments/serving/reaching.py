"""The Prefect server that a command talks to: the one that is set, else one of the command's own.

Prefect would start such a server by itself, but one thing after another: it imports the whole server into
this process, then waits until another process has done the same. Started here it gets ready while the flows
are imported, and nothing of it is imported twice. It ends with the command, kill -9 included.
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
from pathlib import Path

import httpx

from deployments.serving.children import Child
from deployments.serving.environment import prepare
from deployments.serving.server import LOOPBACK, came_up
from tasks.errors import ProgramError

_begun: dict[str, Child] = {}
"""Servers that this process has started, by their API addresses."""


def prepare_run(plan: Path) -> None:
    """As ``prepare``; where no server is set, begin to start one. Imports Prefect, but no flow yet."""
    prepare(plan)
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value():
        _begin()


def reach_server() -> None:
    """Return once the server answers. Raises ProgramError."""
    from prefect.settings import PREFECT_API_URL

    url = str(PREFECT_API_URL.value())
    if url in _begun:
        if not came_up(url, _begun[url]):
            raise ProgramError(
                "the temporary Prefect server did not start",
                hint=f"Try again, or start one that stays with `datasave serve`. Its log: {_log()}",
            )
        return
    try:
        httpx.get(f"{url}/health", timeout=20.0).raise_for_status()
    except httpx.HTTPError as error:
        raise ProgramError(
            f"the Prefect server {url} does not answer: {type(error).__name__}",
            hint="Start it, or unset PREFECT_API_URL: then a temporary one is used.",
        ) from error


def _begin() -> None:
    from prefect.context import refresh_global_settings_context
    from prefect.settings import get_current_settings

    port = _free_port()
    url = f"http://{LOOPBACK}:{port}/api"
    environment = {
        **os.environ,
        **get_current_settings().to_environment_variables(exclude_unset=True),
        "PREFECT_SERVER_UI_ENABLED": "false",
        # Into its own log; of this process's log the terminal shows nothing (environment.py).
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "ERROR",
        # As Prefect itself marks such a server: no services that only matter to one which stays.
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
    }
    with _log().open("ab") as output:
        server = _begun[url] = Child(_command(port), environment, output, with_all=True)
    atexit.register(server.stop)
    os.environ["PREFECT_API_URL"] = url
    refresh_global_settings_context()


def _command(port: int) -> list[str]:
    import prefect

    # -P, and a folder for --app-dir: no module is taken from the folder that the command is used in.
    program = [sys.executable, "-P", "-m", "uvicorn", "--app-dir", str(Path(prefect.__file__).parent.parent)]
    app = ["--factory", "prefect.server.api.server:create_app", "--lifespan", "on"]
    return [*program, *app, "--host", LOOPBACK, "--port", str(port), "--log-level", "error"]


def _free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as listener:
        return int(listener.getsockname()[1])


def _log() -> Path:
    return Path(os.environ["PREFECT_HOME"]) / "server.log"
