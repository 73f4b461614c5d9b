"""The bar of nights, what can be restored, and the one colour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.context import PlanContext
from tasks.health.history import past_runs, remember
from tasks.health.nights import DAYS, nights_of
from tasks.health.status import status_of
from tasks.journal.kinds import Kind
from tasks.notices.status_page import status_html
from tests.flows.site import Site
from tests.unit.health.test_status import NOON, ran

NIGHTLY = {"backup": "0 2 * * *"}


@pytest.fixture
def context(tmp_path: Path) -> PlanContext:
    return Site.make(tmp_path, ["nas", "disk"], schedule=NIGHTLY).context


def words(context: PlanContext, at: datetime = NOON) -> dict[str, list[str]]:
    bars = nights_of(context, past_runs(context), at)
    return {bar.target: [night.word for night in bar.days] for bar in bars}


def test_each_night_shows_what_arrived(context: PlanContext) -> None:
    for back, word in ((4, "delivered"), (3, "failed"), (1, "missed"), (0, "delivered")):
        started = NOON - timedelta(days=back, hours=10)
        remember(context, ran(started, targets={"nas": "delivered", "disk": word}))
    found = words(context)
    assert found["disk"][-5:] == ["delivered", "failed", "no run", "medium missing", "delivered"]
    assert found["nas"][-5:] == ["delivered", "delivered", "no run", "delivered", "delivered"]
    assert found["nas"][:-5] == ["none"] * (DAYS - 5), "before the first run nothing was expected"


def test_a_night_that_is_not_over_is_not_missed(context: PlanContext) -> None:
    remember(context, ran(NOON - timedelta(days=1, hours=10)))
    assert words(context, NOON.replace(hour=3))["nas"][-1] == "none"
    assert words(context, NOON.replace(hour=5))["nas"][-1] == "no run"


def test_a_run_that_was_mended_the_same_day_is_good(context: PlanContext) -> None:
    remember(context, ran(NOON - timedelta(hours=10), targets={"nas": "failed", "disk": "delivered"}))
    remember(context, ran(NOON - timedelta(hours=1)))
    assert words(context)["nas"][-1] == "delivered"


def test_a_run_that_ended_before_any_target_is_no_quiet_night(context: PlanContext) -> None:
    remember(context, ran(NOON - timedelta(hours=10), targets={}, succeeded=False))
    assert words(context)["nas"][-1] == "not reached"


def test_a_backup_lists_where_it_lies_until_it_is_damaged(context: PlanContext) -> None:
    remember(context, ran(NOON - timedelta(hours=10)))
    (run,) = past_runs(context)
    number = run.sequence_of(context.source_names[0])
    for target in ("nas", "disk"):
        facts = {"target": target, "source": "clinic", "sequence": number, "name": f"TUE/{target}.age"}
        context.journal.append(Kind.DELIVERED, **facts, bytes=1000, sha256="0" * 64)
    (backup,) = status_of(context, NOON).backups
    assert set(backup.places) == {"nas", "disk"}
    assert f"--backup {number} " in backup.command
    assert backup.taken.startswith("Wed 25 Nov 2026")
    context.journal.append(Kind.DAMAGED, **facts, found_by="audit", detail="its sha256 differs")
    (backup,) = status_of(context, NOON).backups
    assert backup.places == ("nas",)


def test_amber_where_backups_are_good_and_the_office_lacks_something(context: PlanContext) -> None:
    remember(context, ran(NOON - timedelta(hours=10)))
    status = status_of(context, NOON)
    assert (status.tone, status.good) == ("warn", True)
    assert any("At least two people are told" in text for text in status.missing)
    assert "All is well" not in status.headline
    page = status_html(status)
    assert "is-warn" in page
    assert "What is missing" in page


def test_red_before_amber(context: PlanContext) -> None:
    assert status_of(context, NOON).tone == "bad"


def test_the_page_says_until_when_it_is_good(context: PlanContext) -> None:
    remember(context, ran(NOON - timedelta(hours=10)))
    status = status_of(context, NOON)
    assert status.good_until == datetime(2026, 11, 26, 4, 0, tzinfo=UTC)
    assert "This is good until <strong>Thu 26 Nov 2026, 04:00</strong>" in status_html(status)
