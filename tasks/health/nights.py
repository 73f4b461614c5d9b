"""The last thirty days of each target, a day each: what arrived, what failed, what never ran."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

from tasks.calendars import date_text
from tasks.context import PlanContext
from tasks.health.freshness import last_run
from tasks.health.history import PastRun
from tasks.notices.pages import Tone
from tasks.notices.status_page import Night, Nights
from tasks.plan.cron import previous_time
from tasks.policy.due_rules import midnight

DAYS = 30
# The worst of a day is what its cell shows; a run again that went well is the day's last word.
_SHOWN: dict[str, tuple[Tone, str]] = {
    "delivered": ("good", "delivered"),
    "failed": ("bad", "failed"),
    "missed": ("warn", "medium missing"),
    "skipped": ("bad", "not reached"),
    "not due": ("quiet", "not due"),
}


def nights_of(context: PlanContext, runs: Sequence[PastRun], at: datetime) -> Iterator[Nights]:
    """A bar for each target. ``runs``: those on record, oldest first."""
    backups = [run for run in runs if run.flow == "backup"]
    if not backups:
        return
    today = at.astimezone(context.timezone).date()
    days = [today - timedelta(days=back) for back in reversed(range(DAYS))]
    by_day: dict[date, list[PastRun]] = {}
    for run in backups:
        by_day.setdefault(run.started.astimezone(context.timezone).date(), []).append(run)
    expected = _expected(context, min(by_day), at)
    for entry in context.plan.targets:
        cells = (_night(entry.name, day, by_day.get(day, ()), day in expected) for day in days)
        yield Nights(target=entry.name, days=tuple(cells))


def _night(target: str, day: date, runs: Sequence[PastRun], expected: bool) -> Night:
    """The last run of the day is its verdict: a failed one that was run again is mended."""
    outcomes = {d.outcome for run in runs[-1:] for d in run.deliveries if d.target == target}
    worst = next((word for word in ("failed", "skipped", "missed", "delivered") if word in outcomes), "")
    if not worst and runs:
        worst = "not due" if runs[-1].succeeded else "skipped"
    tone, word = _SHOWN[worst] if worst else (("bad", "no run") if expected else ("quiet", "none"))
    return Night(day=date_text(day), tone=tone, word=word)


def _expected(context: PlanContext, first: date, at: datetime) -> set[date]:
    """The days since the first run on record on which one should have ended by now."""
    found: set[date] = set()
    moment, cron = last_run(context, at), context.plan.schedule.backup
    oldest = max(first, at.astimezone(context.timezone).date() - timedelta(days=DAYS))
    while moment and cron and moment.date() >= oldest:
        found.add(moment.date())
        moment = previous_time(cron, midnight(moment.date(), context.timezone))
    return found
