"""Freshness is reckoned in the office's own time zone: a schedule means the clock on its wall."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tasks.context import PlanContext
from tasks.health.freshness import due_since, freshness, last_run
from tests.flows.site import Site
from tests.unit.manifests.shelves import backup_entry

HOME = ZoneInfo("America/New_York")


@pytest.fixture
def context(tmp_path: Path) -> PlanContext:
    schedule = {"backup": "0 2 * * *", "timezone": HOME.key}
    return Site.make(tmp_path, ["nas"], schedule=schedule).context


@pytest.mark.parametrize(
    ("now", "run"),
    [
        # 2:00 in New York is 7:00 in UTC; two hours are allowed for the run itself.
        (datetime(2026, 11, 25, 12, tzinfo=UTC), datetime(2026, 11, 25, 2, tzinfo=HOME)),
        (datetime(2026, 11, 25, 8, tzinfo=UTC), datetime(2026, 11, 24, 2, tzinfo=HOME)),
        (datetime(2026, 11, 25, 4, 30, tzinfo=UTC), datetime(2026, 11, 24, 2, tzinfo=HOME)),
    ],
    ids=["after the run", "while it may be under way", "after 2:00 in UTC"],
)
def test_the_last_run_is_that_of_the_offices_clock(
    context: PlanContext, now: datetime, run: datetime
) -> None:
    assert last_run(context, now) == run
    assert due_since(context, context.entry("nas"), now) == run


def test_last_nights_backup_is_fresh_until_the_next_run_at_home(context: PlanContext) -> None:
    shelf = [backup_entry(1, datetime(2026, 11, 24, 7, 1, tzinfo=UTC))]
    with context.target("nas") as nas:
        early = datetime(2026, 11, 25, 4, 30, tzinfo=UTC)
        assert all(finding.passed for finding in freshness(context, nas, "", shelf, early))
        (late,) = freshness(context, nas, "", shelf, datetime(2026, 11, 25, 12, tzinfo=UTC))
    assert not late.passed
    assert "since Wed 25 Nov 2026 02:00" in late.detail
