"""The programs that a program started, by /proc; to kill one of them, or stop them all."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def family(root: int) -> dict[int, str]:
    """``root`` and all that descend from it: their ids and command lines, elders first."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(folder.name))
    found, waiting = {}, [root]
    while waiting:
        pid = waiting.pop(0)
        with suppress(OSError):
            found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            waiting += children.get(pid, [])
    return found


def one_of(root: int, words: str, seconds: float = 60) -> int:
    """The youngest of the family whose command line holds ``words``; waits until there is one."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := [pid for pid, line in family(root).items() if words in line and "leash.py" not in line]:
            return found[-1]
        time.sleep(0.1)
    raise AssertionError(f"no {words}: {family(root)}")


def kill_all(root: int) -> None:
    """kill -9 of the whole family at once, as a power cut does it."""
    members = list(family(root))
    for pid in members:  # stopped first: none may see another one go, and act on it
        _signal(pid, signal.SIGSTOP)
    for pid in members:
        _signal(pid, signal.SIGKILL)


@contextmanager
def asleep(root: int) -> Iterator[None]:
    """The whole family does nothing while the block runs, like programs on a machine that sleeps."""
    members = list(family(root))
    for pid in members:
        _signal(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in members:
            _signal(pid, signal.SIGCONT)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
