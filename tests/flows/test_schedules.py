"""When runs are due: as Prefect's own scheduler computes it, over changes of the clocks."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from prefect.server.schemas.schedules import CronSchedule

from deployments.serving.deployments import deployments_of
from tests.flows.site import Site

# The nights in which clocks change, 2027: spring gap and autumn fold.
CHANGES = {
    "America/New_York": (datetime(2027, 3, 14), datetime(2027, 11, 7)),
    "Europe/Berlin": (datetime(2027, 3, 28), datetime(2027, 10, 31)),
}


@pytest.mark.parametrize("zone", CHANGES)
@pytest.mark.parametrize("cron", ["0 2 * * *", "30 2 * * *", "30 1 * * *", "0 8 * * *"])
def test_one_run_a_night_when_the_clocks_change(site: Site, zone: str, cron: str) -> None:
    """Each local day has its run, at its local time where that exists; none twice where it comes twice."""
    site.change_plan(schedule={"backup": cron, "timezone": zone})
    minute, hour = map(int, cron.split()[:2])
    for change in CHANGES[zone]:
        midnight = change.replace(tzinfo=ZoneInfo(zone))
        due = _due(site, "backup", midnight - timedelta(days=3), midnight + timedelta(days=4, minutes=-1))
        local = [moment.astimezone(ZoneInfo(zone)) for moment in due]
        days = [moment.date() for moment in local]
        assert len(days) == len(set(days)) == 7, local
        assert (days[-1] - days[0]).days == 6, "a night is left out"
        for moment in local:
            if _exists(moment, hour, minute):
                assert (moment.hour, moment.minute) == (hour, minute)
            else:  # 2:30 in spring: Prefect runs it within the hour beside the gap
                away = moment.astimezone(UTC) - _forward(moment).astimezone(UTC)
                assert abs(away) <= timedelta(hours=1), moment


def test_office_hours_keep_their_local_times(site: Site) -> None:
    site.change_plan(schedule={"audit": "0 8-18/5 * * mon-fri", "timezone": "America/New_York"})
    due = _due(site, "audit", datetime(2027, 3, 11, tzinfo=UTC), datetime(2027, 3, 18, tzinfo=UTC))
    local = [moment.astimezone(ZoneInfo("America/New_York")) for moment in due]
    assert {moment.hour for moment in local} == {8, 13, 18}
    assert all(moment.weekday() < 5 for moment in local)


def test_the_plans_timezone_decides(site: Site) -> None:
    site.change_plan(schedule={"backup": "0 2 * * *"})
    assert [moment.hour for moment in _due(site, "backup", *_a_day("UTC"))] == [2]
    site.change_plan(schedule={"backup": "0 2 * * *", "timezone": "Asia/Kathmandu"})
    assert [(m.hour, m.minute) for m in _due(site, "backup", *_a_day("UTC"))] == [(20, 15)]


def _due(site: Site, flow: str, start: datetime, end: datetime) -> list[datetime]:
    """When the plan's deployment of a flow is due, by the object that the server schedules runs with."""
    (made,) = [entry for entry in deployments_of(site.context) if entry.flow_name == flow]
    (entry,) = made.schedules or []
    assert entry.schedule is not None
    schedule = CronSchedule.model_validate(entry.schedule.model_dump())
    dates = asyncio.run(schedule.get_dates(n=1000, start=start, end=end))
    return [datetime.fromisoformat(date.isoformat()).astimezone(UTC) for date in dates]


def _a_day(zone: str) -> tuple[datetime, datetime]:
    start = datetime(2027, 6, 1, tzinfo=ZoneInfo(zone))
    return start, start + timedelta(hours=23)


def _exists(day: datetime, hour: int, minute: int) -> bool:
    wanted = day.replace(hour=hour, minute=minute, second=0, fold=0)
    return wanted.astimezone(UTC).astimezone(day.tzinfo).hour == hour


def _forward(day: datetime) -> datetime:
    """When the clocks go forward on that day: the first moment after the gap."""
    moment = day.replace(hour=0, minute=0).astimezone(UTC)
    while True:
        later = moment + timedelta(minutes=1)
        gap = later.astimezone(day.tzinfo).utcoffset() != moment.astimezone(day.tzinfo).utcoffset()
        moment = later
        if gap:
            return moment.astimezone(day.tzinfo)
