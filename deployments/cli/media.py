"""Commands about removable media: init, list, which."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape

from deployments.cli.options import DEFAULT_PLAN, PlanOption
from deployments.cli.screen import good, out, say, table
from tasks.backup import media
from tasks.calendars import date_text
from tasks.context import PlanContext
from tasks.errors import PlanError
from tasks.plan.cron import next_time

NO_DRIVES = "The plan has no drives that take turns: no target of kind `drive`."
TargetChoice = Annotated[
    str | None, Parameter(name=["--target", "-t"], help="Which drive target, where the plan has several.")
]


def init(
    path: Annotated[Path, Parameter(help="Where the drive is mounted: /media/usb, E:\\.")],
    /,
    *,
    label: Annotated[str, Parameter(help="Its name in the calendar, as on its sticker: TUE, F1.")],
    target: TargetChoice = None,
    replace: Annotated[
        bool, Parameter(negative=(), help="The old medium of that label is lost or broken.")
    ] = False,
    plan: PlanOption = DEFAULT_PLAN,
) -> int:
    """Make a drive one of the media that take turns. Nothing on it is deleted.

    From then on it is known by this label and an id of its own, never by its letter or path.

    **Examples:**

        datasave media init /media/usb --label TUE

        datasave media init E:/ --label F1 --replace
    """
    context = PlanContext(plan)
    good(media.init(context, _drive(context, target), path, label, replace=replace))
    return 0


def list_media(*, plan: PlanOption = DEFAULT_PLAN) -> int:
    """List all media of the calendar: where each is, when it was used, when it has its next turn.

    **Examples:**

        datasave media list
    """
    lines = media.listing(PlanContext(plan))
    if lines:
        _table(lines)
    else:
        say(NO_DRIVES)
    return 0


def which(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    day: Annotated[
        str | None, Parameter(help="For the run of this day (2026-11-27); without it, the next one.")
    ] = None,
) -> int:
    """Say which medium to plug in for the next run, which to take home and which to bring back.

    **Examples:**

        datasave media which

        datasave media which --day 2026-11-27
    """
    context = PlanContext(plan)
    run_day = _day(day) if day else _next_run(context)
    advised = media.which(context, run_day)
    for target, advice in advised:
        say(f"{target}, run of {date_text(run_day)}: {advice.text}")
    if not advised:
        say(NO_DRIVES)
    return 0


def _table(lines: Sequence[media.MediumLine]) -> None:
    """All media of the calendar, and where each should be."""
    shown = table(
        "media", ("target", "label", "where", "last used", "backups", "next turn"), right=("backups",)
    )
    for line in lines:
        where = line.at or ("off premises" if line.away else "not plugged in")
        shown.add_row(
            escape(line.target),
            escape(line.label),
            escape(where) if line.known else "[yellow]not made yet[/yellow]",
            date_text(line.used) if line.used else "never",
            str(line.held),
            date_text(line.due) if line.due else "–",
        )
    out.print(shown)


def _drive(context: PlanContext, name: str | None) -> str:
    drives = [name for name, _ in media.drives_of(context)]
    if name is None and len(drives) == 1:
        return drives[0]
    if name is None:
        raise PlanError(
            f"the plan has {len(drives) or 'no'} drive targets",
            hint=f"Say which with --target: {', '.join(drives)}." if drives else "Add one of kind `drive`.",
        )
    return context.entry(name).name


def _next_run(context: PlanContext) -> date:
    """The day of the next scheduled backup; today where none is scheduled.

    At 17:00, with a run at 2:00 in the night, that is tomorrow: who asks is about to go home.
    """
    now = datetime.now(context.timezone)
    cron = context.plan.schedule.backup
    return next_time(cron, now).date() if cron else now.date()


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise PlanError(f"{text!r} is not a date", hint="Write it as 2026-11-27.") from error
