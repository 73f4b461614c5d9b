"""Temporary Prefect servers in a process that has the server imported: that saves 5 s of a processor each.

A command forked by tests/flows/warm.py has a seed ready, made while it had no threads. What it would start as
its server's program, with the same arguments, environment and log, becomes of the seed. A seed ends with the
command that has it, kill -9 included, as a leashed program does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, NoReturn

from deployments.serving import server


class Seed:
    """A process that can become a server; used as a ``server.Child`` of it is."""

    def __init__(self) -> None:
        reads, self._orders = os.pipe()
        self._status: int | None = None
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._orders)
            _wait_and_serve(reads)
        os.close(reads)

    def begin(self, command: Sequence[str], environment: Mapping[str, str], output: IO[bytes]) -> None:
        """Become uvicorn with those arguments. What it says goes to the end of that log."""
        arguments = [*command][command.index("uvicorn") + 1 :]
        order = {"arguments": arguments, "environment": {**environment}, "log": output.name}
        os.write(self._orders, f"{json.dumps(order)}\n".encode())

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself, or was killed."""
        if self._status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            self._status = status if pid else None
        return self._status is not None

    def stop(self) -> None:
        """End it, and wait for that."""
        os.close(self._orders)
        if self._status is None:
            _, self._status = os.waitpid(self._pid, 0)


def import_server() -> None:
    """Import what a server needs, and build one: what that makes once is there for all."""
    import uvicorn
    from prefect.server.api.server import create_app

    assert uvicorn and create_app(ignore_cache=True)


def sow() -> None:
    """Have a seed ready for this process's temporary server."""
    seed, stock = Seed(), server.Child

    def child(
        command: Sequence[str], environment: Mapping[str, str], output: IO[bytes], *, with_all: bool
    ) -> Any:
        assert server._PREFECT in command and with_all
        seed.begin(command, environment, output)
        server.Child = stock  # type: ignore[misc]
        return seed

    server.Child = child  # type: ignore[misc, assignment]


def _wait_and_serve(orders: int) -> NoReturn:
    """Wait for the order, then be the server to its end."""
    os.setsid()
    stream = os.fdopen(orders, encoding="utf-8")
    line = stream.readline()
    if not line:
        os._exit(0)
    order = json.loads(line)
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.clear()
    os.environ.update(order["environment"])
    from prefect.context import refresh_global_settings_context

    refresh_global_settings_context()
    import uvicorn

    threading.Thread(target=_end_with, args=[stream.read], daemon=True).start()
    ended: Any = 0
    try:
        uvicorn.main(order["arguments"])
    except SystemExit as error:
        ended = error.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        ended = 1
    os._exit(int(ended or 0))


def _end_with(closed: Callable[[], object]) -> None:
    """Once the pipe is closed, end in order, and by force after a while."""
    closed()
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(10)
    os.kill(os.getpid(), signal.SIGKILL)
