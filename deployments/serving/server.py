"""The Prefect server that ``datasave serve`` starts where none is set."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import httpx

from deployments.serving.children import Child
from deployments.serving.environment import announce_server, retract_server
from tasks.errors import ProgramError

# A new database takes up to 17 s on a small machine, a busy one longer.
SECONDS_TO_START = 120
LOOPBACK = "127.0.0.1"


class Server:
    """A Prefect server at one address of this machine; started again by ``start`` where it died."""

    def __init__(self, host: str, port: int) -> None:
        _refuse_open_door(host)
        self._host, self._port = host, port
        self._home = Path(os.environ["PREFECT_HOME"])
        self._log = self._home / "server.log"
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

    def start(self) -> None:
        """Start it and wait until it answers. Raises ProgramError where it does not."""
        self._wait_for_port()
        command = [sys.executable, "-m", "prefect", "server", "start"]
        with self._log.open("ab") as output:
            self._child = Child(
                [*command, "--host", self._host, "--port", str(self._port)],
                {
                    **os.environ,
                    "PREFECT_UI_URL": self.page,
                    # With the default of "*" any web page open in a browser here could drive this server.
                    "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": self.page,
                },
                output,
                with_all=True,
            )
        self._wait_until_up()
        announce_server(self._home, self.url)

    def stop(self) -> None:
        """End it."""
        retract_server(self._home)
        if self._child is not None:
            self._child.stop()

    def _wait_for_port(self) -> None:
        """Whatever else listens there would pass for the server that this starts.

        One that ended a moment ago, or whose `serve` was killed, gives the port back within seconds.
        """
        deadline = time.monotonic() + 15
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

    def _wait_until_up(self) -> None:
        if self._child is None or not came_up(self.url, self._child):
            raise ProgramError(
                f"the Prefect server did not start on {self.url}",
                hint=f"Another program may use the port: choose one with --port. Its log: {self._log}",
            )


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """The server, running for the length of the block."""
    try:
        server.start()
        os.environ["PREFECT_API_URL"] = server.url
        yield server
    finally:
        server.stop()


def came_up(url: str, child: Child) -> bool:
    """Wait for a server just started to answer at this API address; False where it ended or is too slow."""
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and not child.ended:
        if answers(url):
            return True
        time.sleep(0.1)
    return False


def answers(url: str) -> bool:
    """Whether a Prefect server answers at this API address."""
    try:
        return httpx.get(f"{url}/health", timeout=5.0).is_success
    except httpx.HTTPError:
        return False


def _refuse_open_door(host: str) -> None:
    """A server that others can reach asks for a password, or does not start."""
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
