"""Removable media in whole runs: the one that is due, the wrong one, none; what the staff is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.cli import app as cli
from tasks.calendars import WEEKDAYS, date_text
from tests.flows.site import Site
from tests.mounts import ext4

pytestmark = pytest.mark.slow

NOW = datetime.now(UTC)
TODAY = WEEKDAYS[NOW.weekday()]
CALENDAR = {day: day.upper() for day in WEEKDAYS}
OTHER = WEEKDAYS[(NOW.weekday() + 3) % 7].upper()


@pytest.fixture
def drives(running_site: Site) -> Site:
    """An office with a nas and drives, a label for each day of the week."""
    site = running_site
    site.change_plan(
        targets=[
            {"name": "nas", "kind": "folder", "path": "nas"},
            {"name": "drives", "kind": "drive", "calendar": CALENDAR, "mounts": [f"{site.root}/media/*"]},
        ],
        # Today's run was at midnight: whenever the test runs, tomorrow's comes next.
        schedule={"backup": "0 0 * * *", "timezone": "UTC"},
    )
    (site.root / "media").mkdir()
    return site


def test_the_medium_that_is_due_gets_the_backup(drives: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site = drives
    place = site.root / "media" / "usb"
    plan = ["--plan", str(site.plan)]
    with ext4(place, 64):
        assert cli.main(["media", "init", str(place), "--label", TODAY.upper(), *plan]) == 0
        assert site.run("backup") == 0
        assert len(list(place.rglob("*.tar.zst.age"))) == 1
        assert site.run("drill", "--target", "drives", "--identity", str(site.keys[0])) == 0
        assert site.run("list") == 0
        capsys.readouterr()
        assert site.run("audit") == 0
    assert cli.main(["media", "list", *plan]) == 0
    listed = capsys.readouterr().out
    assert "not made yet" in listed
    assert date_text(NOW) in listed
    assert cli.main(["media", "which", *plan]) == 0
    tomorrow = WEEKDAYS[(NOW.weekday() + 1) % 7].upper()
    assert f"tonight: {tomorrow}" in capsys.readouterr().out
    # The drive is on a shelf in the owner's home: that is as it should be.
    assert site.run("audit") == 0
    capsys.readouterr()


@pytest.mark.parametrize("plugged", ["nothing", "another"])
def test_without_the_right_medium_the_run_says_so_and_nothing_is_written(
    drives: Site, plugged: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site = drives
    place = site.root / "media" / "usb"
    with ext4(place, 64):
        assert cli.main(["media", "init", str(place), "--label", OTHER, "--plan", str(site.plan)]) == 0
        if plugged == "another":
            assert site.run("backup") == 1
            assert list(place.rglob("*.age")) == []
    if plugged == "nothing":
        assert site.run("backup") == 1
        assert list(place.iterdir()) == []
    assert "MISSED" in site.report()
    assert TODAY.upper() in site.report()
    assert len(site.archives("nas")) == 1


def test_the_right_medium_plugged_in_later_gets_it_by_a_retry(drives: Site) -> None:
    site = drives
    assert site.run("backup") == 1
    place: Path = site.root / "media" / "usb"
    with ext4(place, 64):
        assert (
            cli.main(["media", "init", str(place), "--label", TODAY.upper(), "--plan", str(site.plan)]) == 0
        )
        assert site.run("retry") == 0
        assert len(list(place.rglob("*.tar.zst.age"))) == 1
    assert len(site.archives("nas")) == 1


def test_a_day_without_a_medium_is_not_due(drives: Site) -> None:
    site = drives
    day = (NOW + timedelta(days=0)).date().isoformat()
    office = [
        {"name": "nas", "kind": "folder", "path": "nas"},
        {
            "name": "drives",
            "kind": "drive",
            "calendar": {**CALENDAR, "holidays": [day]},
            "mounts": [f"{site.root}/media/*"],
        },
    ]
    site.change_plan(targets=office)
    assert site.run("backup") == 0
    assert "Not due" in site.report()
