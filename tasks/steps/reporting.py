"""Prefect tasks: the run's report, as a page and as an artifact; the audit of a target."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from httpx import HTTPError
from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from tasks.context import PlanContext
from tasks.errors import DatasaveError, StateError
from tasks.health import audit as auditing
from tasks.health.drills import write_drills
from tasks.health.history import remember
from tasks.health.posture import posture_of
from tasks.health.status import write_status
from tasks.notices.report_page import refusal_markdown, report_grids, report_html, report_markdown
from tasks.notices.verdict import verdict
from tasks.notices.wording import when_text
from tasks.platform.files import kept_in_state, private_folder, write_atomic
from tasks.records import Finding
from tasks.reports import RunReport
from tasks.steps.progress import progress_of


@task(name="report", task_run_name="report", cache_policy=NO_CACHE)
def report(plan: Path, facts: RunReport) -> Path:
    """Write the run's page into the plan's reports folder and put the same facts into the UI."""
    context = PlanContext(plan)
    stamp = facts.started.strftime("%Y%m%dT%H%M%SZ")
    number = f"-{facts.sequence:06d}" if facts.sequence else ""
    path = private_folder(context.reports) / f"{facts.source}-{stamp}{number}-{facts.flow}.html"
    with kept_in_state(f"write the report {path}"):
        write_atomic(path, report_html(facts, context.timezone).encode("utf-8"))
    page = f"{report_markdown(facts, context.timezone)}\n\nFull report: `{path}`\n"
    # Of our own words alone: the UI takes a description for markdown, and on a card for plain text.
    about = verdict(facts, when_text(facts.started, context.timezone))
    create_markdown_artifact(markdown=page, key=f"report-{facts.source}", description=about)
    for kind, description, rows in report_grids(facts):
        create_table_artifact(table=rows, key=f"{kind}-{facts.source}", description=description)
    return path


@task(name="audit", task_run_name="audit {target}", cache_policy=NO_CACHE)
def audit(plan: Path, target: str, read_all: bool = False) -> tuple[Finding, ...]:
    """Look at one target: present, whole, fresh."""
    with progress_of(f"audit {target}") as progress:
        return auditing.audit_target(PlanContext(plan), target, read_all=read_all, progress=progress)


def reported(plan: Path, facts: RunReport) -> RunReport:
    """Write the report. A run without its report has failed, but its own outcome is told first."""
    try:
        try:
            remember(PlanContext(plan), facts)
            if facts.flow == "drill":
                write_drills(PlanContext(plan))
        finally:
            report(plan, _judged(plan, facts))
        write_status(PlanContext(plan))
    except StateError as error:
        if error.message in facts.headline:  # written twice, to say who was told: it is said already
            return facts
        return facts.model_copy(
            update={"succeeded": False, "headline": f"{facts.headline}. Besides, {error.message}"}
        )
    return facts


def tell(error: DatasaveError) -> None:
    """Put on the page of a run that has no report what went wrong and what to do."""
    # The run fails anyway, and says the same: a server that hiccups must not hide why.
    with suppress(HTTPError):
        create_markdown_artifact(markdown=refusal_markdown(error), key="not-done")


def _judged(plan: Path, facts: RunReport) -> RunReport:
    """The facts with the office's posture, or without where what it rests on is damaged.

    That is told by the step that wrote it; the report of this run must not be lost over it.
    """
    with suppress(StateError):
        return facts.model_copy(update={"posture": posture_of(PlanContext(plan))})
    return facts


def now() -> datetime:
    """The time, UTC, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)
