"""``datasave deploy`` and ``datasave worker``: a plan's runs by way of a work pool of a server."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from cyclopts import Parameter

from deployments.cli.options import DEFAULT_PLAN, PlanOption
from deployments.cli.screen import good, path_line, say
from deployments.serving.environment import given_password_file, prepare
from deployments.serving.registering import Place, deployments_of, register
from deployments.serving.server import answers
from deployments.serving.supervisor import keep_running
from tasks.backup.workspace import held, sweep
from tasks.context import PlanContext
from tasks.errors import ProgramError
from tasks.platform.files import write_atomic

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

POOL = "datasave"
PROCESS = "process"
HEADER = """\
# The deployments of one plan, for `prefect deploy --all`. `datasave deploy` registers the same ones, and the
# automations that watch over them besides. Written by `datasave deploy --write`.
"""

PoolOption = Annotated[str, Parameter(help="The work pool, of type process.")]
QueueOption = Annotated[
    str | None, Parameter(help="The queue in it: one for each site. Without it, the plan's name.")
]


def deploy(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    pool: PoolOption = POOL,
    queue: QueueOption = None,
    write: Annotated[
        Path | None, Parameter(help="Write a prefect.yaml for `prefect deploy` instead of registering.")
    ] = None,
) -> int:
    """Register the plan's flows and schedules with a Prefect server, for a worker to run.

    The server is the one that PREFECT_API_URL names. Makes the work pool where there is none, and the
    automations that alarm. Registering again changes what differs.

    **Examples:**

        datasave deploy --pool offices --queue front-office

        datasave deploy --write prefect.yaml
    """
    context = PlanContext(plan)
    prepare(context.path)
    place = Place(pool, queue or context.plan.name)
    if write is not None:
        write_atomic(write, prefect_yaml(deployments_of(context, place)).encode("utf-8"))
        path_line("Written:", write)
        return 0
    server_url()
    flows = register_plan(context, place)
    say(f"On the machine of {context.plan.name}: datasave worker --pool {place.pool} --queue {place.queue}")
    good(f"{context.plan.name} is deployed: {', '.join(flows)}")
    return 0


def register_plan(context: PlanContext, place: Place) -> list[str]:
    """Register a plan's deployments and automations, and make their pool where there is none."""
    _ensure_pool(place)
    return register(context, lambda deployment: deployment.apply(), place)


def worker(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    pool: PoolOption = POOL,
    queue: QueueOption = None,
) -> int:
    """Do the runs that come into a queue of a work pool, until stopped; `datasave deploy` fills it.

    The results of steps stay on this machine, in Prefect's folder beside the plan, so that a re-run
    does only what failed.

    **Examples:**

        datasave worker --pool offices --queue front-office
    """
    context = PlanContext(plan)
    prepare(context.path, quiet=False)
    url = server_url()
    place = Place(pool, queue or context.plan.name)
    lock = Path(os.environ["PREFECT_HOME"]) / f"serving-{context.plan.name}.lock"
    with held(lock, f"{context.plan.name} is being served already"):
        for swept in sweep(context.staging, context.plan.spool):
            say(f"cleared what a dead run left in {swept}")
        say(f"Watch, start and retry runs at {url.removesuffix('/api')} (stop with Ctrl-C)")
        start = [sys.executable, "-m", "prefect", "worker", "start", "--type", PROCESS, "--install-policy"]
        whose = ["--name", f"{context.plan.name} on {socket.gethostname()}"]
        command = [*start, "never", *whose, "--pool", place.pool, "--work-queue", place.queue]
        return keep_running(context, command, url, None)


def prefect_yaml(deployments: list[RunnerDeployment]) -> str:
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


def _ensure_pool(place: Place) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            found = client.read_work_pool(place.pool)
        except ObjectNotFound:
            client.create_work_pool(WorkPoolCreate(name=place.pool, type=PROCESS))
            return
    if found.type != PROCESS:
        raise ProgramError(
            f"the work pool {place.pool} is of type {found.type}; it must be of type process",
            hint="Choose another name with --pool: it is made then.",
        )
