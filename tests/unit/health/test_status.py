"""What the status says of an office, from what its machine remembers; and how its page looks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.context import PlanContext
from tasks.health import history
from tasks.health.freshness import due_since
from tasks.health.history import KEPT_RUNS, past_runs, remember
from tasks.health.posture import facts_of
from tasks.health.status import status_of, write_status
from tasks.notices.status_page import Trend, status_html
from tasks.reports import Delivery, RunReport
from tests.flows.site import Site
from tests.unit.notices import sample_reports

# A Wednesday, after the backup of the night.
NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
NIGHTLY = {"backup": "0 2 * * *", "drill": "0 6 * * sun", "audit": "0 8 * * *", "timezone": "UTC"}


@pytest.fixture
def context(tmp_path: Path) -> PlanContext:
    site = Site.make(tmp_path, ["nas", "disk"], schedule={"backup": "0 2 * * *"})
    return site.context


def ran(started: datetime, **changes: Any) -> RunReport:
    """A backup run of the clinic at ``started``."""
    targets = changes.pop("targets", {"nas": "delivered", "disk": "delivered"})
    facts = {
        "source": "clinic",
        "started": started,
        "finished": started + timedelta(minutes=4),
        "headline": "clinic #1 is backed up and proven at nas, disk",
        "deliveries": tuple(Delivery(target=t, outcome=o, bytes=1000) for t, o in targets.items()),
    }
    return sample_reports.success().model_copy(update={**facts, **changes})


def test_all_is_well_after_a_good_night(context: PlanContext) -> None:
    remember(context, ran(NOON - timedelta(hours=10)))
    status = status_of(context, NOON)
    assert status.good
    assert status.headline.endswith("of Wed 25 Nov 2026, 02:00"), "the page names its zone once"
    assert [(line.name, line.tone, line.next) for line in status.targets] == [
        ("nas", "good", "Thu 26 Nov 2026"),
        ("disk", "good", "Thu 26 Nov 2026"),
    ]


def test_a_target_that_missed_a_night_is_late_though_another_has_it(context: PlanContext) -> None:
    remember(context, ran(NOON - timedelta(hours=34)))
    remember(context, ran(NOON - timedelta(hours=10), targets={"nas": "delivered", "disk": "missed"}))
    status = status_of(context, NOON)
    assert {line.name: line.tone for line in status.targets} == {"nas": "good", "disk": "bad"}
    assert any(alarm.startswith("disk is late: newest proven backup") for alarm in status.alarms)


def test_nothing_is_late_while_the_run_is_under_way(context: PlanContext) -> None:
    remember(context, ran(NOON - timedelta(hours=34)))
    at = NOON.replace(hour=3)
    assert status_of(context, at).good
    assert not status_of(context, at + timedelta(hours=2)).good


def test_an_office_without_runs_says_so(context: PlanContext) -> None:
    status = status_of(context, NOON)
    assert not status.good
    assert {line.word for line in status.targets} == {"empty"}


def test_a_failed_run_is_an_alarm_until_one_of_its_sort_succeeds(context: PlanContext) -> None:
    remember(context, ran(NOON - timedelta(hours=10)))
    audit = ran(NOON - timedelta(hours=4), flow="audit", succeeded=False, headline="1 of 4 checks failed")
    remember(context, audit)
    assert status_of(context, NOON).alarms == ("The last look at all targets failed: 1 of 4 checks failed",)
    remember(context, ran(NOON - timedelta(hours=1), flow="audit", deliveries=()))
    assert status_of(context, NOON).good


def test_a_weekly_target_is_late_only_after_its_day(tmp_path: Path) -> None:
    site = Site.make(tmp_path, ["cloud"], schedule={"backup": "0 2 * * *"})
    cloud = {"name": "cloud", "kind": "folder", "path": "cloud", "when": {"weekly": "fri"}}
    site.change_plan(targets=[cloud])
    context = site.context
    friday = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
    remember(context, ran(friday, targets={"cloud": "delivered"}))
    assert status_of(context, NOON).good
    assert not status_of(context, friday + timedelta(days=7, hours=3)).good


def test_an_unplugged_drive_is_late_only_where_its_run_was_missed(tmp_path: Path) -> None:
    site = Site.make(tmp_path, [], schedule={"backup": "0 2 * * *"})
    days = {day: [day.upper()] for day in ("mon", "tue", "wed", "thu", "fri")}
    drives = {"name": "drives", "kind": "drive", "calendar": days}
    site.change_plan(targets=[drives])
    context = site.context
    friday = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
    assert [line.word for line in status_of(context, friday).targets] == ["empty"]
    remember(context, ran(friday, targets={"drives": "delivered"}))
    for day in range(3):
        assert status_of(context, friday + timedelta(days=day, hours=12)).good, "no drive is due at weekends"
    assert not status_of(context, friday + timedelta(days=3, hours=3)).good, "Monday's was missed"
    assert not status_of(context, friday + timedelta(days=8)).good, "and is told at the next weekend, too"
    saturday = friday + timedelta(days=8)
    remember(context, ran(saturday - timedelta(days=1), targets={"drives": "delivered"}))
    assert status_of(context, saturday).good


def test_status_audit_and_posture_go_by_the_same_hours(tmp_path: Path) -> None:
    site = Site.make(tmp_path, ["nas"], schedule={"backup": "0 2 * * *"})
    context, two = site.context, NOON.replace(hour=2)
    remember(context, ran(two - timedelta(days=1), targets={"nas": "delivered"}))
    assert due_since(context, context.entry("nas"), NOON) == two
    assert facts_of(context, NOON).fresh_hours == 10
    assert [line.word for line in status_of(context, NOON).targets] == ["late"]
    site.change_plan(targets=[{"name": "nas", "kind": "folder", "path": "nas", "fresh_hours": 40}])
    context = site.context
    assert facts_of(context, NOON).fresh_hours == 40
    assert [line.word for line in status_of(context, NOON).targets] == ["fresh"]


def test_a_rerun_replaces_what_its_first_try_said(context: PlanContext) -> None:
    remember(context, ran(NOON, succeeded=False, headline="1 of 2 targets failed"))
    remember(context, ran(NOON))
    assert [run.succeeded for run in past_runs(context)] == [True]


def test_a_year_is_kept_of_each_sort_of_run(context: PlanContext, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(context, ran(NOON, flow="drill"))
    for day in range(3):
        remember(context, ran(NOON + timedelta(days=day)))
    assert len(past_runs(context, "backup")) == 3
    assert KEPT_RUNS >= 366
    with_limit = [ran(NOON + timedelta(days=day)) for day in range(3, 5)]
    monkeypatch.setattr(history, "KEPT_RUNS", 3)
    for run in with_limit:
        remember(context, run)
    kept = past_runs(context)
    assert [run.started.day for run in kept] == [25, 27, 28, 29]
    assert kept[0].flow == "drill", "each sort of run has its own room"


def test_plots_follow_their_values() -> None:
    trend = Trend(title="Size", newest="3", values=(1.0, 2.0, 3.0))
    assert trend.blocks == "▁▅█"
    assert [float(point.split(",")[1]) for point in trend.points.split()] == [34.0, 18.0, 2.0]
    assert Trend(title="Size", newest="1", values=(1.0, 1.0)).blocks == "▅▅"


def test_the_page_names_no_table_and_escapes_foreign_text(context: PlanContext) -> None:
    for day in (3, 2, 1):
        remember(context, ran(NOON - timedelta(days=day, hours=10), headline="<script>alert(1)</script>"))
    page = status_html(status_of(context, NOON))
    assert "<script>" not in page
    assert "appointment_notes" not in page
    assert page.count("<polyline") == 4
    assert write_status(context).read_text("utf-8").startswith("<!DOCTYPE html>")
