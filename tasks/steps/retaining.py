"""Prefect task: retention at one target."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.backup import retain as retaining
from tasks.backup.media import day_of
from tasks.context import PlanContext
from tasks.records import Placed, Pruned, Run
from tasks.steps.running import KEPT, room_of


@task(name="prune", task_run_name="prune {target}", **KEPT)
def prune_after(run: Run, placed: Placed, target: str) -> Pruned:
    """Apply retention to a target that has just received and proven a backup."""
    context, workspace = room_of(run)
    with workspace.timed(f"prune {target}"):
        pruned = retaining.prune(context, target, run.source_name, placed.name, day_of(context, run.started))
    if not pruned.note:
        workspace.mark(f"pruned-{target}")
    return pruned


@task(name="prune", task_run_name="prune {target}", cache_policy=NO_CACHE)
def prune_now(plan: Path, target: str, source_name: str = "") -> Pruned:
    """Apply retention to a source's backups on a target, on the user's word."""
    return retaining.prune(PlanContext(plan), target, source_name)
