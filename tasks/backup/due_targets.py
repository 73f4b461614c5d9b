"""Which targets a run delivers to: those that are due by their rhythm, with the medium whose turn it is.

What each target got last stands in the journal, so that nobody has to be reached for the answer. If that
memory is lost, or the newest backup there is damaged, a target is due once too often, never too seldom.
"""

from __future__ import annotations

from datetime import date, datetime

from tasks.backup.condition import resting
from tasks.backup.media import label_due
from tasks.calendars import date_text
from tasks.context import PlanContext
from tasks.manifests.manifest import parse_name
from tasks.policy.due_rules import due


def day_of(context: PlanContext, moment: datetime) -> date:
    """The day in the plan's zone that a run belongs to."""
    return moment.astimezone(context.timezone).date()


def not_due(context: PlanContext, source_name: str, day: date) -> dict[str, str]:
    """The targets that a run of ``day`` leaves out, each with the reason."""
    last = _newest_days(context, context.full_name(source_name))
    reasons: dict[str, str] = {}
    for entry in context.plan.targets:
        word = due(entry.when, day, last.get(entry.name))
        if not word.due:
            reasons[entry.name] = word.reason.removeprefix("not due: ")
        elif label_due(entry, day) is None:
            reasons[entry.name] = f"its calendar has no medium for {date_text(day)}"
    return reasons


def _newest_days(context: PlanContext, source: str) -> dict[str, date]:
    """By target: the day of a source's newest backup that is not known to be damaged or gone."""
    days: dict[str, date] = {}
    for one in resting(context, source=source):
        parts = parse_name(one.name.rpartition("/")[2])
        if parts and not one.damage:
            day = parts.taken.astimezone(context.timezone).date()
            days[one.target] = max(day, days.get(one.target, day))
    return days
