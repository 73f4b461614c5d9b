"""Whether the newest backup on a target is the one that should be there by the plan's schedule.

What an audit finds, what the status shows and what the posture rests on is all decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from tasks.calendars import WEEKDAYS, date_text
from tasks.context import PlanContext
from tasks.notices.wording import duration_text, place_text
from tasks.plan.cron import previous_time
from tasks.plan.groups import HOURS_OF_GRACE
from tasks.plan.model import TargetEntry
from tasks.policy.due_rules import (
    forgotten_slots,
    fresh_since,
    fresh_without_schedule,
    last_day_with_medium,
    last_due,
    last_turn,
    midnight,
)
from tasks.records import BackupEntry, Finding
from tasks.targets.base import Target
from tasks.targets.capabilities import MediaOptions, SupportsMedia

GRACE = timedelta(hours=HOURS_OF_GRACE)
_WEEKS = timedelta(weeks=2)


def last_run(context: PlanContext, now: datetime) -> datetime | None:
    """When the last run began that should have ended by now; None in a plan without a schedule of backups."""
    cron = context.plan.schedule.backup
    # A run that is under way is not late yet.
    return previous_time(cron, now.astimezone(context.timezone) - GRACE) if cron else None


def due_since(context: PlanContext, entry: TargetEntry, now: datetime) -> datetime | None:
    """The newest backup of a target must not be older than this; None where none is expected yet.

    By the plan alone, no target is reached: of removable media it is the one that had its turn last, wherever
    it is now.
    """
    now = now.astimezone(context.timezone)
    if entry.fresh_hours is not None:
        return now - timedelta(hours=entry.fresh_hours)
    run = last_run(context, now)
    if not isinstance(entry, MediaOptions):
        return fresh_since(entry.when, run) if run else fresh_without_schedule(entry.when, now)
    day = last_day_with_medium(entry.calendar, _day_of(run, now))
    return midnight(last_due(entry.when, day), context.timezone) if day else None


def expected_since(context: PlanContext, target: Target, now: datetime) -> datetime | None:
    """The same for a target that is open: of removable media the one that is plugged in.

    Its last turn may be a week ago.
    """
    entry = context.entry(target.name)
    now = now.astimezone(context.timezone)
    if entry.fresh_hours is not None or not isinstance(entry, MediaOptions):
        return due_since(context, entry, now)
    assert isinstance(target, SupportsMedia)  # noqa: S101 - its options have a calendar
    marker = target.medium(f"cannot look at {target.name}")
    made = marker.made.astimezone(context.timezone).date()
    turn = last_turn(entry.calendar, marker.label, _day_of(last_run(context, now), now), made)
    return midnight(turn, context.timezone) if turn else None


def freshness(
    context: PlanContext, target: Target, source_name: str, shelf: Sequence[BackupEntry], now: datetime
) -> tuple[Finding, ...]:
    """What an audit says of the age of a source's backups on one target."""
    since = expected_since(context, target, now)
    place = place_text(target.name, source_name)
    newest = max((b.manifest.taken for b in shelf if b.verified and b.manifest), default=None)
    if newest is None:
        detail = f"{place} holds no verified backup"
        waits = "; none was due here yet" if since is None else ""
        return (Finding(check="newest is fresh", passed=since is None, detail=detail + waits),)
    age = duration_text((now - newest).total_seconds())
    passed = since is None or newest >= since
    detail = f"newest on {place} is {age} old"
    if not passed and since is not None:
        detail += f"; by the plan there should be one since {date_text(since.date())} {since:%H:%M}"
    return Finding(check="newest is fresh", passed=passed, detail=detail), *_slots(
        context, target, shelf, now
    )


def _slots(
    context: PlanContext, target: Target, shelf: Sequence[BackupEntry], now: datetime
) -> tuple[Finding, ...]:
    """The weekdays' folders whose backups are not replaced any more."""
    entry, cron = context.entry(target.name), context.plan.schedule.backup
    rhythm = entry.when.weekly or entry.when.monthly
    if entry.slots is None or cron is None or rhythm or entry.fresh_hours is not None:
        return ()
    local = now.astimezone(context.timezone)
    newest: dict[str, date] = {}
    for backup in shelf:
        if backup.verified and backup.manifest and backup.slot.lower() in WEEKDAYS:
            taken = backup.manifest.taken.astimezone(context.timezone).date()
            newest[backup.slot] = max(taken, newest.get(backup.slot, taken))
    forgotten = forgotten_slots(newest, _run_days(cron, local), local.date())
    return tuple(
        Finding(
            check="slot is fresh",
            passed=False,
            detail=f"{slot} on {target.name} was last replaced on {date_text(taken)}: it missed two turns",
        )
        for slot, taken in sorted(forgotten.items())
    )


def _day_of(run: datetime | None, now: datetime) -> date:
    """The day of the last run; without a schedule yesterday, today's may be still to come."""
    return (run or now - timedelta(days=1)).date()


def _run_days(cron: str, now: datetime) -> set[date]:
    """The days of the last two weeks on which a run was due."""
    days: set[date] = set()
    moment = previous_time(cron, now - GRACE)
    while now - moment < _WEEKS:
        days.add(moment.date())
        # One a day is enough to know.
        moment = previous_time(cron, midnight(moment.date(), now.tzinfo))
    return days
