"""Which target is drilled next, and with whose key: pure functions of what drills proved before.

Each target and each holder's key is to be proved within a set time. Pairs never tried come first, then the
one tried longest ago; between equals the target, then the holder, that was tried longest ago. A drill that
failed was a try as well: a broken target must not keep the others from their turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

NEVER = datetime.min.replace(tzinfo=UTC)


class Proof(NamedTuple):
    """What one drill showed: that a backup came back from a target with a holder's key, or that it didn't."""

    target: str
    holder: str
    drilled: datetime
    passed: bool
    seconds: float = 0.0
    in_time: bool = True


class DrillTarget(NamedTuple):
    """A target as drills see it: ``cold`` is slow and expensive to read, ``away`` can't be drilled now."""

    target: str
    cold: bool = False
    away: bool = False


class Pair(NamedTuple):
    """A target and a holder whose key opens what lies there."""

    target: str
    holder: str


def next_pair(
    places: Sequence[DrillTarget],
    holders: Sequence[str],
    proofs: Sequence[Proof],
    now: datetime,
    cold_days: int,
) -> Pair | None:
    """What to drill next; None where every target is away, or cold and tried within ``cold_days``."""
    rested = now - timedelta(days=cold_days)
    tried = {place.target: _last(p for p in proofs if p.target == place.target) for place in places}
    at_hand = [place for place in places if not place.away]
    due = [place.target for place in at_hand if not place.cold or tried[place.target] <= rested]
    pairs = [Pair(target, holder) for target in due for holder in holders]
    return min(pairs, key=lambda pair: _turn(pair, proofs), default=None)


def proved(proofs: Iterable[Proof]) -> datetime:
    """When the newest of these succeeded, NEVER where none did."""
    return max((proof.drilled for proof in proofs if proof.passed), default=NEVER)


def newest(proofs: Iterable[Proof]) -> Proof | None:
    """The newest of these, passed or not."""
    return max(proofs, key=lambda proof: proof.drilled, default=None)


def _turn(pair: Pair, proofs: Sequence[Proof]) -> tuple[datetime, datetime, datetime]:
    of_target = [proof for proof in proofs if proof.target == pair.target]
    return (
        _last(proof for proof in of_target if proof.holder == pair.holder),
        _last(of_target),
        _last(proof for proof in proofs if proof.holder == pair.holder),
    )


def _last(proofs: Iterable[Proof]) -> datetime:
    return max((proof.drilled for proof in proofs), default=NEVER)
