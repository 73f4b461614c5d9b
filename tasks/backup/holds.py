"""Backups that a person keeps out of retention, on every target: before an update, for a court."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from tasks.context import PlanContext
from tasks.errors import PlanError
from tasks.journal.kinds import Kind
from tasks.platform.accounts import account_name


class Hold(NamedTuple):
    """Why a backup is kept, and through which day in the plan's zone; None: until it is released."""

    reason: str
    until: date | None

    @property
    def words(self) -> str:
        """As it stands in lists and among the reasons of retention."""
        return f"held{f' through {self.until}' if self.until else ''}: {self.reason}"


def holds(context: PlanContext, source_name: str, day: date) -> dict[int, Hold]:
    """The backups of one source that are held on ``day``, by their numbers. Raises StateError."""
    source = context.full_name(source_name)
    found: dict[int, Hold] = {}
    for entry in context.journal.entries(Kind.HELD, Kind.RELEASED):
        facts = entry.facts
        if facts["source"] != source:
            continue
        if entry.kind == Kind.RELEASED:
            found.pop(facts["sequence"], None)
            continue
        until = date.fromisoformat(facts["until"]) if facts["until"] else None
        found[facts["sequence"]] = Hold(facts["reason"], until)
    return {number: hold for number, hold in found.items() if hold.until is None or day <= hold.until}


def hold(context: PlanContext, source_name: str, number: int, reason: str, until: date | None) -> None:
    """Keep a backup out of retention; a second hold of the same number replaces the first."""
    context.journal.append(
        Kind.HELD,
        source=context.full_name(source_name),
        sequence=number,
        reason=reason,
        until=until.isoformat() if until else None,
        who=account_name(),
    )


def release(context: PlanContext, source_name: str, number: int, day: date) -> None:
    """Put a held backup under retention again. Raises PlanError where it is not held on ``day``."""
    known = holds(context, source_name, day)
    if number not in known:
        held = ", ".join(map(str, sorted(known))) or "none"
        raise PlanError(
            f"number {number} of {context.full_name(source_name)} is not held", hint=f"Held are: {held}."
        )
    context.journal.append(
        Kind.RELEASED, source=context.full_name(source_name), sequence=number, who=account_name()
    )
