"""How an office's backups stand, from what this machine remembers: no target has to be reached for it.

``datasave audit`` looks at the targets themselves; this is quick, and is written anew after each run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from tasks.backup.condition import WAY_OUT, damaged
from tasks.backup.due_targets import day_of
from tasks.backup.holds import holds
from tasks.backup.media import which
from tasks.backup.memory import doubts
from tasks.calendars import date_text
from tasks.context import PlanContext
from tasks.health.drills import drillbook
from tasks.health.freshness import GRACE, due_since
from tasks.health.history import PastRun, newest_delivery, past_runs
from tasks.health.nights import nights_of
from tasks.health.posture import posture_of
from tasks.health.restorable import restorable
from tasks.health.trend import anomaly
from tasks.notices.metrics import metrics_text
from tasks.notices.pages import Tone
from tasks.notices.status_page import Status, StatusLine, Trend, status_html
from tasks.notices.wording import clock_text, count_text, duration_text, place_text, size_text
from tasks.plan.cron import next_time
from tasks.plan.model import TargetEntry
from tasks.platform.files import kept_in_state, private_folder, write_atomic
from tasks.policy.due_rules import due

NAME = "status.html"
FIGURES = "status.prom"
PLOTTED = 90
LISTED = 8
TOLD_AS_ALARMS = ("fresh", "unmarked")
NAMED = 3
FLOWS = {
    "backup": "backup",
    "drill": "drill",
    "audit": "look at all targets",
    "prune": "clearing out of old backups",
    "restart": "restart of the engine",
    "log": "backup of the log",
}
UNSCHEDULED_IS_ODD = ("backup", "drill", "audit")


def status_of(context: PlanContext, now: datetime | None = None) -> Status:
    """The status as of ``now``. Raises StateError where what is remembered cannot be read."""
    at = (now or datetime.now(UTC)).replace(microsecond=0)
    runs = past_runs(context)
    targets = [
        _target(context, entry, source_name, runs, at)
        for entry in context.plan.targets
        for source_name in context.source_names
    ]
    alarms = [
        *(f"{line.name} is {line.word}: {line.detail}" for line in targets if line.tone == "bad"),
        *(doubt.detail for doubt in doubts(context)),
        *filter(None, (anomaly(context, source_name) for source_name in context.source_names)),
        *(f"{one.target}: #{one.sequence} is {one.damage}. {WAY_OUT}" for one in damaged(context)),
        *_failed(runs),
    ]
    missing = tuple(_missing(context, at))
    return Status(
        office=context.plan.name,
        at=at,
        headline=_headline(context, runs, alarms, missing),
        alarms=tuple(dict.fromkeys(alarms)),
        missing=missing,
        good_until=_good_until(context, at),
        nights=tuple(nights_of(context, runs, at)),
        backups=tuple(restorable(context, runs)),
        targets=tuple(targets),
        media=tuple(f"{name}: {advice.text}" for name, advice in which(context, _next_run_day(context, at))),
        held=tuple(_held(context, day_of(context, at))),
        proofs=tuple(_proofs(context, at)),
        coming=tuple(_coming(context, at)),
        trends=tuple(_trends(context, runs)),
        runs=tuple(_run(context, run) for run in reversed(runs[-LISTED:])),
    )


def write_status(context: PlanContext) -> Path:
    """Write the status page into the state folder, and its figures for monitoring. Raises StateError."""
    status, path = status_of(context), private_folder(context.state) / NAME
    with kept_in_state(f"write the status page {path}"):
        write_atomic(path, status_html(status, context.timezone).encode("utf-8"))
        write_atomic(path.with_name(FIGURES), metrics_text(status).encode("utf-8"))
    return path


def _headline(
    context: PlanContext, runs: Sequence[PastRun], alarms: Sequence[str], missing: Sequence[str]
) -> str:
    if alarms:
        return f"{count_text(len(alarms), 'thing needs', 'things need')} attention"
    newest = next((run for run in reversed(runs) if run.flow == "backup" and run.succeeded), None)
    if newest is None:
        return "No backup has been made yet"
    but = ", but not everything in it could be checked" if any(p.unchecked for p in newest.sources) else ""
    found = f"the newest proven backup is of {clock_text(newest.started, context.timezone)}{but}"
    if missing:
        return f"Backed up, with {count_text(len(missing), 'gap', 'gaps')}: {found}"
    return f"All is well: {found}"


def _missing(context: PlanContext, at: datetime) -> Iterator[str]:
    """What the office must have by the advice on backups, and lacks; an alarm is not said twice."""
    for rule in posture_of(context, at).open:
        if rule.must and rule.id not in TOLD_AS_ALARMS:
            yield f"Not met: {rule.demands.rstrip('.')} ({rule.found}). {rule.how}"


def _good_until(context: PlanContext, at: datetime) -> datetime | None:
    """When the next backup should have ended; None in a plan without a schedule."""
    cron = context.plan.schedule.backup
    return next_time(cron, at.astimezone(context.timezone)) + GRACE if cron else None


def _target(
    context: PlanContext, entry: TargetEntry, source_name: str, runs: Sequence[PastRun], at: datetime
) -> StatusLine:
    bad = damaged(context, entry.name, context.full_name(source_name))
    found = newest_delivery(runs, entry.name, source_name, {one.name for one in bad})
    today = day_of(context, at)
    last = day_of(context, found[0].started) if found else None
    tone, word = _freshness(context, entry, found[0].started if found else None, at)
    if found is None:
        detail = "no proven backup yet"
    else:
        run, delivery = found
        when = clock_text(run.started, context.timezone)
        detail = (
            f"newest proven backup: #{run.sequence_of(source_name)} of {when}, {size_text(delivery.bytes)}"
        )
        if unchecked := run.unchecked_of(source_name):
            tone = "warn" if tone == "good" else tone
            detail += f"; not checked: {', '.join(unchecked)}"
    number = found[0].sequence_of(source_name) if found else 0
    if newer := [one for one in bad if one.sequence > number]:
        detail += "".join(f"; #{one.sequence} is newer and {one.damage}" for one in newer[-NAMED:])
    return StatusLine(
        name=place_text(entry.name, source_name),
        tone=tone,
        word=word,
        detail=detail,
        next=date_text(due(entry.when, today, last).next),
    )


def _freshness(
    context: PlanContext, entry: TargetEntry, last: datetime | None, at: datetime
) -> tuple[Tone, str]:
    since = due_since(context, entry, at)
    if last is None:
        return ("quiet", "empty") if since is None else ("bad", "empty")
    return ("bad", "late") if since is not None and last < since else ("good", "fresh")


def _failed(runs: Sequence[PastRun]) -> Iterator[str]:
    """The newest run of each sort, where it failed."""
    newest = {run.flow: run for run in runs}
    for flow, run in newest.items():
        if not run.succeeded:
            yield f"The last {FLOWS.get(flow, flow)} failed: {run.headline}"


def _next_run_day(context: PlanContext, at: datetime) -> date:
    local = at.astimezone(context.timezone)
    cron = context.plan.schedule.backup
    return (next_time(cron, local) if cron else local).date()


def _held(context: PlanContext, day: date) -> Iterator[StatusLine]:
    for source_name in context.source_names:
        for number, hold in sorted(holds(context, source_name, day).items()):
            name = f"#{number} of {context.full_name(source_name)}"
            until = date_text(hold.until) if hold.until else "until it is released"
            yield StatusLine(name=name, tone="quiet", word="held", detail=hold.reason, next=until)


def _proofs(context: PlanContext, at: datetime) -> Iterator[StatusLine]:
    """Each target and each key: whether a drill brought a backup back from it, or with it, in time."""
    for line in drillbook(context, now=at).covered:
        # What was never tried, or not lately, is no fault yet.
        tone = "warn" if line.word in ("Never", "Overdue") else line.tone
        name = line.target or f"key of {line.holder}"
        detail = f"last drill: {line.last}" + (f", in {line.took}" if line.took else "")
        yield StatusLine(name=name, tone=tone, word=line.word.lower(), detail=detail, next=line.due)


def _coming(context: PlanContext, at: datetime) -> Iterator[StatusLine]:
    local = at.astimezone(context.timezone)
    for flow, told in FLOWS.items():
        cron = getattr(context.plan.schedule, flow, None)
        if cron:
            coming = next_time(cron, local)
            wait = duration_text((coming - at).total_seconds())
            when = f"{clock_text(coming, context.timezone)}, in {wait}"
            yield StatusLine(name=told, tone="quiet", word="scheduled", detail=when)
        elif flow in UNSCHEDULED_IS_ODD:
            how = f"only when started by hand: set `schedule.{flow}` in the plan"
            yield StatusLine(name=told, tone="warn", word="not scheduled", detail=how)


def _trends(context: PlanContext, runs: Sequence[PastRun]) -> Iterator[Trend]:
    taken = [run for run in runs if run.flow == "backup" and any(past.copy_bytes for past in run.sources)]
    taken = taken[-PLOTTED:]
    yield from _trend("Duration", [run.seconds for run in taken], duration_text)
    for source_name in context.source_names:
        name = context.full_name(source_name)
        seen = [
            past
            for run in taken
            for past in run.sources
            if past.source_name == source_name and past.copy_bytes
        ]
        yield from _trend(f"Size of {name}", [past.copy_bytes for past in seen], size_text)
        yield from _trend(f"Its backup ({name})", [past.sealed_bytes for past in seen], size_text)
        yield from _trend(f"Rows of {name}", [past.rows for past in seen if past.rows], count_text)


def _trend(title: str, values: Sequence[float], told: Callable[[Any], str]) -> Iterator[Trend]:
    if len(values) > 1:
        yield Trend(title=title, newest=told(values[-1]), values=tuple(map(float, values)))


def _run(context: PlanContext, run: PastRun) -> StatusLine:
    return StatusLine(
        name=FLOWS.get(run.flow, run.flow),
        tone="good" if run.succeeded else "bad",
        word="OK" if run.succeeded else "failed",
        detail=f"{clock_text(run.started, context.timezone)}, {duration_text(run.seconds)}. {run.headline}",
    )
