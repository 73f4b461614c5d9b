"""How fast a target may be sent to: one option and one limit for every kind.

The limit stands where bytes leave: what an upload that goes on need not send again costs no time, as it
would in a wrapper around the whole target. All steps of this process that send to one place share its limit.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from tasks.options import Options

# Unused allowance that may be sent at once: enough to keep the line busy, too little to be felt.
_BURST = 0.1

_UNITS = {"kB": 1e3, "MB": 1e6, "GB": 1e9, "kbit": 1e3 / 8, "Mbit": 1e6 / 8, "Gbit": 1e9 / 8}
_RATE = r"([0-9]{1,6}(?:\.[0-9]{1,3})?) ?(kB|MB|GB|kbit|Mbit|Gbit)/s"
_NEVER = threading.Event()

_shared: dict[tuple[str, float], Throttle] = {}
_lock = threading.Lock()


def bytes_per_second(text: str) -> float:
    """``2MB/s`` or ``16Mbit/s`` as bytes a second. Raises ValueError."""
    match = re.fullmatch(_RATE, text)
    if match is None or not float(match[1]):
        raise ValueError("must be a rate above 0, such as 2MB/s or 16Mbit/s")
    return float(match[1]) * _UNITS[match[2]]


def _rate(value: str) -> str:
    bytes_per_second(value)
    return value


class TargetOptions(Options):
    """What the adapters of all targets have in common."""

    bandwidth: Annotated[str, AfterValidator(_rate)] | None = Field(
        None,
        description="The most to send, to leave the office some of its line: 2 MB/s, or 16 Mbit/s.",
        examples=["2 MB/s"],
    )


class Throttle:
    """At most ``rate`` bytes a second through all threads together (a token bucket); None: no limit."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._free_at = 0.0

    def take(self, size: int, stopped: threading.Event = _NEVER) -> None:
        """Wait until ``size`` bytes may go out, or until ``stopped``."""
        if self._rate is None:
            return
        now = time.monotonic()
        with self._lock:
            self._free_at = max(self._free_at, now - _BURST) + size / self._rate
            wait = self._free_at - now
        if wait > 0:
            stopped.wait(wait)

    def pieces(self, block: bytes) -> Iterator[memoryview]:
        """A block in pieces, each handed out when it may go: a slow disk is written to steadily."""
        view = memoryview(block)
        size = len(block) if self._rate is None else max(1, int(self._rate * _BURST))
        for start in range(0, len(block), size):
            piece = view[start : start + size]
            self.take(len(piece))
            yield piece


def throttle_to(where: str, options: TargetOptions) -> Throttle:
    """The limit of all that is sent to the place ``where`` by this process."""
    if options.bandwidth is None:
        return Throttle(None)
    rate = bytes_per_second(options.bandwidth)
    with _lock:
        return _shared.setdefault((where, rate), Throttle(rate))
