"""From the outcomes of a run's steps to the one report of it. No I/O but reading those outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from prefect import runtime
from prefect.client.schemas.objects import State

from tasks import reports
from tasks.backup.memory import WAY_OUT, doubts
from tasks.backup.removal import removed_in
from tasks.context import PlanContext
from tasks.errors import DatasaveError, ProofError, TargetMissing
from tasks.health.audit import audit_memory
from tasks.keys.proofs import findings as key_findings
from tasks.notices.wording import count_text, duration_text, place_text, step_text
from tasks.policy.retention import CLOCK_JUMP
from tasks.records import Certificate, Finding, Profile, Removed, Run, unchecked_in
from tasks.recovery.find import PASSED_OVER
from tasks.reports import Delivery, RunReport, SourceReport
from tasks.steps import backup, on_request
from tasks.steps.declaration import Step
from tasks.steps.outcomes import Steps, state_error
from tasks.steps.report import now

MARKED = (
    "Look at the database today, before anyone works on: is this damage, ransomware, or was it meant? If it "
    "was meant, say so with `datasave prune --accept-change`. If not, the older backups are all still there: "
    "`datasave list` shows the last one that is not marked, and `datasave restore` takes it."
)
WRONG_DATE = (
    "A backup bears a wrong date, and nothing old is removed from where it lies until that is settled. Look "
    "at the clock of this machine first. Then remove that backup by hand, its .manifest.json before its "
    ".tar.zst.age, and say that it was looked into with `datasave prune --accept-change`."
)
UNCHECKED = (
    "Not everything could be checked. That says nothing bad of the data: the backup was made and restored. "
    "The checks below name what it was, why, and what to do about it. With `strict: true` in the plan such a "
    "run fails instead."
)
SLOW = (
    "Getting the data back took longer than the plan allows (drill.objective_hours). Keep a copy on a faster "
    "target, or plan for the longer time."
)


def run_report(
    flow: str,
    started: datetime,
    headline: str,
    sources: Sequence[SourceReport],
    *,
    succeeded: bool = False,
    advice: Iterable[str] = (),
    **facts: Any,
) -> RunReport:
    """The report of the current run, which ends now; the main one of ``sources`` comes first."""
    main, *also = sources
    return RunReport(
        flow=flow,
        run=runtime.flow_run.name or "",
        started=started,
        finished=now(),
        succeeded=succeeded,
        headline=headline,
        **{name: getattr(main, name) for name in SourceReport.model_fields},
        also=tuple(also),
        advice=tuple(dict.fromkeys(filter(None, advice))),
        **facts,
    )


def plain_report(flow: str, started: datetime, headline: str, source: str, **facts: Any) -> RunReport:
    """The report of a run that says nothing of its source but a name; failed unless ``facts`` say else."""
    return run_report(flow, started, headline, [SourceReport(source=source)], **facts)


# Backup


@dataclass(frozen=True)
class SourceRun:
    """What a run did with one source: the steps up to the proven archive, then those at each target.

    ``not_due`` are the targets that were left out, with the reasons; ``removed`` is what went from each of
    the others, also where the backup then failed.
    """

    steps: Steps
    at_targets: list[Steps] = field(default_factory=list)
    not_due: dict[str, str] = field(default_factory=dict)
    removed: dict[str, tuple[Removed, ...]] = field(default_factory=dict)

    @property
    def source_name(self) -> str:
        """The source's short name, "" for the main one."""
        return self.steps.source_name

    @property
    def all_steps(self) -> list[Steps]:
        """All of them, in order."""
        return [self.steps, *self.at_targets]

    @property
    def run(self) -> Run | None:
        """The run that its first step began."""
        return self.steps.result(backup.preflight)

    @property
    def errors(self) -> list[DatasaveError]:
        """What its steps raised."""
        return [error for steps in self.all_steps for error in steps.errors]

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """What happened at each target."""
        sent = tuple(self._delivery(steps) for steps in self.at_targets)
        left_out = tuple(
            Delivery(target=target, source_name=self.source_name, outcome="not due", problem=reason)
            for target, reason in self.not_due.items()
        )
        return (*sent, *left_out)

    @property
    def anomalies(self) -> tuple[str, ...]:
        """Why the backup is marked, if it is."""
        rehearsed = self.steps.result(backup.rehearse)
        return rehearsed.anomalies if rehearsed else ()

    @property
    def alarms(self) -> list[str]:
        """Why old backups were not cleared out: something about the clock or the shelf is wrong."""
        return [d.problem for d in self.deliveries if d.outcome == "delivered" and d.problem]

    @property
    def broken(self) -> list[str]:
        """What else lies at the targets and is damaged, or is missing there, a sentence each."""
        pruned = [(steps.target, steps.result(backup.prune)) for steps in self.at_targets]
        return [
            f"{place_text(name, self.source_name)}: {told}"
            for name, found in pruned
            if found
            for told in found.broken
        ]

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Names of the checks that could not be made."""
        return unchecked_in(_findings(self.steps))

    @property
    def succeeded(self) -> bool:
        """Whether every step ran and every target has the backup."""
        arrived = all(delivery.outcome in ("delivered", "not due") for delivery in self.deliveries)
        return arrived and not self.errors and not self.alarms and not self.anomalies

    def _delivery(self, steps: Steps) -> Delivery:
        proven, pruned = steps.result(backup.read_back), steps.result(backup.prune)
        if proven is not None:
            return Delivery(
                target=steps.target,
                source_name=self.source_name,
                outcome="delivered",
                name=proven.name,
                bytes=proven.bytes,
                seconds=proven.seconds,
                removed=self.removed.get(steps.target, ()),
                kept=pruned.kept if pruned else 0,
                problem=pruned.note if pruned else "",
            )
        error = next(iter(steps.errors), None)
        outcome: Literal["missed", "failed", "skipped"] = "failed"
        problem = error.message if error else "the step did not run"
        if self.steps.result(backup.rehearse) is None:
            outcome, error, problem = "skipped", None, "there was no proven backup to deliver"
        elif isinstance(error, TargetMissing):
            outcome = "missed"
        return Delivery(
            target=steps.target,
            source_name=self.source_name,
            outcome=outcome,
            removed=self.removed.get(steps.target, ()),
            problem=problem,
            hint=error.hint if error else "",
        )


def backup_report(context: PlanContext, runs: Sequence[SourceRun], started: datetime) -> RunReport:
    """The report of a backup whose steps have come to rest; the main source's run comes first."""
    main = runs[0].run
    for run in runs:
        _look_up_removed(context, run)
    hints = [MARKED] if any(run.anomalies for run in runs) else []
    hints += [UNCHECKED] if any(run.unchecked for run in runs) else []
    hints += [told for run in runs for told in run.broken]
    if found := doubts(context):
        hints += [*(f"{doubt.detail}." for doubt in found), WAY_OUT]
    if any(alarm.startswith(CLOCK_JUMP) for run in runs for alarm in run.alarms):
        hints.append(WRONG_DATE)
    return run_report(
        "backup",
        main.started if main else started,
        _backup_headline(context, runs),
        [_backed_up(context, run) for run in runs],
        succeeded=all(run.succeeded for run in runs),
        steps=tuple(line for run in runs for steps in run.all_steps for line in steps.lines),
        deliveries=tuple(delivery for run in runs for delivery in run.deliveries),
        holders=_holders(context),
        advice=[*hints, *(error.hint for run in runs for error in run.errors)],
    )


