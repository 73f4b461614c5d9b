"""Prefect task: the rehearsal, the last gate before anything is delivered."""

from __future__ import annotations

from prefect import task

from tasks.backup import rehearse as proving
from tasks.backup import spool as spooling
from tasks.backup.copy import Copied
from tasks.records import Archived, Rehearsed, Run, Sealed, Validated
from tasks.steps.progress import progress_of
from tasks.steps.running import KEPT, room_of, step_of


@task(name="rehearse", task_run_name="rehearse", **KEPT)
def rehearse(run: Run, copy: Copied, archived: Archived, sealed: Sealed, validated: Validated) -> Rehearsed:
    """Restore the sealed archive in scratch, compare it with the copy, sign the manifest."""
    context, workspace = room_of(run)
    # Without its result a finished rehearsal counts for nothing: should this try fail, all is taken afresh.
    workspace.unmark("sealed")
    with workspace.timed("rehearse"), progress_of(step_of(run, "rehearse")) as progress:
        rehearsed = proving.prove(context, run, copy, archived, sealed, validated, progress)
    spooling.remember(context, spooling.Spooled(run=run, sealed=sealed, rehearsed=rehearsed))
    workspace.mark("sealed")
    return rehearsed
