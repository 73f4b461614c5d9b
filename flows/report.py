"""From the states of a backup run's tasks to the facts of its report. No I/O but reading those states."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeVar, cast

from prefect import runtime
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture

from tasks.backup.copy import Copied
from tasks.backup.workspace import Workspace
from tasks.context import PlanContext
from tasks.errors import DatasaveError, ProofError, TargetMissing
from tasks.notices.wording import step_text
from tasks.policy.retention import CLOCK_JUMP
from tasks.records import Archived, Finding, Placed, Pruned, Rehearsed, Run, Sealed, Validated
from tasks.reports import Delivery, RunReport, SourceReport, Step
from tasks.steps.reporting import now

T = TypeVar("T")

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


@dataclass(frozen=True)
class SourceSteps:
    """The futures of everything before delivery."""

    run: PrefectFuture[Run]
    copy: PrefectFuture[Copied]
    validated: PrefectFuture[Validated]
    archived: PrefectFuture[Archived]
    sealed: PrefectFuture[Sealed]
    rehearsed: PrefectFuture[Rehearsed]

    @property
    def named(self) -> dict[str, PrefectFuture[Any]]:
        """The futures by the name of their step, in order."""
        return {
            "preflight": self.run,
            "live copy": self.copy,
            "validate copy": self.validated,
            "archive": self.archived,
            "encrypt": self.sealed,
            "rehearse": self.rehearsed,
        }

    @property
    def futures(self) -> list[PrefectFuture[Any]]:
        """All futures, in order."""
        return list(self.named.values())


@dataclass(frozen=True)
class TargetSteps:
    """The futures of one source's delivery to one target."""

    target: str
    delivered: PrefectFuture[Placed]
    proven: PrefectFuture[Placed]
    pruned: PrefectFuture[Pruned]

    @property
    def named(self) -> dict[str, PrefectFuture[Any]]:
        """The futures by the name of their step, in order."""
        return {
            f"deliver {self.target}": self.delivered,
            f"read back {self.target}": self.proven,
            f"prune {self.target}": self.pruned,
        }

    @property
    def futures(self) -> list[PrefectFuture[Any]]:
        """All futures, in order."""
        return list(self.named.values())


@dataclass(frozen=True)
class SourceRun:
    """All futures of one source, and its workspace. ``source_name`` is "" for the plan's main one."""

    source_name: str
    workspace: Workspace
    chain: SourceSteps
    branches: list[TargetSteps] = field(default_factory=list)
    not_due: dict[str, str] = field(default_factory=dict)

    @property
    def named(self) -> dict[str, PrefectFuture[Any]]:
        """The futures by the name of their step, in order."""
        delivering = {name: f for branch in self.branches for name, f in branch.named.items()}
        return {**self.chain.named, **delivering}

    @property
    def futures(self) -> list[PrefectFuture[Any]]:
        """All futures, in order."""
        return list(self.named.values())

    @property
    def errors(self) -> list[DatasaveError]:
        """What its steps raised."""
        return [error for future in self.futures if (error := error_of(future))]

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """What happened at each target."""
        sent = tuple(_delivery(self.source_name, branch, self.chain) for branch in self.branches)
        left_out = tuple(
            Delivery(target=target, source_name=self.source_name, outcome="not due", problem=reason)
            for target, reason in self.not_due.items()
        )
        return (*sent, *left_out)

    @property
    def anomalies(self) -> tuple[str, ...]:
        """Why the backup is marked, if it is."""
        rehearsed = result_of(self.chain.rehearsed)
        return rehearsed.anomalies if rehearsed else ()

    @property
    def alarms(self) -> list[str]:
        """Why old backups were not cleared out: something about the clock or the shelf is wrong."""
        return [d.problem for d in self.deliveries if d.outcome == "delivered" and d.problem]

    @property
    def succeeded(self) -> bool:
        """Whether every step ran and every target has the backup."""
        arrived = all(delivery.outcome in ("delivered", "not due") for delivery in self.deliveries)
        return arrived and not self.errors and not self.alarms and not self.anomalies


def backup_report(context: PlanContext, lines: list[SourceRun], started: datetime) -> RunReport:
    """All facts of a backup run whose tasks have come to rest; the main source's line comes first."""
    main = result_of(lines[0].chain.run)
    hints = [MARKED] if any(line.anomalies for line in lines) else []
    if any(alarm.startswith(CLOCK_JUMP) for line in lines for alarm in line.alarms):
        hints.append(WRONG_DATE)
    hints += [error.hint for line in lines for error in line.errors if error.hint]
    return RunReport(
        flow="backup",
        run=runtime.flow_run.name or "",
        started=main.started if main else started,
        finished=now(),
        succeeded=all(line.succeeded for line in lines),
        headline=_headline(context, lines),
        **_about_source(context, lines[0]),
        also=tuple(SourceReport(**_about_source(context, line)) for line in lines[1:]),
        steps=tuple(
            step_line(name, future, line.workspace, line.source_name)
            for line in lines
            for name, future in line.named.items()
        ),
        deliveries=tuple(delivery for line in lines for delivery in line.deliveries),
        holders=tuple(holder.name for holder in context.plan.holders),
        advice=tuple(dict.fromkeys(hints)),
    )


