"""Journals written anew for a test, as if other things had happened: chained and signed as they should be."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from tasks.context import PlanContext
from tasks.journal.journal import FILE, VERIFIED
from tasks.journal.lines import signed_line
from tasks.options import Json

Change = Callable[[str, Json], Json | None]


def rewrite(context: PlanContext, change: Change) -> None:
    """Write the journal anew: with the facts that ``change`` gives for each entry, without it for None."""
    key, previous, data, number = context.machine_key(), "", b"", 0
    for entry in context.journal.entries():
        facts = change(entry.kind, entry.facts)
        if facts is not None:
            number += 1
            line = signed_line(number, entry.kind, entry.time, facts, previous, key)
            previous, data = line.sha256, data + line.raw + b"\n"
    (context.journal.folder / VERIFIED).unlink(missing_ok=True)
    (context.journal.folder / FILE).write_bytes(data)


def forget(context: PlanContext, *kinds: str) -> None:
    """Leave out all entries of these kinds; the whole journal is gone where none is given."""
    if kinds:
        rewrite(context, lambda kind, facts: None if kind in kinds else facts)
    else:
        shutil.rmtree(context.journal.folder)
