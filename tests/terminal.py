"""A terminal for programs that ask for a passphrase: they read it from there and from nowhere else."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol


def typed(
    command: Sequence[str], answers: Sequence[tuple[str, str]], env: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run ``command`` on a terminal of its own; exit status, and all that the screen showed.

    ``answers``: a text that is waited for, and what is typed once it stands there.
    """

    def start(slave: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )

    return on_a_terminal(start, answers)


class Program(Protocol):
    """A program that was started."""

    def wait(self, seconds: float, /) -> int: ...

    def kill(self) -> object: ...


def on_a_terminal(start: Callable[[int], Program], answers: Sequence[tuple[str, str]]) -> tuple[int, str]:
    """As ``typed``, for what ``start`` starts on a terminal, whose descriptor it is given."""
    master, slave = pty.openpty()
    process = start(slave)
    os.close(slave)
    waiting = list(answers)
    shown, seen = "", 0
    deadline = time.monotonic() + 300
    try:
        while time.monotonic() < deadline:
            if not select.select([master], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(master, 4096)
            except OSError:
                break  # the last program on the terminal has ended
            shown += data.decode("utf-8", "replace")
            if waiting and waiting[0][0] in shown[seen:]:
                seen = len(shown)
                os.write(master, f"{waiting.pop(0)[1]}\n".encode())
        status = process.wait(10)
    except BaseException:
        process.kill()
        raise
    finally:
        os.close(master)
    assert not waiting, f"was never asked for {waiting[0][0]!r}: {shown}"
    return status, shown
