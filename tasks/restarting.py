"""Prefect task: the engine's restart."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.running import RESTARTED
from tasks.steps import restarting
from tasks.steps.office import Office


@task(name="restart", task_run_name="restart engine", cache_policy=NO_CACHE, **RESTARTED)
def restart_engine(plan: Path, part: str) -> None:
    """Stop the database engine, start it, see that it answers."""
    restarting.restart(Office(plan), part)
