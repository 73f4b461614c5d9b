"""The command line in children of one process that has everything imported: starting one takes no seconds.

Usage: ``python -m tests.flows.warm`` reads orders from standard input, JSON objects a line each, and answers
with the child's process id; tests use `Warm`. A child runs ``datasave``, or ``tests.flows.halting``, with
standard output and error in a file.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.cli import app
from tests.flows import halting

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Child:
    """A command that runs by itself. Its status comes from the process that forked it."""

    pid: int
    log: Path
    status: Path

    def ended(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        text = self.status.read_text("ascii") if self.status.exists() else ""
        return int(text) if text.endswith("\n") else None

    def wait(self, seconds: float = 120) -> int:
        """Its exit status, when it has ended. Fails after that many seconds."""
        deadline = time.monotonic() + seconds
        while (status := self.ended()) is None:
            assert time.monotonic() < deadline, self.log.read_text("utf-8")
            time.sleep(0.01)
        return status

    def kill(self) -> int:
        """kill -9, and its exit status."""
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def wait_for(self, flag: Path, seconds: float = 120) -> None:
        """Wait until the flag is there. Fails where the command ends before."""
        deadline = time.monotonic() + seconds
        while not flag.exists():
            assert self.ended() is None, self.log.read_text("utf-8")
            assert time.monotonic() < deadline, "the fault did not fire"
            time.sleep(0.01)


class Warm:
    """The process that has everything imported; a context manager."""

    def __init__(self, environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", "tests.flows.warm"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
        )

    def __enter__(self) -> Warm:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.__exit__(None, None, None)  # closes its pipes, waits for it

    def halting(self, arguments: list[str], log: Path) -> Child:
        """A command in a child that halts in a step; the arguments are those of ``tests.flows.halting``."""
        return self._start({"program": "halting", "arguments": arguments}, log)

    def datasave(self, arguments: list[str], log: Path, folder: Path, environment: dict[str, str]) -> Child:
        """A command in a child, in that folder, with that environment and no standard input."""
        order = {"program": "datasave", "folder": str(folder), "environment": environment}
        return self._start({**order, "arguments": arguments}, log)

    def _start(self, order: dict[str, Any], log: Path) -> Child:
        status = log.with_suffix(".status")
        status.unlink(missing_ok=True)
        assert self._process.stdin and self._process.stdout
        order = {**order, "log": str(log), "status": str(status)}
        self._process.stdin.write(f"{json.dumps(order)}\n")
        self._process.stdin.flush()
        return Child(int(self._process.stdout.readline()), log, status)


def main() -> None:
    """Import, then fork a child for each order."""
    import great_expectations  # noqa: F401 - what takes seconds, once

    import flows.backup  # noqa: F401

    running: dict[int, Path] = {}
    waiting = b""
    while True:
        if select.select([0], [], [], 0.01)[0]:
            read = os.read(0, 65536)
            if not read:
                return
            *orders, waiting = (waiting + read).split(b"\n")
            for order in map(json.loads, orders):
                child = os.fork()
                if child == 0:
                    _run(order)
                running[child] = Path(order["status"])
                print(child, flush=True)
        for child in [*running]:
            pid, ended = os.waitpid(child, os.WNOHANG)
            if pid:
                running.pop(pid).write_text(f"{os.waitstatus_to_exitcode(ended)}\n", "ascii")


def _run(order: dict[str, Any]) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    output = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = [order["program"], *order["arguments"]]
    status = 1
    try:
        if order["program"] == "halting":
            halting.main()
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        app.entry()
    except SystemExit as ended:
        status = int(ended.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
