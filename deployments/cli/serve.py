"""``datasave serve`` and ``datasave worker``: run a plan's schedules until stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from deployments.cli.options import DEFAULT_PLAN, POOL, PlanOption, PoolOption, QueueOption
from deployments.cli.screen import good, path_line, say
from deployments.serving import units
from deployments.serving.deployments import WorkQueue
from deployments.serving.environment import home_of, password_file, prepare
from deployments.serving.server import LOOPBACK, PrefectServer
from deployments.serving.supervisor import keep_running
from deployments.serving.worker import server_url, worker_command
from tasks.backup.workspace import held, sweep
from tasks.context import PlanContext
from tasks.platform.ownership import acting_for


def serve(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    port: Annotated[
        int, Parameter(help="Port of the Prefect server.", validator=validators.Number(gte=1, lte=65_535))
    ] = 4200,
    host: Annotated[
        str, Parameter(help="Where the Prefect server listens; 0.0.0.0 is every network of this machine.")
    ] = LOOPBACK,
    install: Annotated[
        bool, Parameter(negative=(), help="As a service of this machine. Only shows it without --apply.")
    ] = False,
    uninstall: Annotated[
        bool, Parameter(negative=(), help="End and remove that service. Only shows it without --apply.")
    ] = False,
    apply: Annotated[bool, Parameter(negative=(), help="With --install or --uninstall: do it.")] = False,
    dry_run: Annotated[bool, Parameter(negative=(), help="Only show it, with --apply too.")] = False,
) -> int:
    """Run the plan's schedules until stopped; watch the runs in the browser.

    Starts a Prefect server on this machine unless PREFECT_API_URL names one, and restarts whatever
    ends unexpectedly. A run that was missed while the machine slept or was off is caught up once. One run
    of each kind at a time.

    **Examples:**

        datasave serve

        datasave serve --plan clinic.yaml --port 4300

        datasave serve --install

        datasave serve --install --apply

        datasave serve --uninstall --apply
    """
    context = _context(plan, install or uninstall)
    if install or uninstall:
        command = ["serve", "--port", str(port), "--host", host]
        return _service(units.service_of(context, command), apply=apply and not dry_run, remove=uninstall)
    with _only_one(context):
        command = [sys.executable, "-P", "-m", "deployments.serving.runner", str(context.path)]
        if url := os.environ.get("PREFECT_API_URL"):
            return _keep_serving(context, command, url)
        server = PrefectServer(host, port, context.path)
        with server.running():
            return _keep_serving(context, command, server.url, server)


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
    with _only_one(context):
        work = WorkQueue(pool, queue or context.plan.name)
        return _keep_serving(context, worker_command(context, work), server_url())


def _context(plan: Path, as_service: bool) -> PlanContext:
    """The plan; root may make a service of another account's, which then runs as that one."""
    if not (as_service and plan.exists() and sys.platform != "win32" and os.geteuid() == 0):
        return PlanContext(plan)
    with acting_for(plan):
        return PlanContext(plan)


@contextmanager
def _only_one(context: PlanContext) -> Iterator[None]:
    """Prefect prepared and what a dead run left cleared away; refused while something serves the plan."""
    home = Path(os.environ.get("PREFECT_HOME", home_of(context.path)))
    with held(home / f"serving-{context.plan.name}.lock", f"{context.plan.name} is being served already"):
        prepare(context.path, quiet=False)
        for swept in sweep(context.staging, context.plan.spool):
            say(f"cleared what a dead run left in {swept}")
        yield


def _keep_serving(
    context: PlanContext, command: Sequence[str], url: str, server: PrefectServer | None = None
) -> int:
    what = "How backups stand, and all runs:" if server is not None else "Watch, start and retry runs at"
    say(f"{what} {url.removesuffix('/api')} (stop with Ctrl-C)")
    password = password_file(Path(os.environ["PREFECT_HOME"]))
    if server is not None and password.exists():
        path_line("The page asks for name and password; they are in:", password)
    keep_running(context, command, url, server, say)
    return 0


def _service(service: units.Service, *, apply: bool, remove: bool) -> int:
    """Install or remove the service, or only show what that would do."""
    file = units.service_file(service, sys.platform)
    if not apply:
        _show(file, remove)
    elif remove:
        units.uninstall(file)
        good(f"{service.name} is no longer a service; {file.path} was removed")
    else:
        units.install(file)
        good(f"{service.name} is a service now: {file.path}")
    return 0


def _show(file: units.ServiceFile, remove: bool) -> None:
    if remove:
        say(f"Would run these, and remove {file.path}:")
    else:
        say(f"Would write {file.path}:\n")
        say(file.text)
        say("And run:")
    for command in file.end if remove else file.begin:
        say(f"  {subprocess.list2cmdline(command)}")
    say("Nothing was changed. Add --apply to do it.")
