"""The report is written, and amended when people were told; also where it could not be written at first."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

from tasks.reports import Notified, RunReport
from tasks.steps.report import amend, reported
from tests.flows.site import Site

AT = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
TOLD = Notified(channel="mail → owner@office.example", told=True)
FACTS = RunReport(
    flow="audit",
    run="audit",
    source="clinic",
    started=AT,
    finished=AT,
    succeeded=True,
    headline="All is well",
)


@flow(name="pretend")
def pretend(plan: Path, in_the_way: Path | None = None, **amended: Any) -> list[RunReport]:
    before = reported(plan, FACTS)
    if in_the_way is not None:
        in_the_way.unlink()
    return [before, amend(plan, before, before.model_copy(update={"notices": (TOLD,), **amended}))]


def pages_in_the_ui() -> list[str]:
    with get_client(sync_client=True) as client:
        # The newest: other tests leave theirs on the same server, more than one answer holds.
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["report-clinic"])),
            sort=ArtifactSort.CREATED_DESC,
        )
    return [str(artifact.data) for artifact in found]


@pytest.fixture
def site(tmp_path: Path, prefect_server: str) -> Site:
    assert prefect_server
    (tmp_path / "clinic.db").touch()
    return Site.make(tmp_path, ["nas"])


def test_who_was_told_is_added_to_the_page_that_is_there(site: Site) -> None:
    known = pages_in_the_ui()
    pretend(site.plan)
    (page,) = [page for page in pages_in_the_ui() if page not in known]
    assert "Who was told" in page


def test_a_report_that_could_not_be_written_is_written_when_people_were_told(site: Site) -> None:
    """As where the disk was full, and somebody made room while mails were sent."""
    known = pages_in_the_ui()
    reports = site.context.reports
    site.staging.mkdir(parents=True)
    reports.touch()
    before, after = pretend(site.plan, reports)
    assert not before.succeeded and "Besides" in before.headline
    assert after.headline == before.headline
    assert len([page for page in pages_in_the_ui() if page not in known]) == 1
    (page,) = reports.glob("*.html")
    assert "owner@office.example" in page.read_text("utf-8")


def test_who_was_told_is_shown_also_where_the_outcome_cannot_be_noted(site: Site) -> None:
    known = pages_in_the_ui()
    site.staging.mkdir(parents=True)
    site.context.journal.path.mkdir(parents=True)
    _, after = pretend(site.plan, succeeded=False, headline="Somebody could not be told")
    assert "Besides" in after.headline
    (page,) = [page for page in pages_in_the_ui() if page not in known]
    assert "Who was told" in page
