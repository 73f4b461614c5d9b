"""The run's report: a page, and artifacts in the UI; written once, amended when people were told."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from httpx import HTTPError
from prefect import runtime, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.client.schemas.sorting import ArtifactSort

from tasks.context import PlanContext
from tasks.errors import DatasaveError, StateError
from tasks.health.drills import write_drills
from tasks.health.history import remember
from tasks.health.posture import PAGE as POSTURE_PAGE
from tasks.health.posture import posture_of, write_posture
from tasks.health.status import write_status
from tasks.notices.report_page import refusal_markdown, report_grids, report_html, report_markdown
from tasks.notices.verdict import verdict
from tasks.notices.wording import when_text
from tasks.platform.files import kept_in_state, private_folder, write_atomic
from tasks.reports import RunReport


@task(name="report", task_run_name="report", cache_policy=NO_CACHE)
def report(plan: Path, facts: RunReport) -> Path:
    """Write the run's page into the plan's reports folder and put the same facts into the UI."""
    context = PlanContext(plan)
    path = _write_page(context, facts)
    _make_artifacts(context, facts, path)
    return path


def reported(plan: Path, facts: RunReport) -> RunReport:
    """Write the report; the facts with the posture of the office.

    A run without its report has failed, but its own outcome is told first.
    """
    context, judged = PlanContext(plan), facts
    try:
        try:
            remember(context, facts)
            if facts.flow == "drill":
                write_drills(context)
        finally:
            judged = _judged(context, facts)
            report(plan, judged)
        write_status(context)
    except StateError as error:
        return _besides(judged, error)
    return judged


def amend(plan: Path, before: RunReport, after: RunReport) -> RunReport:
    """Add to the written report who was told of the run, and its outcome where that changed it."""
    context = PlanContext(plan)
    try:
        try:
            if (before.succeeded, before.headline) != (after.succeeded, after.headline):
                remember(context, after)
                write_status(context)
        finally:
            _amend_artifact(context, after, _write_page(context, after))
    except StateError as error:
        return after if error.message in after.headline else _besides(after, error)
    return after


def show_refusal(error: DatasaveError) -> None:
    """Put on the page of a run that has no report what went wrong and what to do."""
    # The run fails anyway, and says the same: a server that hiccups must not hide why.
    with suppress(HTTPError):
        create_markdown_artifact(markdown=refusal_markdown(error), key="not-done")


def now() -> datetime:
    """The time, UTC, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def _write_page(context: PlanContext, facts: RunReport) -> Path:
    stamp = facts.started.strftime("%Y%m%dT%H%M%SZ")
    number = f"-{facts.sequence:06d}" if facts.sequence else ""
    path = private_folder(context.reports) / f"{facts.source}-{stamp}{number}-{facts.flow}.html"
    page = report_html(facts, context.timezone, f"../{POSTURE_PAGE}")
    with kept_in_state(f"write the report {path}"):
        write_atomic(path, page.encode("utf-8"))
    if facts.posture:
        write_posture(context, facts.posture)
    return path


def _artifact(context: PlanContext, facts: RunReport, path: Path) -> tuple[str, str]:
    """The report as the UI shows it, and what it is about."""
    text = f"{report_markdown(facts, context.timezone)}\n\nFull report: `{path}`\n"
    # Of our own words alone: the UI takes a description for markdown, and on a card for plain text.
    return text, verdict(facts, when_text(facts.started, context.timezone))


def _make_artifacts(context: PlanContext, facts: RunReport, path: Path) -> None:
    text, about = _artifact(context, facts, path)
    create_markdown_artifact(markdown=text, key=_key(facts), description=about)
    for kind, description, rows in report_grids(facts):
        create_table_artifact(table=rows, key=f"{kind}-{facts.source}", description=description)


def _amend_artifact(context: PlanContext, facts: RunReport, path: Path) -> None:
    """Replace what this run's report says in the UI; the page on disk is amended already."""
    text, about = _artifact(context, facts, path)
    with suppress(HTTPError), get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(
                key=ArtifactFilterKey(any_=[_key(facts)]),
                flow_run_id=ArtifactFilterFlowRunId(any_=[runtime.flow_run.id]),
            ),
            sort=ArtifactSort.CREATED_DESC,
            limit=1,
        )
        for mine in found:
            client.update_artifact(mine.id, ArtifactUpdate(data=text, description=about))
        if not found:  # on a full disk the report could not be written at first
            _make_artifacts(context, facts, path)


def _key(facts: RunReport) -> str:
    return f"report-{facts.source}"


def _judged(context: PlanContext, facts: RunReport) -> RunReport:
    """The facts with the office's posture, or without where what it rests on is damaged.

    That is told by the step that wrote it; the report of this run must not be lost over it.
    """
    with suppress(StateError):
        return facts.model_copy(update={"posture": posture_of(context)})
    return facts


def _besides(facts: RunReport, error: StateError) -> RunReport:
    return facts.model_copy(
        update={"succeeded": False, "headline": f"{facts.headline}. Besides, {error.message}"}
    )
