"""From the outcome of a drill or an audit to the facts of its report."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from prefect import runtime
from prefect.client.schemas.objects import State

from flows.report import state_error
from tasks.context import PlanContext
from tasks.errors import DatasaveError, ProofError
from tasks.keys.proofs import findings as key_findings
from tasks.notices.wording import duration_text, step_text
from tasks.records import Certificate, Finding
from tasks.reports import RunReport, SourceReport, Step
from tasks.steps.reporting import now

SLOW = (
    "Getting the data back took longer than the plan allows (drill.objective_hours). Keep a copy on a faster "
    "target, or plan for the longer time."
)


def drill_report(
    context: PlanContext, target: str, done: Mapping[str, State[Certificate]], started: datetime
) -> RunReport:
    """The facts of a drill from ``target``; ``done`` are the outcomes by source, the plan's order."""
    errors = {source_name: error for source_name, state in done.items() if (error := state_error(state))}
    certificates = {
        source_name: state.result() for source_name, state in done.items() if source_name not in errors
    }
    about = [
        _about_source(context, source_name, certificates.get(source_name), errors.get(source_name))
        for source_name in done
    ]
    sentences = [
        f"The drill failed: {errors[source_name]}"
        if source_name in errors
        else _restored(certificates[source_name])
        for source_name in done
    ]
    return RunReport(
        flow="drill",
        run=runtime.flow_run.name or "",
        started=started,
        finished=now(),
        succeeded=not errors,
        headline="; ".join(sentences),
        **about[0],
        also=tuple(SourceReport(**facts) for facts in about[1:]),
        steps=tuple(
            _step(
                f"drill from {target}",
                source_name,
                certificates.get(source_name),
                errors.get(source_name),
                started,
            )
            for source_name in done
        ),
        holders=tuple(holder.name for holder in context.plan.holders),
        advice=tuple(
            dict.fromkeys(
                [
                    *(error.hint for error in errors.values() if error.hint),
                    *(SLOW for certificate in certificates.values() if not certificate.in_time),
                ]
            )
        ),
    )


def _restored(certificate: Certificate) -> str:
    took = duration_text(certificate.seconds)
    told = (
        f"{certificate.sealed_name} was restored from {certificate.target} with the key of "
        f"{certificate.holder} in {took} and is identical to what was recorded"
    )
    if certificate.objective_seconds is None:
        return told
    wanted = duration_text(certificate.objective_seconds)
    return f"{told} (objective: {wanted})" if certificate.in_time else f"{told}, OBJECTIVE MISSED: {wanted}"


def _about_source(
    context: PlanContext, source_name: str, certificate: Certificate | None, error: DatasaveError | None
) -> dict[str, Any]:
    found = certificate.checks if certificate else ()
    return {
        "source": context.full_name(source_name),
        "part": source_name,
        "sequence": certificate.sequence if certificate else 0,
        "findings": error.findings if isinstance(error, ProofError) else found,
    }


def _step(
    name: str,
    source_name: str,
    certificate: Certificate | None,
    error: DatasaveError | None,
    started: datetime,
) -> Step:
    return Step(
        name=step_text(name, source_name),
        outcome="ok" if certificate else "failed",
        seconds=certificate.seconds if certificate else (now() - started).total_seconds(),
        detail=error.message if error else "",
    )


def step_report(context: PlanContext, flow: str, good: str, done: State[Any], started: datetime) -> RunReport:
    """The facts of a flow that is a single step; ``good`` is its headline where it succeeded."""
    error = state_error(done)
    outcome: Literal["ok", "failed"] = "failed" if error else "ok"
    seconds = (now() - started).total_seconds()
    return RunReport(
        flow=flow,
        run=runtime.flow_run.name or "",
        source=context.plan.name,
        started=started,
        finished=now(),
        succeeded=error is None,
        headline=str(error) if error else good,
        steps=(Step(name=flow, outcome=outcome, seconds=seconds, detail=error.message if error else ""),),
        advice=(error.hint,) if error and error.hint else (),
    )


def audit_report(
    context: PlanContext, findings: dict[str, tuple[Finding, ...]], started: datetime
) -> RunReport:
    """The facts of an audit: each target's findings, the failed ones in the headline."""
    everything = tuple(finding for found in findings.values() for finding in found)
    failed = [finding for finding in everything if not finding.passed]
    if failed:
        headline = f"{len(failed)} of {len(everything)} checks failed: " + "; ".join(f.detail for f in failed)
    else:
        headline = f"All targets of {context.plan.name} are present, whole and fresh: {', '.join(findings)}"
    return RunReport(
        flow="audit",
        run=runtime.flow_run.name or "",
        source=context.plan.name,
        started=started,
        finished=now(),
        succeeded=not failed,
        headline=headline,
        findings=everything,
        holders=tuple(holder.name for holder in context.plan.holders),
        # A reminder, no failure: what lies on the targets is as good as before.
        advice=tuple(f"{key.check}: {key.detail}" for key in key_findings(context) if not key.passed),
    )
