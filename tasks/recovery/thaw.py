"""Archives in cold storage: request a thaw, wait for it as long as the caller wants to, and measure the wait.

Services take hours. When each archive was first requested is noted in the state folder, where there is one,
so that a drill that comes back the next day states the whole time that a recovery would have taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from tasks.errors import ObjectFrozen
from tasks.notices.wording import duration_text
from tasks.platform.files import write_atomic
from tasks.records import Finding, Progress, Record, no_progress
from tasks.targets.base import Target
from tasks.targets.capabilities import thaw

# Each look is a request that costs a little; a thaw takes hours.
_FIRST_LOOK, _LONGEST_PAUSE = 0.5, 300.0
_TICK = 1.0
_DAY = 86_400.0


class ThawRequest(Record):
    """When a thaw was requested, and how many seconds it was to take at the most."""

    at: datetime
    expected: float


_REQUESTS: TypeAdapter[dict[str, ThawRequest]] = TypeAdapter(dict[str, ThawRequest])


@dataclass(frozen=True)
class Patience:
    """How many seconds to wait for an object, whom to tell meanwhile, where to note what was asked for."""

    seconds: float = 0.0
    progress: Progress = no_progress
    notes: Path | None = None
    sleep: Callable[[float], None] = time.sleep


IMPATIENT = Patience()


def wait_for_thaw(target: Target, name: str, patience: Patience) -> float:
    """Have an object readable; the seconds that took, since it was first asked for.

    Raises ObjectFrozen, saying when to come back, where that takes longer than the caller's patience.
    """
    began = datetime.now(UTC)
    expected = thaw(target, name)
    key = f"{target.name}/{name}"
    asked = _read(patience.notes).get(key)
    if expected and (asked is None or _expired(asked)):
        asked = ThawRequest(at=began, expected=expected)
        _note(patience.notes, key, asked)
    if expected:
        _wait(target, name, expected, asked or ThawRequest(at=began, expected=expected), patience)
    elif asked is None:
        return 0.0
    _note(patience.notes, key, None)
    took = (datetime.now(UTC) - asked.at).total_seconds() if asked else 0.0
    # Nobody looked in between: it was there after the service's time at the latest.
    return took if expected else min(took, asked.expected) if asked else 0.0


def thaw_finding(seconds: float) -> tuple[Finding, ...]:
    """What a certificate says of the wait; nothing where there was none."""
    if not seconds:
        return ()
    detail = f"out of cold storage in {duration_text(seconds)}, which the recovery time includes"
    return (Finding(check="thaw", passed=True, detail=detail),)


def _wait(target: Target, name: str, expected: float, asked: ThawRequest, patience: Patience) -> None:
    began = time.monotonic()
    pause = _FIRST_LOOK
    while True:
        waited = time.monotonic() - began
        if waited >= patience.seconds:
            raise _frozen(target, name, asked)
        _pause(min(pause, patience.seconds - waited), began, expected, patience)
        pause = min(2 * pause, _LONGEST_PAUSE)
        if not thaw(target, name):
            return


def _pause(seconds: float, began: float, expected: float, patience: Patience) -> None:
    """Sleep, showing that time goes by; progress may raise to end it."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        patience.sleep(min(_TICK, left))
        patience.progress(min(int(time.monotonic() - began), int(expected)), int(expected))


def _expired(asked: ThawRequest) -> bool:
    """Whether the request was made so long ago that the object is frozen again by now."""
    return (datetime.now(UTC) - asked.at).total_seconds() > 2 * asked.expected + _DAY


def _frozen(target: Target, name: str, asked: ThawRequest) -> ObjectFrozen:
    left = asked.expected - (datetime.now(UTC) - asked.at).total_seconds()
    when = f"in about {duration_text(left)}" if left > 0 else "any time now"
    return ObjectFrozen(
        f"{name} on {target.name} is in cold storage: it was asked for on {asked.at:%Y-%m-%d at %H:%M} UTC "
        f"and should be readable {when}",
        hint="Run the same again then. With --wait HOURS it waits by itself.",
    )


def _read(notes: Path | None) -> dict[str, ThawRequest]:
    try:
        return _REQUESTS.validate_json(notes.read_bytes()) if notes else {}
    except (FileNotFoundError, ValidationError):
        return {}  # a lost note makes a drill's time too short by the wait before it, and nothing else


def _note(notes: Path | None, key: str, asked: ThawRequest | None) -> None:
    if notes is None:
        return
    # On a full disk the drill itself still counts.
    with suppress(OSError), FileLock(f"{notes}.lock", mode=0o600):
        known = {name: one for name, one in _read(notes).items() if name != key}
        write_atomic(notes, _REQUESTS.dump_json({**known, key: asked} if asked else known))
