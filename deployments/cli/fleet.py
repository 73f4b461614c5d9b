"""``datasave fleet``: many offices on one Prefect server, a plan and a queue for each.

The server's machine has the plans, which hold no secret, and never an office's keys or data: passwords
stay where the plans' references point on the office's machine, parameters name only paths, and results, which
hold counts, stay there too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from deployments.cli.deploy import PoolOption, register_plan, server_url
from deployments.cli.screen import bad, good, say, sites_table, steps
from deployments.serving.environment import prepare
from deployments.serving.fleet_status import Site, sites_of
from deployments.serving.registering import Place
from tasks.context import PlanContext
from tasks.errors import DatasaveError, PlanError

OFFICES = "offices"
# Where the plan lies on the office's own machine.
THERE = "/etc/datasave/{name}.yaml"
# More starting in one minute make the server's work, and the line's, wait for each other.
TOGETHER = 10


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
    offices = _offices(folder)
    server_url()
    with steps() as progress:
        for done, context in enumerate(offices):
            progress("registering", done, len(offices))
            name = context.plan.name
            register_plan(context, Place(pool, name, at.format(name=name)))
        progress("registering", len(offices), len(offices))
    for line in _crowded(offices):
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

    Late is an office whose newest completed backup is older than its schedule allows, and two hours.
    Exit status 1 where one is.

    **Examples:**

        datasave fleet status

        datasave fleet status --late
    """
    prepare(folder / "fleet.yaml")
    server_url()
    sites = sites_of(pool, datetime.now(UTC))
    behind = [site for site in sites if site.late]
    shown: Sequence[Site] = behind if late else sites
    if shown:
        sites_table(shown)
    if not sites:
        say(f"No office is registered in the pool {pool}: `datasave fleet register FOLDER`.")
    if behind:
        bad(f"{len(behind)} of {len(sites)} offices are late: {', '.join(site.name for site in behind)}")
        return 1
    good(f"all {len(sites)} offices have a backup in time")
    return 0


def _offices(folder: Path) -> list[PlanContext]:
    """All offices of a folder, by name. Raises PlanError naming every plan that cannot be used."""
    paths = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    if not paths:
        raise PlanError(f"{folder} holds no plan", hint="Put a plan for each office there, NAME.yaml.")
    offices: list[PlanContext] = []
    wrong: list[str] = []
    for path in paths:
        try:
            offices.append(PlanContext(path))
        except DatasaveError as error:
            wrong.append(f"{path.name}: {error.message}")
    names = Counter(context.plan.name for context in offices)
    wrong += [f"{count} plans have the name {name}" for name, count in names.items() if count > 1]
    if wrong:
        raise PlanError(
            f"nothing was registered: {'; '.join(wrong)}", hint="Mend these plans; `datasave doctor` helps."
        )
    return offices


def _crowded(offices: Sequence[PlanContext]) -> Iterator[str]:
    """A line for each time at which too many backups start at once."""
    times = Counter(
        (context.plan.schedule.backup, context.plan.schedule.timezone)
        for context in offices
        if context.plan.schedule.backup
    )
    for (cron, timezone), count in times.items():
        if count > TOGETHER:
            yield f'{count} offices start at "{cron}" ({timezone}): give them different minutes.'