def _look_up_removed(context: PlanContext, run: SourceRun) -> None:
    """What went is asked of the journal: a step that failed, or an earlier attempt, returned nothing."""
    if run.run is not None:
        for steps in run.at_targets:
            run.removed[steps.target] = removed_in(context, run.run, steps.target)


def _backed_up(context: PlanContext, source: SourceRun) -> SourceReport:
    steps, run = source.steps, source.run
    copy, validated = steps.result(backup.live_copy), steps.result(backup.validate_copy)
    sealed = steps.result(backup.archive_and_encrypt)
    return SourceReport(
        source=context.full_name(source.source_name),
        source_name=source.source_name,
        engine=run.engine if run else None,
        sequence=run.sequence if run else 0,
        copy_bytes=copy.bytes if copy else 0,
        archive_bytes=sealed.archive_bytes if sealed else 0,
        sealed_bytes=sealed.bytes if sealed else 0,
        profile=validated.profile if validated else None,
        findings=_findings(steps),
        anomalies=source.anomalies,
    )


def _backup_headline(context: PlanContext, runs: Sequence[SourceRun]) -> str:
    """What happened, in one sentence a source; in one for all where everything went well."""
    if all(run.succeeded for run in runs):
        places = [d.target for run in runs for d in run.deliveries if d.outcome == "delivered"]
        targets = ", ".join(dict.fromkeys(places)) or "no target: none is due"
        also = f" with {', '.join(run.source_name for run in runs[1:])}" if runs[1:] else ""
        unchecked = _not_checked(name for run in runs for name in run.unchecked)
        return f"{_numbered(context, runs[0])}{also} is backed up and proven at {targets}{unchecked}"
    return "; ".join(_sentence(context, run) for run in runs)


