"""State of before there was a journal: read once, entered, and put aside.

Each store becomes entries of the kind that replaces it, and one that says so. Its file is kept, beside the
journal, in ``earlier/``: nothing that an older version wrote is deleted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tasks.journal.journal import Journal
from tasks.journal.kinds import Kind
from tasks.journal.trend_facts import trend_facts
from tasks.options import Json
from tasks.platform.files import kept_in_state, private_folder, sync_folder
from tasks.policy.trend_rules import Snapshot

EARLIER = "earlier"
Facts = Iterator[tuple[str, Json]]
Read = Callable[[Path, int], Facts]
_SNAPSHOTS = TypeAdapter(tuple[Snapshot, ...])


def take_over(journal: Journal, state: Path) -> None:
    """Enter what the stores of an older version in ``state`` hold, each once. Raises StateError."""
    if not any(_left(state)):
        return
    with journal.locked(), kept_in_state(f"take over what an older version kept in {state}"):
        done = {entry.facts["store"] for entry in journal.entries(Kind.TAKEN_OVER)}
        for path, read in list(_left(state)):
            store = path.relative_to(state).as_posix()
            if store not in done:
                facts = {"store": store, "aside": EARLIER}
                journal.extend([*_read(path, read, journal.head().length), (Kind.TAKEN_OVER, facts)])
            aside = private_folder((journal.folder / EARLIER / store).parent) / path.name
            path.replace(aside)
            sync_folder(path.parent)
            sync_folder(aside.parent)


def _left(state: Path) -> Iterator[tuple[Path, Read]]:
    """The stores of an older version that are still in their places, and what reads each."""
    found = ((state / name, read) for name, read in _STORES.items())
    yield from ((path, read) for path, read in found if path.is_file())
    # What was accepted goes after what it was about.
    yield from ((path, _trend) for path in sorted((state / "trend").glob("*.json")))
    yield from ((path, _accepted) for path in sorted((state / "trend").glob("*.accepted")))
    yield from ((path, _drill) for path in sorted((state / "drills").glob("*/*.json")))


def _read(path: Path, read: Read, last: int) -> list[tuple[str, Json]]:
    """What a store holds, as entries after number ``last``.

    One that is damaged holds nothing: it lies aside for whoever asks.
    """
    try:
        return list(read(path, last))
    except (ValueError, TypeError, KeyError, AttributeError, ValidationError):
        return []


def _sequence(path: Path, _last: int) -> Facts:
    number, _, run = path.read_text("utf-8").partition(" ")
    yield Kind.NUMBER, {"sequence": int(number), "run": run}


def _runs(path: Path, _last: int) -> Facts:
    for run in _json(path):
        yield Kind.RUN, run


def _media(path: Path, _last: int) -> Facts:
    """Media in the order of their uses; those that were never used first."""
    stored = _json(path)
    known = {(medium["target"], medium["label"]): medium for medium in stored["media"]}
    for medium in known.values():
        yield Kind.MEDIUM, {**medium, "day": None}
    for use in stored["uses"]:
        medium = known.get((use["target"], use["label"]))
        if medium:
            yield Kind.MEDIUM, {**medium, "day": use["day"]}


def _proofs(path: Path, _last: int) -> Facts:
    stored = _json(path)
    known = [{"name": "", "recipient": one, "since": since} for one, since in stored["known"].items()]
    yield Kind.HOLDERS, {"holders": known, "signers": []}
    for proof in stored["proofs"]:
        yield Kind.PROOF, proof


def _thaws(path: Path, _last: int) -> Facts:
    for place, asked in _json(path).items():
        target, _, name = place.partition("/")
        yield Kind.THAW, {"target": target, "name": name, "done": False, **asked}


def _runbooks(path: Path, _last: int) -> Facts:
    for target, edition in _json(path).items():
        yield Kind.RUNBOOK, {"target": target, "edition": edition}


def _trend(path: Path, last: int) -> Facts:
    before: Snapshot | None = None
    for number, snapshot in enumerate(_SNAPSHOTS.validate_json(path.read_bytes()), start=last):
        yield Kind.TREND, trend_facts(path.stem, snapshot, number if before else None, before)
        before = snapshot


def _accepted(path: Path, _last: int) -> Facts:
    yield Kind.ACCEPTED, {"source": path.stem, "through": int(path.read_text("ascii")), "who": ""}


def _drill(path: Path, _last: int) -> Facts:
    yield Kind.DRILL, {"target": path.parent.name, "name": path.name, "certificate": path.read_text("utf-8")}


def _json(path: Path) -> Any:
    return json.loads(path.read_bytes())


_STORES: dict[str, Read] = {
    "sequence": _sequence,
    "history.json": _runs,
    "media.json": _media,
    "proofs.json": _proofs,
    "thaws.json": _thaws,
    "runbooks.json": _runbooks,
}
