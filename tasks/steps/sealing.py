"""Prefect tasks: archive, encryption."""

from __future__ import annotations

from prefect import task

from tasks.backup import seal as sealing
from tasks.backup.copy import Copied
from tasks.records import Archived, Run, Sealed
from tasks.steps.progress import progress_of
from tasks.steps.running import KEPT, room_of, step_of


@task(name="archive", task_run_name="archive", **KEPT)
def archive(run: Run, copy: Copied) -> Archived:
    """Pack the copy as tar + zstandard."""
    context, workspace = room_of(run)
    with workspace.timed("archive"), progress_of(step_of(run, "archive")) as progress:
        return sealing.archive_copy(context, workspace, copy, progress)


@task(name="encrypt", task_run_name="encrypt", **KEPT)
def encrypt(run: Run, archived: Archived) -> Sealed:
    """Encrypt the archive to every holder and to this run's own key."""
    context, workspace = room_of(run)
    with workspace.timed("encrypt"), progress_of(step_of(run, "encrypt")) as progress:
        return sealing.encrypt_archive(context, workspace, run, archived, progress)
