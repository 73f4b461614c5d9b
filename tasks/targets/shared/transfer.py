"""Sending: exactly as many bytes as were announced, and no faster than the plan lets.

The limit stands where bytes leave: what an upload that goes on need not send again costs no time, as it
would in a wrapper around the whole target. All steps of this process that send to one place share its limit.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Iterator
from typing import BinaryIO

from tasks.errors import TargetError
from tasks.platform.files import BLOCK

_CHANGED = "The file changed while it was being sent. Run the backup again."


def exactly(reader: BinaryIO, size: int, operation: str) -> Iterator[bytes]:
    """Blocks of at most 1 MiB that add up to ``size`` bytes, after which the reader must be at its end.

    Raises TargetError, begun with ``operation``, where the reader ends early or goes on; what the reader
    itself raises passes through as it is, because it says nothing about the target.
    """
    done = 0
    while done < size:
        block = reader.read(min(BLOCK, size - done))
        if not block:
            raise TargetError(
                f"{operation}: the data ended after {done} of {size} bytes", hint=_CHANGED, permanent=True
            )
        done += len(block)
        yield block
    if reader.read(1):
        raise TargetError(f"{operation}: the data goes on past {size} bytes", hint=_CHANGED, permanent=True)


# Unused allowance that may be sent at once: enough to keep the line busy, too little to be felt.
_BURST = 0.1

_UNITS = {"kB": 1e3, "MB": 1e6, "GB": 1e9, "kbit": 1e3 / 8, "Mbit": 1e6 / 8, "Gbit": 1e9 / 8}
_RATE = r"([0-9]{1,6}(?:\.[0-9]{1,3})?) ?(kB|MB|GB|kbit|Mbit|Gbit)/s"
_PROCESS = secrets.token_hex(4)
_PART = re.compile(r"\.(?P<name>.+)\.(?P<process>[0-9a-f]{8})[0-9a-f]{8}\.part")
DAY = 86_400
_SETTLED = 3.0

_NEVER = threading.Event()

_shared: dict[tuple[str, float], Throttle] = {}
_lock = threading.Lock()


def time_stamp(modified: float, more: str = "") -> str:
    """A listing's stamp by when a file was changed (seconds since 1970), and ``more``, where that is all.

    None, "", of what may have been written so shortly ago that a second writing would not show.
    """
    return f"{modified} {more}".rstrip() if abs(time.time() - modified) > _SETTLED else ""


def bytes_per_second(text: str) -> float:
    """``2MB/s`` or ``16Mbit/s`` as bytes a second. Raises ValueError."""
    match = re.fullmatch(_RATE, text)
    if match is None or not float(match[1]):
        raise ValueError("must be a rate above 0, such as 2MB/s or 16Mbit/s")
    return float(match[1]) * _UNITS[match[2]]


def part_name(name: str) -> str:
    """A new name beside the object ``name`` for the file while it grows; it tells which process writes it."""
    return f".{name}.{_PROCESS}{secrets.token_hex(4)}.part"


def is_dead(part: str, name: str, age: float) -> bool | None:
    """Whether a part file that was not written to for ``age`` seconds is a dead run's; None for other names.

    Dead are those of the object ``name`` that another process began (the plan's lock lets one run write at a
    time), and any that was not written to for a day.
    """
    match = _PART.fullmatch(part)
    if match is None:
        return None
    return (match["name"] == name and match["process"] != _PROCESS) or age > DAY


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


def throttle_to(where: str, bandwidth: str | None) -> Throttle:
    """The limit of all that is sent to the place ``where`` by this process; ``bandwidth`` as in the plan."""
    if bandwidth is None:
        return Throttle(None)
    rate = bytes_per_second(bandwidth)
    with _lock:
        return _shared.setdefault((where, rate), Throttle(rate))
