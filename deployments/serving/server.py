"""Prefect servers that this program starts: the one of ``datasave serve``, and one for a single command.

Prefect would start a server for a command by itself, but one thing after another: it imports the whole
server into this process, then waits until another process has done the same. Started here it gets ready
while the flows are imported, and nothing of it is imported twice.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import IO

import httpx

from deployments.serving import home
from deployments.serving.environment import announce_server, answers, prepare, retract_server
from tasks.errors import ProgramError
from tasks.platform import leash
from tasks.platform.files import create_private

LOOPBACK = "127.0.0.1"
# A new database takes up to 17 s on a small machine, a busy one longer.
SECONDS_TO_START = 120
# One that ended a moment ago, or whose `serve` was killed, gives its port back within seconds.
SECONDS_FOR_PORT = 15
# The leash waits ten seconds before it uses force.
SECONDS_TO_STOP = leash.PATIENCE + 5


# What a server needs at least to write: its database's log, and what is noted of a run.
_ROOM = 4 << 20


class Child:
    """A program that ends when this process does, kill -9 included (tasks/platform/leash.py).

    ``with_all``: what it started ends with it, too.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        output: IO[bytes] | None = None,
        *,
        with_all: bool,
    ) -> None:
        how = ("all" if with_all else "leave", "SIGTERM")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", leash.__file__, *how, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=dict(environment),
            # Ctrl-C in a terminal is for the one that asked; it ends its programs in order.
            start_new_session=os.name == "posix",
        )

    @property
    def ended(self) -> bool:
        """Whether the program has ended by itself, or was killed."""
        return self._process.poll() is not None

    def stop(self) -> None:
        """End the program, by force where it does not end by itself in time."""
        assert self._process.stdin is not None  # noqa: S101 - it was asked for above
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class PrefectServer:
    """The server of ``datasave serve``, at one address of this machine; ``start`` again where it died.

    Raises ProgramError for an address that others can reach while no password is set.
    """

    def __init__(self, host: str, port: int, plan: Path) -> None:
        _refuse_open_door(host)
        self._host, self._port, self._plan = host, port, plan
        self._folder = Path(os.environ["PREFECT_HOME"])
        self._child: Child | None = None
        # Programs on this machine reach a server that listens everywhere by loopback.
        reached = LOOPBACK if ip_address(host).is_unspecified else host
        self.page = f"http://{f'[{reached}]' if ':' in reached else reached}:{port}"

    @property
    def url(self) -> str:
        """The address of its API."""
        return f"{self.page}/api"

    @property
    def ended(self) -> bool:
        """Whether it isn't running."""
        return self._child is None or self._child.ended

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it for the length of the block, as the server that Prefect in this process talks to."""
        try:
            self.start()
            os.environ["PREFECT_API_URL"] = self.url
            yield
        finally:
            retract_server(self._folder)
            if self._child is not None:
                self._child.stop()

    def start(self) -> None:
        """Start it and wait until it answers. Raises ProgramError where it does not."""
        self._wait_for_port()
        environment = {
            **os.environ,
            home.PLAN: str(self._plan),
            "PREFECT_UI_URL": self.page,
            # With the default of "*" any web page open in a browser here could drive this server.
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": self.page,
        }
        with _log().open("ab") as output:
            command = _server_command(f"{home.__name__}:create_app", self._host, self._port)
            self._child = Child(command, environment, output, with_all=True)
        if not _came_up(self.url, self._child):
            raise _not_started(
                f"the Prefect server did not start on {self.url}",
                f"Another program may use the port: choose one with --port. Its log: {_log()}",
            )
        announce_server(self._folder, self.url)

    def _wait_for_port(self) -> None:
        """Whatever else listens there would pass for the server that this starts."""
        deadline = time.monotonic() + SECONDS_FOR_PORT
        while True:
            try:
                family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
                socket.create_server((self._host, self._port), family=family).close()
            except OSError as error:
                if time.monotonic() > deadline:
                    raise ProgramError(
                        f"cannot use port {self._port} of this machine: {error.strerror}",
                        hint="Choose another one with --port.",
                    ) from error
                time.sleep(0.5)
            else:
                return


def _refuse_open_door(host: str) -> None:
    try:
        address = ip_address(host)
    except ValueError as error:
        raise ProgramError(
            f"--host {host} is not an address of this machine",
            hint="Give a number such as 127.0.0.1 (this machine only) or 0.0.0.0 (every network it is on).",
        ) from error
    if not address.is_loopback and not os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        raise ProgramError(
            f"a server on {host} can be reached by others, and PREFECT_SERVER_API_AUTH_STRING is empty",
            hint="Leave that variable unset: a password is made then. Or use --host 127.0.0.1.",
        )


_PREFECT = "prefect.server.api.server:create_app"
_temporary: dict[str, Child] = {}
"""Servers that this process has started for a command of its own, by their API addresses."""


def prepare_run(plan: Path) -> None:
    """As ``prepare``; where no server is set, begin to start one. Imports Prefect, but no flow yet."""
    prepare(plan)
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value():
        _start_temporary()


def reach_server() -> None:
    """Return once the server that Prefect is set to use answers. Raises ProgramError."""
    from prefect.settings import PREFECT_API_URL

    url = str(PREFECT_API_URL.value())
    if url in _temporary:
        if not _came_up(url, _temporary[url]):
            raise _not_started(
                "the temporary Prefect server did not start",
                f"Try again, or start one that stays with `datasave serve`. Its log: {_log()}",
            )
        return
    try:
        httpx.get(f"{url}/health", timeout=20.0).raise_for_status()
    except httpx.HTTPError as error:
        raise ProgramError(
            f"the Prefect server {url} does not answer: {type(error).__name__}",
            hint="Start it, or unset PREFECT_API_URL: then a temporary one is used.",
        ) from error


def _start_temporary() -> None:
    from prefect.context import refresh_global_settings_context
    from prefect.settings import get_current_settings

    with socket.create_server((LOOPBACK, 0)) as listener:
        port = int(listener.getsockname()[1])
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
        server = _temporary[url] = Child(
            _server_command(_PREFECT, LOOPBACK, port), environment, output, with_all=True
        )
    atexit.register(server.stop)
    os.environ["PREFECT_API_URL"] = url
    refresh_global_settings_context()


def _server_command(app: str, host: str, port: int) -> list[str]:
    # -P, and a folder for --app-dir: no module is taken from the folder that the command is used in.
    ours = str(Path(home.__file__).parent.parent.parent)
    program = [sys.executable, "-P", "-m", "uvicorn", "--app-dir", ours, "--factory", app, "--lifespan", "on"]
    return [*program, "--host", host, "--port", str(port), "--log-level", "error"]


def _came_up(url: str, child: Child) -> bool:
    """Wait for a server just started to answer; False where it ended or is too slow."""
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and not child.ended:
        if answers(url):
            return True
        time.sleep(0.1)
    return False


def _not_started(message: str, hint: str) -> ProgramError:
    """The error for a server that did not come up: most often because its folder takes no more data."""
    home = Path(os.environ["PREFECT_HOME"])
    probe = home / f".room-{os.getpid()}"
    try:
        with create_private(probe) as stream:
            stream.write(bytes(_ROOM))
    except OSError as error:
        return ProgramError(
            f"{message}: its folder {home} cannot be written to ({error.strerror})",
            hint="Free some space on the disk that holds the plan's folder, and check the rights there: "
            "Prefect keeps its own data beside the plan.",
        )
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
    return ProgramError(message, hint=hint)


def _log() -> Path:
    return Path(os.environ["PREFECT_HOME"]) / "server.log"
