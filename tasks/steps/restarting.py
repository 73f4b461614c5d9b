"""Prefect tasks: the engine's restart, a backup of its log."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.backup import engine as restarting
from tasks.context import PlanContext
from tasks.steps.running import RESTARTED


@task(name="restart", task_run_name="restart engine", cache_policy=NO_CACHE, **RESTARTED)
def restart_engine(plan: Path, source_name: str) -> None:
    """Stop the database engine, start it, see that it answers."""
    restarting.restart(PlanContext(plan), source_name)


@task(name="log", task_run_name="log backup", cache_policy=NO_CACHE, **RESTARTED)
def back_up_log(plan: Path, source_name: str) -> Path:
    """Add what changed since the last log backup to the chain of logs."""
    return restarting.back_up_log(PlanContext(plan), source_name)
