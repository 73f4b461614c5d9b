"""A plan's runs by way of a work pool of a Prefect server: registered there, done by a worker here."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from deployments.serving.deployments import WorkQueue, register
from deployments.serving.environment import answers, given_password_file
from tasks.context import PlanContext
from tasks.errors import ProgramError

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

PROCESS = "process"
HEADER = """\
# The deployments of one plan, for `prefect deploy --all`. `datasave deploy` registers the same ones, and the
# automations that watch over them besides. Written by `datasave deploy --write`.
"""


def register_for_worker(context: PlanContext, queue: WorkQueue) -> list[str]:
    """Register a plan's deployments and automations, and make their pool where there is none."""
    _ensure_pool(queue.pool)
    return register(context, lambda deployment: deployment.apply(), queue)


def worker_command(context: PlanContext, queue: WorkQueue) -> list[str]:
    """What does the runs of a queue; Prefect's own worker would do whatever these say."""
    return [sys.executable, "-m", "deployments.serving.runner", str(context.path), queue.pool, queue.queue]


def prefect_yaml(deployments: Sequence[RunnerDeployment]) -> str:
    """The text of a prefect.yaml that registers the same deployments."""
    entries = [dict(_entry(deployment)) for deployment in deployments]
    text = yaml.safe_dump({"deployments": entries}, sort_keys=False, allow_unicode=True, width=100)
    return f"{HEADER}{text}"


def _entry(deployment: RunnerDeployment) -> Iterator[tuple[str, Any]]:
    yield "name", deployment.name
    yield "entrypoint", deployment.entrypoint
    yield "description", deployment.description
    yield "tags", list(deployment.tags)
    yield "parameters", dict(deployment.parameters)
    # No slugs: Prefect keeps a slugged schedule that is gone from the file.
    schedules = [entry.schedule for entry in deployment.schedules or () if entry.schedule]
    yield "schedules", [schedule.model_dump(include={"cron", "timezone"}) for schedule in schedules]
    limit: dict[str, Any] = {"limit": deployment.concurrency_limit}
    if options := deployment.concurrency_options:
        limit["collision_strategy"] = options.collision_strategy.value
    yield "concurrency_limit", limit
    yield "work_pool", {"name": deployment.work_pool_name, "work_queue_name": deployment.work_queue_name}
    yield "pull", []


def server_url() -> str:
    """The server to work with; raises ProgramError where none is set or it does not answer."""
    home = Path(os.environ["PREFECT_HOME"])
    url = os.environ.get("PREFECT_API_URL", "")
    if not url:
        raise ProgramError(
            "there is no Prefect server to deploy to",
            hint="Set PREFECT_API_URL, or start `datasave serve`, which needs no deploy.",
        )
    if not answers(url):
        raise ProgramError(f"the Prefect server {url} does not answer", hint="Start it, then try again.")
    if not _lets_in():
        raise ProgramError(
            f"the Prefect server {url} wants a name and password",
            hint=f"Write name:password into {given_password_file(home)}, a file only you can read.",
        )
    return url


def _lets_in() -> bool:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        with get_client(sync_client=True) as client:
            client.read_deployments(limit=1)
    except PrefectHTTPStatusError as error:
        if error.response.status_code == 401:
            return False
        raise
    return True


def _ensure_pool(pool: str) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            found = client.read_work_pool(pool)
        except ObjectNotFound:
            client.create_work_pool(WorkPoolCreate(name=pool, type=PROCESS))
            return
    if found.type != PROCESS:
        raise ProgramError(
            f"the work pool {pool} is of type {found.type}; it must be of type process",
            hint="Choose another name with --pool: it is made then.",
        )
