"""Commands about single backups that stay whatever retention says: hold, release."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from cyclopts import Parameter, validators

from deployments.cli.options import DEFAULT_PLAN, PlanOption, SourceOption
from deployments.cli.screen import good, say
from tasks.backup import holds
from tasks.backup.retain import copy_journal_everywhere, shelf_of
from tasks.context import PlanContext
from tasks.errors import DatasaveError, NoBackup, PlanError


def hold(
    number: Annotated[
        int,
        Parameter(
            help="The backup's number, as `datasave list` shows it.", validator=validators.Number(gte=1)
        ),
    ],
    /,
    *,
    reason: Annotated[str, Parameter(help="Why it is kept, for whoever looks at it later.")],
    until: Annotated[
        str | None, Parameter(help="The last day (2026-12-24); without it, until it is released.")
    ] = None,
    source: SourceOption = None,
    plan: PlanOption = DEFAULT_PLAN,
) -> int:
    """Keep a backup on every target, whatever `keep` says: before an update, for a court.

    It takes no other backup's place. What another machine with the plan removes is that machine's business:
    say it there too.

    **Examples:**

        datasave hold 417 --reason "before the update to version 9" --until 2026-12-24

        datasave hold 417 --reason "asked for by the court"
    """
    context = PlanContext(plan)
    source_name = context.source_name(source)
    last = _day(context, until) if until else None
    if not reason.strip():
        raise PlanError("a backup is held for a reason", hint='Say it: --reason "before the update".')
    where = _places(context, source_name, number)
    holds.hold(context, source_name, number, reason.strip(), last)
    copy_journal_everywhere(context)
    good(f"number {number} of {context.full_name(source_name)} is {holds.Hold(reason.strip(), last).words}")
    if where:
        say(f"It lies on {', '.join(where)}.")
    return 0


def release(
    number: Annotated[int, Parameter(help="The backup's number.")],
    /,
    *,
    source: SourceOption = None,
    plan: PlanOption = DEFAULT_PLAN,
) -> int:
    """Put a backup that was held under retention again.

    **Examples:**

        datasave release 417
    """
    context = PlanContext(plan)
    source_name = context.source_name(source)
    holds.release(context, source_name, number, datetime.now(context.timezone).date())
    copy_journal_everywhere(context)
    good(f"number {number} of {context.full_name(source_name)} is no longer held")
    return 0


def _places(context: PlanContext, source_name: str, number: int) -> list[str]:
    """The targets that show the backup. Raises NoBackup where none does and all could be asked."""
    found, unseen = [], False
    for entry in context.plan.targets:
        try:
            with context.target(entry.name) as target:
                shelf = shelf_of(context, target, source_name)
        except DatasaveError as error:
            say(f"Not looked at: {error.message}")
            unseen = True
            continue
        if any(backup.manifest and backup.manifest.sequence == number for backup in shelf):
            found.append(entry.name)
    if not (found or unseen):
        raise NoBackup(
            f"no target shows a backup of number {number}", hint="`datasave list` shows what there is."
        )
    return found


def _day(context: PlanContext, text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise PlanError(f"{text!r} is not a date", hint="Write it as 2026-12-24.") from error
    if day < datetime.now(context.timezone).date():
        raise PlanError(f"{text} is over", hint="Give a day to come, or leave --until out.")
    return day
