"""That data was opened: whose backup, by whom, and where it went, for the journal."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal

from tasks.context import PlanContext
from tasks.errors import DatasaveError
from tasks.journal.kinds import Kind
from tasks.platform.accounts import account_name
from tasks.recovery.find import Choice

How = Literal["restore", "rescue", "files", "table", "in place", "copy"]


def note_restored(plan: Path, choice: Choice, where: Path, how: How) -> bool:
    """Enter a restore in the journal of a plan, where there is one; whether that was done.

    A machine that cannot write it, with a full disk above all, still gets its data back.
    """
    if not plan.exists():
        return False
    manifest = choice.manifest
    with suppress(DatasaveError):
        PlanContext(plan).journal.append(
            Kind.RESTORED,
            source=manifest.source,
            sequence=manifest.sequence,
            name=choice.backup.full_name,
            target=choice.origin.target.name,
            who=account_name(),
            where=str(where),
            how=how,
        )
        return True
    return False


def note_copied(context: PlanContext, source_name: str, where: Path) -> None:
    """Enter that a live copy was put somewhere in the clear. Raises StateError."""
    source = context.full_name(source_name)
    facts = {"source": source, "sequence": 0, "name": "", "target": "", "who": account_name()}
    context.journal.append(Kind.RESTORED, **facts, where=str(where), how="copy")
