"""What can be brought back: every backup that lies somewhere, newest first, with the command for it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from tasks.backup.condition import Resting, resting
from tasks.context import PlanContext
from tasks.health.history import PastRun
from tasks.notices.status_page import Restorable
from tasks.notices.wording import clock_text


def restorable(context: PlanContext, runs: Sequence[PastRun]) -> Iterator[Restorable]:
    """By what this machine remembers; what was found damaged or is being removed is left out."""
    taken = {
        (past.source, past.sequence): run for run in runs if run.flow == "backup" for past in run.sources
    }
    lying: dict[tuple[int, str], list[Resting]] = {}
    for one in resting(context):
        if not (one.damage or one.leaving):
            lying.setdefault((one.sequence, one.source), []).append(one)
    names = {context.full_name(name): name for name in context.source_names}
    for (number, source), copies in sorted(lying.items(), reverse=True):
        if source in names:
            run = taken.get((source, number))
            yield _one(context, names[source], copies, run)


def _one(context: PlanContext, source: str, copies: Sequence[Resting], run: PastRun | None) -> Restorable:
    number = copies[0].sequence
    unchecked = run.unchecked_of(source) if run else ()
    but = f"; not checked: {', '.join(unchecked)}" if unchecked else ""
    return Restorable(
        name=f"#{number}" + (f" of {copies[0].source}" if len(context.source_names) > 1 else ""),
        taken=clock_text(run.started, context.timezone) if run else "before what is on record here",
        places=tuple(f"{one.target} ({one.medium})" if one.medium else one.target for one in copies),
        proof=f"restored and compared before delivery, read back after it{but}",
        command=_command(context, source, copies[0]),
    )


def _command(context: PlanContext, source: str, copy: Resting) -> str:
    which = ["--source", source] if len(context.source_names) > 1 else []
    words = ["datasave", "restore", "--plan", context.path.name, "--target", copy.target, *which]
    where = ["--backup", str(copy.sequence), "--identity", "KEY-FILE", "--to", "restored"]
    return shlex.join([*words, *where])
