"""Targets that are not due are left out, and said to be; which are due is decided once in a run."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from tasks.backup import due_targets
from tests.flows.site import Site

pytestmark = pytest.mark.slow

WEEKDAY = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
TODAY = datetime.now(UTC).date()


def targets(**when: object) -> list[dict[str, object]]:
    return [
        {"name": name, "kind": "folder", "path": name, **({"when": rule} if rule else {})}
        for name, rule in when.items()
    ]


def named(site: Site, target: str) -> list[int]:
    return [manifest["sequence"] for manifest in site.manifests(target)]


def test_a_weekly_target_gets_one_a_week(
    running_site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = running_site
    site.change_plan(targets=targets(nas=None, cellar={"weekly": WEEKDAY[TODAY.weekday()]}))
    assert site.run("backup") == 0
    assert (named(site, "nas"), named(site, "cellar")) == ([1], [1])
    capsys.readouterr()
    assert site.run("backup") == 0
    assert "proven at nas" in capsys.readouterr().out
    assert (named(site, "nas"), named(site, "cellar")) == ([1, 2], [1])
    page = site.report()
    assert "Not due" in page
    assert "due again on" in page
    # Asked for by name it is delivered to, due or not.
    assert site.run("backup", "--target", "cellar") == 0
    assert (named(site, "nas"), named(site, "cellar")) == ([1, 2], [1, 3])

    monkeypatch.setattr(due_targets, "day_of", lambda *_: TODAY + timedelta(days=8))
    monkeypatch.setattr("tasks.backup.preflight.day_of", lambda *_: TODAY + timedelta(days=8))
    capsys.readouterr()
    assert site.run("backup") == 0
    assert named(site, "cellar") == [1, 3, 4], "a week later it is due again, on its day or catching up"


def test_what_was_due_stays_so_in_a_retry(
    running_site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = running_site
    site.change_plan(targets=targets(nas=None, cellar={"weekly": WEEKDAY[TODAY.weekday()]}))
    (site.root / "cellar").rename(site.root / "away")
    assert site.run("backup") == 1
    (site.root / "away").rename(site.root / "cellar")
    # Were it asked again, nothing would be due: a delivery of today is on record by now.
    monkeypatch.setattr("tasks.backup.preflight.not_due", lambda *_: {"nas": "-", "cellar": "-"})
    assert site.run("retry") == 0
    assert named(site, "cellar") == [1]


def test_nothing_due_is_no_failure(running_site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site = running_site
    site.change_plan(targets=targets(nas="daily"))
    assert site.run("backup") == 0
    capsys.readouterr()
    assert site.run("backup") == 0
    assert "none is due" in " ".join(capsys.readouterr().out.split())
    assert named(site, "nas") == [1]


def test_the_day_is_the_offices(site: Site) -> None:
    site.change_plan(schedule={"timezone": "Pacific/Auckland"})
    assert due_targets.day_of(site.context, datetime(2026, 11, 23, 13, tzinfo=UTC)) == date(2026, 11, 24)