def _about_source(context: PlanContext, line: SourceRun) -> dict[str, Any]:
    """The fields of a SourceReport."""
    chain = line.chain
    run = result_of(chain.run)
    copy = result_of(chain.copy)
    archived = result_of(chain.archived)
    sealed = result_of(chain.sealed)
    validated = result_of(chain.validated)
    return {
        "source": context.full_name(line.source_name),
        "part": line.source_name,
        "engine": run.engine if run else None,
        "sequence": run.sequence if run else 0,
        "copy_bytes": copy.bytes if copy else 0,
        "archive_bytes": archived.bytes if archived else 0,
        "sealed_bytes": sealed.bytes if sealed else 0,
        "profile": validated.profile if validated else None,
        "findings": findings_of(chain.validated, chain.rehearsed),
        "suspicions": line.anomalies,
    }


def result_of(future: PrefectFuture[T]) -> T | None:
    """What a step returned, None where it did not complete."""
    if not future.state.is_completed():
        return None
    return future.result()


def error_of(future: PrefectFuture[Any]) -> DatasaveError | None:
    """What a step raised, as one of ours; None where it didn't fail itself."""
    return state_error(future.state)


def state_error(state: State[Any]) -> DatasaveError | None:
    """What a finished state holds of an error, as one of ours; None where it did not fail itself."""
    if not state.is_failed() and not state.is_crashed():
        return None
    raised = state.result(raise_on_failure=False)
    if isinstance(raised, DatasaveError):
        return raised
    # Not foreseen: the class name says where to look, the text might hold anything.
    return DatasaveError(
        f"unexpected {type(raised).__name__}",
        hint="The run's log in the Prefect UI has the details. Please report it.",
    )


def _headline(context: PlanContext, lines: list[SourceRun]) -> str:
    """What happened, in one sentence a source; in one for all where everything went well."""
    if all(line.succeeded for line in lines):
        places = [d.target for line in lines for d in line.deliveries if d.outcome == "delivered"]
        targets = _names(dict.fromkeys(places)) or "no target: none is due"
        also = f" with {_names(line.source_name for line in lines[1:])}" if lines[1:] else ""
        return f"{_numbered(context, lines[0])}{also} is backed up and proven at {targets}"
    return "; ".join(_sentence(context, line) for line in lines)


def _numbered(context: PlanContext, line: SourceRun) -> str:
    run = result_of(line.chain.run)
    name = context.full_name(line.source_name)
    return f"{name} #{run.sequence}" if run else name


def _sentence(context: PlanContext, line: SourceRun) -> str:
    what = _numbered(context, line)
    problems = [*map(str, line.errors), *line.alarms]
    if not result_of(line.chain.rehearsed):
        cause = problems[0] if problems else "a step did not run"
        return f"No backup of {what}: {cause}"
    wanted = [d for d in line.deliveries if d.outcome != "not due"]
    missing = [d for d in wanted if d.outcome != "delivered"]
    if line.anomalies:
        failed = f"; {_names(d.target for d in missing)} failed" if missing else ""
        cause = "; ".join(line.anomalies)
        return f"ALARM: {what} is backed up, but marked, and pruning suspended: {cause}{failed}"
    if not missing and not problems:
        return f"{what} is backed up and proven at {_names(d.target for d in wanted)}"
    if not missing:
        return f"{what} is backed up, but old backups were not cleared out: {problems[0]}"
    causes = "; ".join(f"{d.target}: {d.problem}" + (f". {d.hint}" if d.hint else "") for d in missing)
    return f"{len(missing)} of {len(wanted)} targets failed for {what}: {causes}"


def _names(names: Iterable[str]) -> str:
    return ", ".join(names)


def findings_of(*futures: PrefectFuture[Any]) -> tuple[Finding, ...]:
    """All findings of steps that check something, also of those that failed for them."""
    found: list[Finding] = []
    for future in futures:
        outcome = result_of(cast("PrefectFuture[Validated | Rehearsed]", future))
        error = error_of(future)
        if outcome is not None:
            found += outcome.findings
        elif isinstance(error, ProofError):
            found += error.findings
    return tuple(found)


def _delivery(source_name: str, branch: TargetSteps, chain: SourceSteps) -> Delivery:
    error = next((e for f in branch.futures if (e := error_of(f))), None)
    proven = result_of(branch.proven)
    pruned = result_of(branch.pruned)
    if proven is not None:
        return Delivery(
            target=branch.target,
            source_name=source_name,
            outcome="delivered",
            name=proven.name,
            bytes=proven.bytes,
            seconds=proven.seconds,
            removed=pruned.removed if pruned else (),
            kept=pruned.kept if pruned else 0,
            problem=pruned.note if pruned else "",
        )
    if result_of(chain.rehearsed) is None:
        problem = "there was no proven backup to deliver"
        return Delivery(target=branch.target, source_name=source_name, outcome="skipped", problem=problem)
    return Delivery(
        target=branch.target,
        source_name=source_name,
        outcome="missed" if isinstance(error, TargetMissing) else "failed",
        problem=error.message if error else "the step did not run",
        hint=error.hint if error else "",
    )


def step_line(name: str, future: PrefectFuture[Any], workspace: Workspace, source_name: str) -> Step:
    """One step's line in the report's time table."""
    outcome: Literal["ok", "failed", "not run", "reused"] = "not run"
    if future.state.is_completed():
        outcome = "reused" if future.state.name == "Cached" else "ok"
    elif future.state.is_failed() or future.state.is_crashed():
        outcome = "failed"
    error = error_of(future)
    seconds = workspace.seconds(name) if outcome != "not run" else 0.0
    return Step(
        name=step_text(name, source_name),
        outcome=outcome,
        seconds=seconds,
        detail=error.message if error else "",
    )
