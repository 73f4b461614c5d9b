"""The facts that an office's posture is judged by: its plan, and what this machine remembers.

No target elsewhere is reached, so that every run can tell it: a folder of this machine is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tasks.backup.apart import shares_disk
from tasks.context import PlanContext
from tasks.health.drills import kept, proofs_of
from tasks.health.freshness import due_since
from tasks.health.history import past_runs
from tasks.health.runbook import is_current
from tasks.health.trend import anomaly
from tasks.keys.proofs import note
from tasks.notices.posture_page import posture_html
from tasks.plan.model import TargetEntry
from tasks.platform.files import kept_in_state, private_folder, write_atomic
from tasks.platform.sandbox import available
from tasks.policy.drill_turns import NEVER, newest, proved
from tasks.policy.due_rules import USUAL
from tasks.policy.posture_rules import PostureFacts, TargetFacts, judge_posture
from tasks.records import Certificate
from tasks.reports import Posture
from tasks.sources.capabilities import SupportsRestart
from tasks.targets.base import TargetOptions

FOREVER = 1200
RESTART_HOURS = 48
# Beside the folder of reports, on disk as on the home page: a link in a report leads to both.
PAGE = "posture.html"


def posture_of(context: PlanContext, now: datetime | None = None) -> Posture:
    """How far the office follows the advice on backups."""
    return judge_posture(facts_of(context, now or datetime.now(UTC)))


def write_posture(context: PlanContext, posture: Posture, now: datetime | None = None) -> Path:
    """Write the page of a posture into the state folder. Raises StateError."""
    at, path = (now or datetime.now(UTC)).replace(microsecond=0), private_folder(context.state) / PAGE
    with kept_in_state(f"write {path}"):
        write_atomic(path, posture_html(context.plan.name, posture, at, context.timezone).encode("utf-8"))
    return path


def facts_of(context: PlanContext, now: datetime) -> PostureFacts:
    """What the rules look at, as of ``now``."""
    plan = context.plan
    certificates = kept(context)
    return PostureFacts(
        targets=tuple(_target(context, entry, certificates, now) for entry in plan.targets),
        holders=_keys(context, certificates, now),
        key_days=plan.drill.within_days,
        told=_told(context),
        backup_scheduled=plan.schedule.backup is not None,
        drill_scheduled=plan.schedule.drill is not None,
        audit_scheduled=plan.schedule.audit is not None,
        backup_hours=_hours((run.started for run in past_runs(context, "backup") if run.arrived), now),
        fresh_hours=_allowed_hours(context, now),
        drill_days=_days(certificates, now),
        keys_here=tuple(plan.drill.identities) or (("drill.identity",) if plan.drill.identity else ()),
        objective=plan.drill.objective_hours is not None,
        timezone=plan.schedule.timezone,
        own_checks=sum(len(context.checks(source_name)) for source_name in context.source_names),
        sandbox=_closed_in(context),
        marked="; ".join(
            filter(None, (anomaly(context, source_name) for source_name in context.source_names))
        ),
        unchecked=_unchecked(context),
        restart=_restarted(context, now),
        runbook=is_current(context),
    )


def _keys(
    context: PlanContext, certificates: Sequence[Certificate], now: datetime
) -> dict[str, float | None]:
    """Days since each holder's key last opened a backup, in a drill or by `datasave keys prove`."""
    proofs = note(context, ()).proofs
    found = {}
    for holder in context.plan.holders:
        drills = [c.drilled for c in certificates if c.passed and c.holder == holder.name]
        opened = [proof.at for proof in proofs if proof.recipient == holder.recipient]
        hours = _hours([*drills, *opened], now)
        found[holder.name] = None if hours is None else hours / 24
    return found


def _target(
    context: PlanContext, entry: TargetEntry, certificates: Iterable[Certificate], now: datetime
) -> TargetFacts:
    mine = [certificate for certificate in certificates if certificate.target == entry.name]
    last = newest(proofs_of(mine))
    drill = context.plan.drill
    cold = isinstance(entry, TargetOptions) and entry.thaw_seconds > 0
    today = now.astimezone(context.timezone).date()
    return TargetFacts(
        name=entry.name,
        media=entry.media,
        every_run=entry.when.weekly is None and entry.when.monthly is None,
        off_premises=entry.is_off_premises,
        same_disk=_on_the_disk_of_the_data(context, entry),
        vendor=entry.with_vendor,
        agreement=entry.baa.holds_on(today) if entry.baa else None,
        locked=isinstance(entry, TargetOptions) and entry.locks_objects,
        months=_months(entry),
        proved_days=_days(mine, now),
        within_days=drill.cold_days if cold else drill.within_days,
        in_time=last.in_time if last and last.passed else None,
    )


def _on_the_disk_of_the_data(context: PlanContext, entry: TargetEntry) -> bool:
    with context.target(entry.name) as target:
        return shares_disk(context, target)


def _months(entry: TargetEntry) -> int:
    """How many months back the oldest backup is that its rules keep."""
    keep = entry.keep
    if keep.forever:
        return FOREVER
    days = 30 if entry.when.monthly is not None else 7 if entry.when.weekly else 1
    counted = (keep.last * days // 30, keep.daily // 30, keep.weekly * 7 // 30)
    return max(*counted, keep.monthly, keep.yearly * 12)


def _told(context: PlanContext) -> int:
    """People and channels that hear of how runs went."""
    notices = context.plan.notices
    addresses = {box.address.casefold() for box in notices.mail.to} if notices.mail else set()
    return len(addresses) + len(notices.channels)


def _allowed_hours(context: PlanContext, now: datetime) -> float:
    """How old the last good backup may be: one target at least should have a newer one."""
    wanted = [since for entry in context.plan.targets if (since := due_since(context, entry, now))]
    return (now - max(wanted, default=now - USUAL)).total_seconds() / 3600


def _days(certificates: Iterable[Certificate], now: datetime) -> float | None:
    """Days since the newest of these drills that passed."""
    last = proved(proofs_of(tuple(certificates)))
    return None if last == NEVER else (now - last).total_seconds() / 86_400


def _hours(times: Iterable[datetime], now: datetime) -> float | None:
    last = max(times, default=None)
    return None if last is None else (now - last).total_seconds() / 3600


def _closed_in(context: PlanContext) -> bool | None:
    """Whether copies are opened in a sandbox; None where no source's engine is put into one."""
    if not any(context.source(source_name).closed_in for source_name in context.source_names):
        return None
    return available()


def _unchecked(context: PlanContext) -> str:
    """The checks that could not be made on the newest backup."""
    newest = [run for run in past_runs(context, "backup") if run.arrived][-1:]
    return ", ".join(dict.fromkeys(name for run in newest for past in run.sources for name in past.unchecked))


def _restarted(context: PlanContext, now: datetime) -> bool | None:
    """Whether the engine was restarted within two days; None where its maker advises none."""
    if not isinstance(context.source(), SupportsRestart) and context.plan.schedule.restart is None:
        return None
    hours = _hours((run.started for run in past_runs(context, "restart") if run.succeeded), now)
    return hours is not None and hours <= RESTART_HOURS
