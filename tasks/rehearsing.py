"""Prefect task: the rehearsal, the last gate before anything is delivered."""

from __future__ import annotations

from prefect import task

from tasks.progress import progress_of
from tasks.records import Archived, Rehearsed, Run, Sealed, Validated
from tasks.running import KEPT, room_of, step_of
from tasks.steps import rehearsing, sealing, spooling, trending
from tasks.steps.listing import Copied


@task(name="rehearse", task_run_name="rehearse", **KEPT)
def rehearse(run: Run, copy: Copied, archived: Archived, sealed: Sealed, validated: Validated) -> Rehearsed:
    """Restore the sealed archive in scratch, compare it with the copy, sign the manifest."""
    office, workspace = room_of(run)
    # Without its result a finished rehearsal counts for nothing: should this try fail, all is taken afresh.
    workspace.unmark("sealed")
    with workspace.timed("rehearse"):
        findings, seconds = rehearsing.rehearse(
            office, run, copy, archived, sealed, validated, progress_of(step_of(run, "rehearse"))
        )
        manifest = sealing.describe(office, run, copy, archived, sealed, validated, findings)
        trending.note(office, run, copy, archived, validated)
    rehearsed = Rehearsed(findings=findings, seconds=seconds, manifest=manifest)
    spooling.remember(office, spooling.Spooled(run=run, sealed=sealed, rehearsed=rehearsed))
    workspace.mark("sealed")
    return rehearsed