def _not_checked(names: Iterable[str]) -> str:
    """What a headline adds where some checks could not be made."""
    listed = ", ".join(dict.fromkeys(names))
    return f", but not everything could be checked: {listed}" if listed else ""


def _numbered(context: PlanContext, source: SourceRun) -> str:
    name = context.full_name(source.source_name)
    return f"{name} #{source.run.sequence}" if source.run else name


def _sentence(context: PlanContext, source: SourceRun) -> str:
    what = _numbered(context, source)
    problems = [*map(str, source.errors), *source.alarms]
    if not source.steps.result(backup.rehearse):
        cause = problems[0] if problems else "a step did not run"
        return f"No backup of {what}: {cause}"
    wanted = [d for d in source.deliveries if d.outcome != "not due"]
    missing = [d for d in wanted if d.outcome != "delivered"]
    if source.anomalies:
        failed = f"; {', '.join(d.target for d in missing)} failed" if missing else ""
        cause = "; ".join(source.anomalies)
        return f"ALARM: {what} is backed up, but marked, and pruning suspended: {cause}{failed}"
    if not missing and not problems:
        places = ", ".join(d.target for d in wanted)
        return f"{what} is backed up and proven at {places}{_not_checked(source.unchecked)}"
    if not missing:
        return f"{what} is backed up, but old backups were not cleared out: {problems[0]}"
    causes = "; ".join(f"{d.target}: {d.problem}" + (f". {d.hint}" if d.hint else "") for d in missing)
    return f"{len(missing)} of {len(wanted)} targets failed for {what}: {causes}"


# Copy and check, which make no backup


def looked_report(
    context: PlanContext, flow: str, good: str, looked: Sequence[Steps], started: datetime
) -> RunReport:
    """The report of a copy or a check whose steps have come to rest.

    ``good`` is its headline where all went well.
    """
    errors = [error for steps in looked for error in steps.errors]
    unchecked = [name for steps in looked for name in unchecked_in(_findings(steps))]
    return run_report(
        flow,
        started,
        "; ".join(map(str, errors)) or f"{good}: {_counted(looked)}{_not_checked(unchecked)}",
        [_looked_at(context, steps) for steps in looked],
        succeeded=not errors,
        steps=tuple(line for steps in looked for line in steps.lines),
        advice=[error.hint for error in errors],
    )


def _counted(looked: Sequence[Steps]) -> str:
    profiles = [done.profile for steps in looked if (done := steps.result(backup.validate_copy))]
    tables, rows = (sum(len(p.tables) for p in profiles), sum(p.rows for p in profiles))
    return f"{count_text(tables, 'table')} with {count_text(rows, 'row')}"


def _looked_at(context: PlanContext, steps: Steps) -> SourceReport:
    run, copy = steps.result(on_request.look), steps.result(backup.live_copy)
    validated = steps.result(backup.validate_copy)
    return SourceReport(
        source=context.full_name(steps.source_name),
        source_name=steps.source_name,
        engine=run.engine if run else None,
        copy_bytes=copy.bytes if copy else 0,
        profile=validated.profile if validated else None,
        findings=(*_findings(steps), *(_tables(validated.profile) if validated else ())),
    )


def _tables(profile: Profile) -> list[Finding]:
    return [
        Finding(check="counted", passed=True, detail="read whole and counted", table=table.name)
        for table in profile.tables
    ]


def _findings(steps: Steps) -> tuple[Finding, ...]:
    """All findings of steps that check something, also of those that failed for them."""
    found: list[Finding] = []
    checks: tuple[Step[..., Any], ...] = (backup.validate_copy, on_request.own_checks, backup.rehearse)
    for check in checks:
        found += getattr(steps.result(check), "findings", ())
    return (*found, *(f for error in steps.errors if isinstance(error, ProofError) for f in error.findings))


# Drill, audit, and flows of a single step


