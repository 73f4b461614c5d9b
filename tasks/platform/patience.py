"""Calls into a file system that may never return: made in a thread that can be left behind.

A share whose server is gone, a disk that died, a file system that was frozen: the system keeps whoever asks
them waiting, and no signal ends that. So each such call has a thread of its own for as long as it lasts. One
that shows no sign of life in time is left behind, and until it returns nothing else is asked of that place:
every further call would only lose the same time, and one more thread.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

R = TypeVar("R")

LOOK_SECONDS = 10.0
"""How long a look at a place may take that is not being used, but only compared with another."""


class NoAnswer(TimeoutError):
    """A place gave no sign of life in time. An OSError, with ETIMEDOUT."""

    def __init__(self, place: str, seconds: float) -> None:
        super().__init__(errno.ETIMEDOUT, f"{place} gave no sign of life for {seconds:g} s")


class _Call:
    """One call under way. ``afterwards`` is done once it returned, where it was left behind."""

    def __init__(self, act: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.left = False
        self.afterwards: list[Callable[[], object]] = []
        self.returned = False
        self._act = act
        self._arguments = arguments
        self._ended = threading.Event()
        self._result: Any = None
        self._error: BaseException | None = None

    def make(self) -> None:
        """Make it; in a thread of its own."""
        try:
            self._result = self._act(*self._arguments)
        except BaseException as error:  # noqa: BLE001 - raised again where the call was asked for
            self._error = error
        with _lock:
            self.returned = True
        if self.left:
            self._clear_up()
        self._ended.set()

    def _clear_up(self) -> None:
        """Nobody takes what it returned, such as an open file."""
        if hasattr(self._result, "close"):
            self.afterwards.append(self._result.close)
        for act in self.afterwards:
            with suppress(Exception):
                act()
        self._result = self._error = None

    def ended_within(self, seconds: float) -> bool:
        """Wait for its end."""
        return self._ended.wait(seconds)

    def outcome(self) -> Any:
        """What it returned; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._result


class _Thread(threading.Thread):
    """Makes one call after another. A daemon: the program must not wait for it when it ends."""

    def __init__(self) -> None:
        super().__init__(name="datasave-patience", daemon=True)
        self.calls: SimpleQueue[_Call] = SimpleQueue()
        self.start()

    def run(self) -> None:
        while True:
            self.calls.get().make()


_lock = threading.Lock()
_idle: list[_Thread] = []
# The calls that were left behind, by the place that they wait for. They keep what they use from being closed.
_left: dict[str, list[_Call]] = {}


def _forget() -> None:
    """A child that was forked off has none of these threads."""
    global _lock  # noqa: PLW0603 - another thread may have held it
    _lock = threading.Lock()
    _idle.clear()
    _left.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def within(seconds: float, place: str, act: Callable[..., R], *arguments: Any) -> R:
    """What ``act(*arguments)`` returns or raises, if it does so in time.

    ``place`` is what it waits for: a mount point or a folder. Raises NoAnswer, at once where an earlier call
    still waits for that place.
    """
    if hangs(place):
        raise NoAnswer(place, seconds)
    call = _Call(act, arguments)
    thread = _free_thread()
    thread.calls.put(call)
    if not call.ended_within(seconds) and _leave(place, call):
        raise NoAnswer(place, seconds)
    call.ended_within(seconds)
    with _lock:
        _idle.append(thread)
    result: R = call.outcome()
    return result


def hangs(place: str) -> bool:
    """Whether a call that was left behind still waits for that place."""
    with _lock:
        waiting = [call for call in _left.get(place, ()) if not call.ended_within(0)]
        if waiting:
            _left[place] = waiting
        else:
            _left.pop(place, None)
        return bool(waiting)


def afterwards(place: str, act: Callable[[], object]) -> bool:
    """Have ``act`` done as soon as a call returns that was left behind waiting for that place.

    False, and nothing is done, where none waits any longer.
    """
    with _lock:
        for call in _left.get(place, ()):
            if not call.returned:
                call.afterwards.append(act)
                return True
    return False


def _leave(place: str, call: _Call) -> bool:
    """Leave a call behind, unless it returned just now."""
    with _lock:
        if call.returned:
            return False
        call.left = True
        _left.setdefault(place, []).append(call)
    return True


def _free_thread() -> _Thread:
    with _lock, suppress(IndexError):
        return _idle.pop()
    return _Thread()
