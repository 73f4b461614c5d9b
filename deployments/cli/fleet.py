"""``datasave fleet``: many offices on one Prefect server, a plan and a queue for each.

The server's machine has the plans, which hold no secret, and never an office's keys or data: passwords
stay where the plans' references point on the office's machine, parameters name only paths, and results, which
hold counts, stay there too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape

from deployments.cli.options import PoolOption
from deployments.cli.screen import bad, good, out, say, steps, table
from deployments.serving.deployments import WorkQueue
from deployments.serving.environment import prepare
from deployments.serving.fleet import OfficeStatus, crowded_times, plans_in, statuses_of
from deployments.serving.worker import register_for_worker, server_url
from tasks.notices.wording import when_text

OFFICES = "offices"
# Where the plan lies on the office's own machine.
THERE = "/etc/datasave/{name}.yaml"


def register(
    folder: Annotated[Path, Parameter(help="The folder with a plan for each office.")],
    /,
    *,
    pool: PoolOption = OFFICES,
    at: Annotated[
        str, Parameter(help="Where an office's plan lies on its own machine; {name} is the plan's name.")
    ] = THERE,
) -> int:
    """Register every office of a folder of plans with the Prefect server, each with a queue of its own.

    The server is the one that PREFECT_API_URL names. All plans are read first: where one cannot be used,
    nothing is registered. Registering again changes what differs. On each office's machine runs
    `datasave worker` with its queue.

    **Examples:**

        datasave fleet register plans/

        datasave fleet register plans/ --pool offices --at 'C:/ProgramData/datasave/{name}.yaml'
    """
    prepare(folder / "fleet.yaml")
    offices = plans_in(folder)
    server_url()
    with steps() as progress:
        for done, context in enumerate(offices):
            progress("registering", done, len(offices))
            name = context.plan.name
            register_for_worker(context, WorkQueue(pool, name, at.format(name=name)))
        progress("registering", len(offices), len(offices))
    for line in crowded_times(offices):
        say(line)
    good(f"{len(offices)} offices are registered in the pool {pool}")
    say(f"On each office's machine: datasave worker --plan {at} --pool {pool}")
    return 0


def status(
    folder: Annotated[
        Path, Parameter(help="The folder of the plans; the server's password is kept there.")
    ] = Path(),
    /,
    *,
    pool: PoolOption = OFFICES,
    late: Annotated[bool, Parameter(negative=(), help="Only those that are late.")] = False,
) -> int:
    """Show when each office's last good backup was, and who is late.

    An office is late where its newest completed backup is over two hours older than its schedule allows.
    Exit status 1 where one is.

    **Examples:**

        datasave fleet status

        datasave fleet status --late
    """
    prepare(folder / "fleet.yaml")
    server_url()
    offices = statuses_of(pool, datetime.now(UTC))
    behind = [office for office in offices if office.late]
    if shown := behind if late else offices:
        _table(shown)
    if not offices:
        say(f"No office is registered in the pool {pool}: `datasave fleet register FOLDER`.")
    if behind:
        bad(
            f"{len(behind)} of {len(offices)} offices are late: {', '.join(office.name for office in behind)}"
        )
        return 1
    good(f"all {len(offices)} offices have a backup in time")
    return 0


def _table(offices: Sequence[OfficeStatus]) -> None:
    shown = table("offices", ("office", "", "last good backup", "newest run", "next"))
    for office in offices:
        mark = "[red]late[/red]" if office.late else "[green]ok[/green]"
        when = when_text(office.last_good) if office.last_good else "never"
        coming = when_text(office.next) if office.next else "not scheduled"
        shown.add_row(escape(office.name), mark, when, escape(office.newest), coming)
    out.print(shown)
