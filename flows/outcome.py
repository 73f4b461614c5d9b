"""From the states of a run's tasks to the facts of its report. No I/O but reading those states."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar, cast

from prefect import runtime
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture

from tasks.errors import DatasaveError, ProofError, TargetMissing
from tasks.records import (
    Archived,
    Certificate,
    Delivery,
    Finding,
    LiveCopy,
    Placed,
    Pruned,
    Rehearsed,
    Run,
    RunReport,
    Sealed,
    Step,
    Validated,
)
from tasks.reporting import now
from tasks.steps.office import Office
from tasks.steps.workspace import Workspace

T = TypeVar("T")


@dataclass(frozen=True)
class Chain:
    """The futures of everything before delivery."""

    run: PrefectFuture[Run]
    copy: PrefectFuture[LiveCopy]
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
class Branch:
    """The futures of one target."""

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


def backup_report(
    office: Office, workspace: Workspace, chain: Chain, branches: list[Branch], started: datetime
) -> RunReport:
    """All facts of a backup run whose tasks have come to rest."""
    run = result_of(chain.run)
    copy = result_of(chain.copy)
    archived = result_of(chain.archived)
    sealed = result_of(chain.sealed)
    validated = result_of(chain.validated)
    deliveries = tuple(_delivery(branch, chain) for branch in branches)
    steps = {**chain.named, **{name: f for branch in branches for name, f in branch.named.items()}}
    errors = [error for future in steps.values() if (error := error_of(future))]
    # Pruning that was suspended is an alarm: something about the clock or the shelf is wrong.
    alarms = [d.problem for d in deliveries if d.outcome == "delivered" and d.problem]
    succeeded = not errors and not alarms and all(d.outcome == "delivered" for d in deliveries)
    return RunReport(
        flow="backup",
        run=runtime.flow_run.name or "",
        source=office.plan.name,
        started=run.started if run else started,
        finished=now(),
        succeeded=succeeded,
        headline=_headline(office, run, chain, deliveries, [*map(str, errors), *alarms]),
        engine=run.engine if run else None,
        sequence=run.sequence if run else 0,
        copy_bytes=copy.bytes if copy else 0,
        archive_bytes=archived.bytes if archived else 0,
        sealed_bytes=sealed.bytes if sealed else 0,
        profile=validated.profile if validated else None,
        findings=_findings(chain),
        steps=tuple(_step(name, future, workspace) for name, future in steps.items()),
        deliveries=deliveries,
        holders=tuple(holder.name for holder in office.plan.holders),
        advice=tuple(dict.fromkeys(error.hint for error in errors if error.hint)),
    )


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


def _headline(
    office: Office,
    run: Run | None,
    chain: Chain,
    deliveries: tuple[Delivery, ...],
    problems: list[str],
) -> str:
    what = f"{office.plan.name} #{run.sequence}" if run else office.plan.name
    if not result_of(chain.rehearsed):
        cause = problems[0] if problems else "a step did not run"
        return f"No backup of {what}: {cause}"
    missing = [d for d in deliveries if d.outcome != "delivered"]
    if not missing and not problems:
        return f"{what} is backed up and proven at {_names(d.target for d in deliveries)}"
    if not missing:
        return f"{what} is backed up, but old backups were not cleared out: {problems[0]}"
    causes = "; ".join(f"{d.target}: {d.problem}" + (f". {d.hint}" if d.hint else "") for d in missing)
    return f"{len(missing)} of {len(deliveries)} targets failed for {what}: {causes}"


def _names(names: Iterable[str]) -> str:
    return ", ".join(names)


def _findings(chain: Chain) -> tuple[Finding, ...]:
    found: list[Finding] = []
    for future in (chain.validated, chain.rehearsed):
        outcome = result_of(cast("PrefectFuture[Validated | Rehearsed]", future))
        error = error_of(future)
        if outcome is not None:
            found += outcome.findings
        elif isinstance(error, ProofError):
            found += error.findings
    return tuple(found)


def _delivery(branch: Branch, chain: Chain) -> Delivery:
    error = next((e for f in branch.futures if (e := error_of(f))), None)
    proven = result_of(branch.proven)
    pruned = result_of(branch.pruned)
    if proven is not None:
        return Delivery(
            target=branch.target,
            outcome="delivered",
            name=proven.name,
            bytes=proven.bytes,
            seconds=proven.seconds,
            removed=pruned.removed if pruned else (),
            kept=pruned.kept if pruned else 0,
            problem=pruned.note if pruned else "",
        )
    if result_of(chain.rehearsed) is None:
        return Delivery(
            target=branch.target, outcome="skipped", problem="there was no proven backup to deliver"
        )
    return Delivery(
        target=branch.target,
        outcome="missed" if isinstance(error, TargetMissing) else "failed",
        problem=error.message if error else "the step did not run",
        hint=error.hint if error else "",
    )


def _step(name: str, future: PrefectFuture[Any], workspace: Workspace) -> Step:
    outcome: Literal["ok", "failed", "not run", "reused"] = "not run"
    if future.state.is_completed():
        outcome = "reused" if future.state.name == "Cached" else "ok"
    elif future.state.is_failed() or future.state.is_crashed():
        outcome = "failed"
    error = error_of(future)
    seconds = workspace.seconds(name) if outcome != "not run" else 0.0
    return Step(name=name, outcome=outcome, seconds=seconds, detail=error.message if error else "")


def single_step_report(
    office: Office, flow: str, step: str, state: State[Certificate], started: datetime
) -> RunReport:
    """The facts of a run that is one step: a drill."""
    error = state_error(state)
    certificate = cast("Certificate | None", state.result(raise_on_failure=False)) if not error else None
    if certificate:
        headline = (
            f"{certificate.sealed_name} was restored from {certificate.target} with the key of "
            f"{certificate.holder} and is identical to what was recorded"
        )
    else:
        headline = f"The drill failed: {error}"
    findings = certificate.checks if certificate else ()
    seconds = certificate.seconds if certificate else (now() - started).total_seconds()
    return RunReport(
        flow=flow,
        run=runtime.flow_run.name or "",
        source=office.plan.name,
        started=started,
        finished=now(),
        succeeded=certificate is not None,
        headline=headline,
        sequence=certificate.sequence if certificate else 0,
        findings=error.findings if isinstance(error, ProofError) else findings,
        steps=(
            Step(
                name=step,
                outcome="ok" if certificate else "failed",
                seconds=seconds,
                detail=error.message if error else "",
            ),
        ),
        holders=tuple(holder.name for holder in office.plan.holders),
        advice=(error.hint,) if error and error.hint else (),
    )


def audit_report(office: Office, findings: dict[str, tuple[Finding, ...]], started: datetime) -> RunReport:
    """The facts of an audit: each target's findings, the failed ones in the headline."""
    everything = tuple(finding for found in findings.values() for finding in found)
    failed = [finding for finding in everything if not finding.passed]
    if failed:
        headline = f"{len(failed)} of {len(everything)} checks failed: " + "; ".join(f.detail for f in failed)
    else:
        headline = f"All targets of {office.plan.name} are present, whole and fresh: {_names(findings)}"
    return RunReport(
        flow="audit",
        run=runtime.flow_run.name or "",
        source=office.plan.name,
        started=started,
        finished=now(),
        succeeded=not failed,
        headline=headline,
        findings=everything,
        holders=tuple(holder.name for holder in office.plan.holders),
    )
