"""A server and all the processes it made, by their ids: to freeze, thaw and end them together."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def tree(pid: int) -> list[int]:
    """A process and those below it, parents first."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
    return found


def send(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """End a server and its children at once, without a farewell."""
    pids = tree(process.pid)
    send(pids, signal.SIGSTOP)  # so that none of them makes another
    send(list(dict.fromkeys([*pids, *tree(process.pid)])), signal.SIGKILL)
    process.wait()


@contextmanager
def frozen_tree(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Nothing moves in the server for the length of the block."""
    pids = tree(process.pid)
    send(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        send(pids, signal.SIGCONT)
