"""Whether the newest backup on a target is the one that should be there by the plan's schedule."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from tasks.calendars import WEEKDAYS
from tasks.notices.wording import duration_text, place_text
from tasks.plan.cron import previous_time
from tasks.plan.schedule import HOURS_OF_GRACE
from tasks.policy.due import day_text
from tasks.policy.fresh import forgotten_slots, fresh_since, fresh_without_schedule, last_turn, midnight
from tasks.records import Finding, Shelved
from tasks.steps.office import Office
from tasks.targets.base import Target
from tasks.targets.drive import DriveOptions, DriveTarget

_GRACE = timedelta(hours=HOURS_OF_GRACE)
_WEEKS = timedelta(weeks=2)


def expected_since(office: Office, target: Target, now: datetime) -> datetime | None:
    """The newest backup on the target must not be older than this; None where none is expected there yet.

    Of removable media it is the one that is plugged in, whose last turn may be a week ago.
    """
    entry = office.entry(target.name)
    now = now.astimezone(office.timezone)
    if entry.fresh_hours is not None:
        return now - timedelta(hours=entry.fresh_hours)
    cron = office.plan.schedule.backup
    run = previous_time(cron, now - _GRACE) if cron else None
    if isinstance(entry, DriveOptions) and isinstance(target, DriveTarget):
        marker = target.medium(f"cannot look at {target.name}")
        day = (run or now - timedelta(days=1)).date()
        made = marker.made.astimezone(office.timezone).date()
        turn = last_turn(entry.calendar, marker.label, day, made)
        return midnight(turn, office.timezone) if turn else None
    return fresh_since(entry.when, run) if run else fresh_without_schedule(entry.when, now)


def freshness(
    office: Office, target: Target, part: str, shelf: Sequence[Shelved], now: datetime
) -> tuple[Finding, ...]:
    """What an audit says of the age of a source's backups on one target."""
    since = expected_since(office, target, now)
    place = place_text(target.name, part)
    newest = max((b.manifest.taken for b in shelf if b.verified and b.manifest), default=None)
    if newest is None:
        detail = f"{place} holds no verified backup"
        waits = "; none was due here yet" if since is None else ""
        return (Finding(check="newest is fresh", passed=since is None, detail=detail + waits),)
    age = duration_text((now - newest).total_seconds())
    passed = since is None or newest >= since
    detail = f"newest on {place} is {age} old"
    if not passed and since is not None:
        detail += f"; by the plan there should be one since {day_text(since.date())} {since:%H:%M}"
    return Finding(check="newest is fresh", passed=passed, detail=detail), *_slots(office, target, shelf, now)


def _slots(office: Office, target: Target, shelf: Sequence[Shelved], now: datetime) -> tuple[Finding, ...]:
    """The weekdays' folders whose backups are not replaced any more."""
    entry, cron = office.entry(target.name), office.plan.schedule.backup
    rhythm = entry.when.weekly or entry.when.monthly
    if entry.slots is None or cron is None or rhythm or entry.fresh_hours is not None:
        return ()
    local = now.astimezone(office.timezone)
    newest: dict[str, date] = {}
    for backup in shelf:
        if backup.verified and backup.manifest and backup.slot.lower() in WEEKDAYS:
            taken = backup.manifest.taken.astimezone(office.timezone).date()
            newest[backup.slot] = max(taken, newest.get(backup.slot, taken))
    forgotten = forgotten_slots(newest, _run_days(cron, local), local.date())
    return tuple(
        Finding(
            check="slot is fresh",
            passed=False,
            detail=f"{slot} on {target.name} was last replaced on {day_text(taken)}: it missed two turns",
        )
        for slot, taken in sorted(forgotten.items())
    )


def _run_days(cron: str, now: datetime) -> set[date]:
    """The days of the last two weeks on which a run was due."""
    days: set[date] = set()
    moment = previous_time(cron, now - _GRACE)
    while now - moment < _WEEKS:
        days.add(moment.date())
        # One a day is enough to know.
        moment = previous_time(cron, midnight(moment.date(), now.tzinfo))
    return days
