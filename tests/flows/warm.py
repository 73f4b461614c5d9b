"""The command line in children of one process that has everything imported: starting one takes no seconds.

``python -m tests.flows.warm`` reads orders from standard input, JSON objects a line each, and answers with
the child's process id; tests use the fixture ``warm``. A child is as good as a program of its own: it has its
own environment, session and streams, Prefect reads its settings anew, and signals are heard.
Its temporary Prefect server is forked as well (tests/flows/seeds.py).
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from prefect.context import refresh_global_settings_context

import deployments
import flows
import tasks
from deployments.cli import app
from deployments.cli.options import PLAN_VARIABLE
from deployments.serving.environment import prepare
from tasks.checks.judge import judge_tables
from tasks.records import Profile, TableProfile
from tests.flows import counting, halting, killing_phase, seeds

ROOT = Path(__file__).parents[2]
WRITING = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOCTTY
PROGRAMS = {
    "datasave": app.entry,
    "halting": halting.main,
    "counting": counting.main,
    "killing_phase": killing_phase.main,
}


@dataclass(frozen=True)
class Child:
    """A command that runs by itself: ``log`` has its output. Its status comes from what forked it."""

    pid: int
    log: Path
    errors: Path
    status: Path

    @property
    def said(self) -> str:
        """All that it wrote."""
        files = dict.fromkeys((self.log, self.errors))
        return "".join(file.read_text("utf-8") for file in files if file.exists())

    def ended(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        text = self.status.read_text("ascii") if self.status.exists() else ""
        return int(text) if text.endswith("\n") else None

    def wait(self, seconds: float = 120) -> int:
        """Its exit status, when it has ended. Fails after that many seconds."""
        deadline = time.monotonic() + seconds
        while (status := self.ended()) is None:
            assert time.monotonic() < deadline, self.said
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
            assert self.ended() is None, self.said
            assert time.monotonic() < deadline, "the fault did not fire"
            time.sleep(0.01)


class Warm:
    """The process that has everything imported; a context manager."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.flows.warm"]
        self._folder = TemporaryDirectory(prefix="datasave-tests-warm-")
        self._started = 0
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )

    def __enter__(self) -> Warm:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.__exit__(None, None, None)  # closes its pipes, waits for it
        self._folder.cleanup()

    def start(
        self,
        program: str,
        arguments: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        *,
        folder: Path = ROOT,
        errors: Path | None = None,
        reads: Path = Path(os.devnull),
        leashed: bool = False,
    ) -> Child:
        """One of the PROGRAMS in a child, in that folder, with just that environment.

        ``log`` gets what it writes, and ``errors``, where given, its standard error alone. They are
        open, and what it ``reads``, when this returns. ``leashed``: its temporary server is a program of
        its own, for tests of that.
        """
        self._started += 1
        errors, status = errors or log, Path(self._folder.name) / f"{self._started}.status"
        assert self._process.stdin and self._process.stdout
        files = {"folder": str(folder), "streams": [str(reads), str(log), str(errors)], "status": str(status)}
        order: dict[str, Any] = {
            **files,
            "program": program,
            "arguments": [*arguments],
            "environment": {**environment},
        }
        order |= {"environment": {**environment}, "leashed": leashed}
        self._process.stdin.write(f"{json.dumps(order)}\n")
        self._process.stdin.flush()
        return Child(int(self._process.stdout.readline()), log, errors, status)


def import_all() -> None:
    """Import the whole program, and what it imports when it is first used."""
    for package in (deployments, flows, tasks):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    judge_something()


def judge_something() -> None:
    """Import Great Expectations, which takes seconds, and let it build what it builds once."""
    profile = Profile(tables=(TableProfile(name="t", rows=1, fingerprint="1:1"),))
    assert all(finding.passed for finding in judge_tables(profile, profile))


def main() -> None:
    """Import, then fork a child for each order."""
    import_all()
    seeds.import_server()
    gc.freeze()  # else each child's first collection copies all of it
    running: dict[int, Path] = {}
    waiting = b""
    while True:
        if select.select([0], [], [], 0.01)[0]:
            read = os.read(0, 65536)
            if not read:
                return
            *orders, waiting = (waiting + read).split(b"\n")
            for order in map(json.loads, orders):
                reads, *writes = order["streams"]
                streams = [os.open(reads, os.O_RDONLY | os.O_NOCTTY)]
                streams += [os.open(name, WRITING, 0o600) for name in writes]
                child = os.fork()
                if child == 0:
                    _run(order, streams)
                for stream in streams:
                    os.close(stream)
                running[child] = Path(order["status"])
                print(child, flush=True)
        for child in [*running]:
            pid, ended = os.waitpid(child, os.WNOHANG)
            if pid:
                running.pop(pid).write_text(f"{os.waitstatus_to_exitcode(ended)}\n", "ascii")


def _run(order: dict[str, Any], streams: Sequence[int]) -> NoReturn:
    """Be that program, in a process just forked, to the end that the interpreter makes."""
    os.setsid()
    for standard, stream in enumerate(streams):
        os.dup2(stream, standard)
    # Python's own know whether what they were made for could seek.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = [order["program"], *order["arguments"]]
    if "PREFECT_API_URL" not in os.environ and not order["leashed"]:
        seeds.sow()
    plan = os.environ.get(PLAN_VARIABLE)
    if "--plan" in sys.argv:
        plan = sys.argv[sys.argv.index("--plan") + 1]
    if plan and ("PREFECT_HOME" in os.environ or PLAN_VARIABLE in os.environ):
        # As a program of its own does: settings stand before Prefect looks at them.
        prepare(Path(plan))
    if plan:
        # Prefect makes its folder when it does this: commands without a plan have none.
        refresh_global_settings_context()
    PROGRAMS[order["program"]]()
    sys.exit()


if __name__ == "__main__":
    main()
