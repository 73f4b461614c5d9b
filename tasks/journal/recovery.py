"""A journal brought back from its copy on a target, to the machine that forgot it or to a new one."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tasks.errors import StateError
from tasks.journal.journal import FILE, VERIFIED, Journal
from tasks.journal.kinds import Kind
from tasks.journal.lines import Entry
from tasks.journal.takeover import EARLIER
from tasks.options import Json
from tasks.platform.files import kept_in_state, private_folder, sync_folder, write_atomic

_INCOMING = "incoming"
# What was entered here since the copy was made goes on counting, but for what builds on a line before it, or
# is about this journal itself.
_NOT_CARRIED = (Kind.TREND, Kind.DOUBT, Kind.RECOVERED, Kind.TAKEN_OVER, Kind.TORN, Kind.JOURNAL_ACCEPTED)


class BroughtBack(NamedTuple):
    """How many entries the journal has now, how many of them were entered here since and carried over."""

    length: int
    carried: int


def bring_back(
    journal: Journal,
    data: bytes,
    key: Ed25519PrivateKey,
    trusted: Collection[str],
    *,
    target: str,
    who: str,
) -> BroughtBack:
    """Put the lines of a copy in the place of ``journal``, whose file is kept beside it.

    ``trusted`` are the public keys whose journals are believed, this machine's is among them. Raises
    StateError for a copy that is damaged, signed by a machine that isn't, or says nothing new.
    """
    with journal.locked(), kept_in_state("bring the journal back"):
        room = journal.folder / _INCOMING
        shutil.rmtree(room, ignore_errors=True)
        try:
            write_atomic(private_folder(room) / FILE, data)
            incoming = Journal(room, key, trusted)
            _refuse(journal, incoming, target)
            carried = _only_here(journal, incoming)
            settled = max(incoming.head().length, journal.head().length)
            machines = sorted({entry.machine for entry in incoming.entries()} - {journal.machine})
            facts = {"from_target": target, "length": settled, "machines": machines, "who": who}
            incoming.extend([(Kind.RECOVERED, facts), *carried])
            length = incoming.head().length
            _put_aside(journal)
            (room / FILE).replace(journal.path)
            sync_folder(journal.folder)
        finally:
            shutil.rmtree(room, ignore_errors=True)
    return BroughtBack(length, len(carried))


def _refuse(journal: Journal, incoming: Journal, target: str) -> None:
    if defects := incoming.defects():
        foreign = sorted(incoming.strangers())
        if foreign:
            raise StateError(
                f"the journal on {target} was written by a machine unknown to this plan: {foreign[0]}",
                hint="Compare that with the fingerprint that you have on paper. If it is the machine that "
                f"was lost, give `--signer {foreign[0]}`.",
            )
        raise StateError(
            f"the copy of the journal on {target} is damaged: {defects[0]}",
            hint="Take the copy on another target.",
        )
    if not incoming.head().length:
        raise StateError(f"the copy of the journal on {target} is empty", hint="Take another target's.")
    if journal.knows(incoming.head()):
        raise StateError(
            f"the journal on {target} tells nothing that this machine does not know",
            hint="Nothing was changed. Another target may know more: `datasave journal --recover TARGET`.",
        )


def _only_here(journal: Journal, incoming: Journal) -> list[tuple[str, Json]]:
    """What was entered here and is not in the copy."""
    there = set(_identities(incoming.entries()))
    mine = journal.entries()
    fresh = [entry for entry, one in zip(mine, _identities(mine), strict=True) if one not in there]
    return [(entry.kind, entry.facts) for entry in fresh if entry.kind not in _NOT_CARRIED]


def _identities(entries: Sequence[Entry]) -> list[str]:
    # One machine signs no two different entries alike.
    return [entry.signature for entry in entries]


def _put_aside(journal: Journal) -> None:
    aside = private_folder(journal.folder / EARLIER)
    for path in (journal.path, journal.folder / VERIFIED):
        if path.exists():
            path.replace(aside / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{path.name}")
