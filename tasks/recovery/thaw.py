"""Archives in cold storage: request a thaw, wait for it as long as the caller wants to, and measure the wait.

Services take hours. When each archive was first requested is noted in the journal, where there is one,
so that a drill that comes back the next day states the whole time that a recovery would have taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.errors import ObjectFrozen, StateError
from tasks.journal.journal import Journal
from tasks.journal.kinds import Kind
from tasks.notices.wording import duration_text
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


@dataclass(frozen=True)
class Patience:
    """How many seconds to wait for an object, whom to tell meanwhile, where to note what was asked for."""

    seconds: float = 0.0
    progress: Progress = no_progress
    notes: Journal | None = None
    sleep: Callable[[float], None] = time.sleep


IMPATIENT = Patience()


def wait_for_thaw(target: Target, name: str, patience: Patience) -> float:
    """Have an object readable; the seconds that took, since it was first asked for.

    Raises ObjectFrozen, saying when to come back, where that takes longer than the caller's patience.
    """
    began = datetime.now(UTC)
    expected = thaw(target, name)
    place = (target.name, name)
    asked = _asked(patience.notes, place)
    if expected and (asked is None or _expired(asked)):
        asked = ThawRequest(at=began, expected=expected)
        _note(patience.notes, place, asked)
    if expected:
        _wait(target, name, expected, asked or ThawRequest(at=began, expected=expected), patience)
    elif asked is None:
        return 0.0
    _note(patience.notes, place, None)
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


def _asked(notes: Journal | None, place: tuple[str, str]) -> ThawRequest | None:
    """What was asked for of an archive and not had yet. ``place`` is its target and its name."""
    told = [entry.facts for entry in notes.entries(Kind.THAW)] if notes else []
    mine = [facts for facts in told if (facts["target"], facts["name"]) == place]
    if not mine or mine[-1]["done"]:
        return None
    return ThawRequest(at=mine[-1]["at"], expected=mine[-1]["expected"])


def _note(notes: Journal | None, place: tuple[str, str], asked: ThawRequest | None) -> None:
    if notes is None:
        return
    facts = (asked or ThawRequest(at=datetime.now(UTC), expected=0.0)).model_dump(mode="json")
    with suppress(StateError):  # on a full disk the drill itself still counts
        notes.append(Kind.THAW, target=place[0], name=place[1], done=asked is None, **facts)
