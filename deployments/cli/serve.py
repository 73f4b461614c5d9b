"""``datasave serve``: on the office machine, a Prefect server and what runs the plan's schedules."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from deployments.cli.options import DEFAULT_PLAN, PlanOption
from deployments.cli.screen import path_line, say
from deployments.serving.environment import home_of, password_file, prepare
from deployments.serving.server import LOOPBACK, Server, running
from deployments.serving.services import install as install_service
from deployments.serving.services import service_of
from deployments.serving.supervisor import keep_running
from tasks.backup.workspace import held, sweep
from tasks.context import PlanContext


def serve(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    port: Annotated[int, Parameter(help="Port of the Prefect server.")] = 4200,
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

    Starts a Prefect server on this machine unless PREFECT_API_URL names one, and starts again what
    dies of it. A run that was missed while the machine slept or was off is caught up once. One run of
    each kind at a time.

    **Examples:**

        datasave serve

        datasave serve --plan clinic.yaml --port 4300

        datasave serve --install

        datasave serve --install --apply

        datasave serve --uninstall --apply
    """
    context = PlanContext(plan)
    if install or uninstall:
        command = ["serve", "--port", str(port), "--host", host]
        service = service_of(context, command)
        return install_service(service, apply=apply and not dry_run, remove=uninstall)
    home = Path(os.environ.get("PREFECT_HOME", home_of(context.path)))
    with held(home / f"serving-{context.plan.name}.lock", f"{context.plan.name} is being served already"):
        prepare(context.path, quiet=False)
        for swept in sweep(context.staging, context.plan.spool):
            say(f"cleared what a dead run left in {swept}")
        if url := os.environ.get("PREFECT_API_URL"):
            return _keep_serving(context, url, None)
        with running(Server(host, port)) as server:
            return _keep_serving(context, server.url, server)


def _keep_serving(context: PlanContext, url: str, server: Server | None) -> int:
    say(f"Watch, start and retry runs at {url.removesuffix('/api')} (stop with Ctrl-C)")
    password = password_file(Path(os.environ["PREFECT_HOME"]))
    if server is not None and password.exists():
        path_line("The page asks for name and password; they are in:", password)
    command = [sys.executable, "-m", "deployments.serving.runner", str(context.path)]
    return keep_running(context, command, url, server)
