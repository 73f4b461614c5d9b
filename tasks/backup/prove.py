"""The last gate before delivery: rehearse, compare with earlier runs, sign the manifest."""

from __future__ import annotations

from tasks.backup.listing import Copied
from tasks.backup.rehearse import rehearse
from tasks.backup.seal import describe
from tasks.context import Office
from tasks.health import trend as trending
from tasks.records import Archived, Progress, Rehearsed, Run, Sealed, Validated, no_progress


def prove(
    office: Office,
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
    findings, seconds = rehearse(office, run, copy, archived, sealed, validated, progress)
    seen = trending.look(office, run, copy, archived, validated)
    manifest = describe(office, run, copy, archived, sealed, validated, findings, seen)
    trending.remember(office, run.part, seen)
    return Rehearsed(findings=findings, seconds=seconds, manifest=manifest, suspicions=seen.trouble)