def drill_report(
    context: PlanContext, target: str, done: Mapping[str, State[Certificate]], started: datetime
) -> RunReport:
    """The report of a drill from ``target``; ``done`` are the outcomes by source, in the plan's order."""
    errors = {source_name: error for source_name, state in done.items() if (error := state_error(state))}
    certificates = {name: state.result() for name, state in done.items() if name not in errors}
    sentences = [
        f"The drill failed: {errors[name]}" if name in errors else _restored(certificates[name])
        for name in done
    ]
    slow = [SLOW for certificate in certificates.values() if not certificate.in_time]
    slow += [UNCHECKED for certificate in certificates.values() if certificate.unchecked]
    return run_report(
        "drill",
        started,
        "; ".join(sentences),
        [_drilled(context, name, certificates.get(name), errors.get(name)) for name in done],
        succeeded=not errors,
        steps=tuple(
            _drill_line(f"drill from {target}", name, certificates.get(name), errors.get(name), started)
            for name in done
        ),
        holders=_holders(context),
        advice=[*(error.hint for error in errors.values()), *slow, *_newer(certificates.values())],
    )


def _newer(certificates: Iterable[Certificate]) -> Iterator[str]:
    """What was newer than the backups that were drilled, and the ways out."""
    for certificate in certificates:
        yield from (check.detail for check in certificate.checks if check.check == PASSED_OVER)


def _restored(certificate: Certificate) -> str:
    took = duration_text(certificate.seconds)
    told = (
        f"{certificate.sealed_name} was restored from {certificate.target} with the key of "
        f"{certificate.holder} in {took} and is identical to what was recorded"
        f"{_not_checked(certificate.unchecked)}"
    )
    if certificate.objective_seconds is not None:
        wanted = duration_text(certificate.objective_seconds)
        told += f" (objective: {wanted})" if certificate.in_time else f", OBJECTIVE MISSED: {wanted}"
    return "; NOT THE NEWEST: ".join((told, *_newer([certificate])))


def _drilled(
    context: PlanContext, source_name: str, certificate: Certificate | None, error: DatasaveError | None
) -> SourceReport:
    found = certificate.checks if certificate else ()
    return SourceReport(
        source=context.full_name(source_name),
        source_name=source_name,
        sequence=certificate.sequence if certificate else 0,
        findings=error.findings if isinstance(error, ProofError) else found,
    )


def _drill_line(
    name: str,
    source_name: str,
    certificate: Certificate | None,
    error: DatasaveError | None,
    started: datetime,
) -> reports.Step:
    return reports.Step(
        name=step_text(name, source_name),
        outcome="ok" if certificate else "failed",
        seconds=certificate.seconds if certificate else (now() - started).total_seconds(),
        detail=error.message if error else "",
    )


def step_report(context: PlanContext, flow: str, good: str, done: State[Any], started: datetime) -> RunReport:
    """The report of a flow that is a single step; ``good`` is its headline where it succeeded."""
    error = state_error(done)
    line = reports.Step(
        name=flow,
        outcome="failed" if error else "ok",
        seconds=(now() - started).total_seconds(),
        detail=error.message if error else "",
    )
    return plain_report(
        flow,
        started,
        str(error) if error else good,
        context.plan.name,
        succeeded=error is None,
        steps=(line,),
        advice=[error.hint] if error else [],
    )


def audit_report(
    context: PlanContext, findings: dict[str, tuple[Finding, ...]], started: datetime
) -> RunReport:
    """The report of an audit: each target's findings, the failed ones in the headline."""
    everything = (*(finding for found in findings.values() for finding in found), *audit_memory(context))
    failed = [finding for finding in everything if finding.failed]
    headline = f"All targets of {context.plan.name} are present, whole and fresh: {', '.join(findings)}"
    if failed:
        headline = f"{len(failed)} of {len(everything)} checks failed: " + "; ".join(f.detail for f in failed)
    return run_report(
        "audit",
        started,
        headline,
        [SourceReport(source=context.plan.name, findings=everything)],
        succeeded=not failed,
        holders=_holders(context),
        # A reminder, no failure: what lies on the targets is as good as before.
        advice=[f"{key.check}: {key.detail}" for key in key_findings(context) if not key.passed],
    )


def _holders(context: PlanContext) -> tuple[str, ...]:
    return tuple(holder.name for holder in context.plan.holders)
