"""A person's word that a change was meant: marks are lifted, here, for what is there now."""

from __future__ import annotations

from typing import NamedTuple

from tasks.backup.retain import shelf_of
from tasks.context import PlanContext
from tasks.errors import DatasaveError
from tasks.health.trend import accept


class Accepted(NamedTuple):
    """What was accepted, in words; ``unseen`` are targets that could not be looked at, with the reason."""

    told: tuple[str, ...]
    unseen: tuple[str, ...]


def accept_change(context: PlanContext, source_name: str) -> Accepted:
    """Trust one source's marked backups, by what this machine saw and what the targets show.

    Another machine with the plan has its own say: the mark itself is signed and stays.
    """
    marked: dict[int, tuple[str, ...]] = {}
    unseen = []
    for entry in context.plan.targets:
        try:
            with context.target(entry.name) as target:
                shelf = shelf_of(context, target, source_name)
        except DatasaveError as error:
            unseen.append(error.message)
            continue
        marked |= {b.manifest.sequence: b.marks for b in shelf if b.manifest and b.verified and b.marks}
    told = accept(context, source_name, max(marked, default=0))
    if not told:
        told = tuple(f"number {number} is marked ({', '.join(marked[number])})" for number in sorted(marked))
    return Accepted(told, tuple(unseen))
