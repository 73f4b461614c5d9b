"""The last gate before delivery: rehearse, compare with earlier runs, sign the manifest."""

from __future__ import annotations

from tasks.backup.listing import Copied
from tasks.backup.rehearse import rehearse
from tasks.backup.seal import describe
from tasks.context import PlanContext
from tasks.health import trend as trending
from tasks.records import Archived, Progress, Rehearsed, Run, Sealed, Validated, no_progress


def prove(
    context: PlanContext,
    run: Run,
    copy: Copied,
    archived: Archived,
    sealed: Sealed,
    validated: Validated,
    progress: Progress = no_progress,
) -> Rehearsed:
    """Open the sealed archive, compare it with the copy, sign the manifest: marked where it must be.

    A backup that merely looks wrong is delivered all the same: it may be the newest there will ever be.
    """
    findings, seconds = rehearse(context, run, copy, archived, sealed, validated, progress)
    seen = trending.look(context, run, copy, archived, validated)
    manifest = describe(context, run, copy, archived, sealed, validated, findings, seen)
    trending.remember(context, run.source_name, seen)
    return Rehearsed(findings=findings, seconds=seconds, manifest=manifest, anomalies=seen.anomalies)
