"""The programs that ``datasave serve`` keeps running; they end when it does, kill -9 included."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

from tasks.platform import leash

# The leash waits ten seconds before it uses force (tasks/platform/leash.py).
SECONDS_TO_STOP = leash.PATIENCE + 5


class Child:
    """A program at the end of a leash. ``with_all``: what it started ends with it, too."""

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
        """End the program, in order if it can be."""
        assert self._process.stdin is not None  # noqa: S101 - it was asked for above
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
