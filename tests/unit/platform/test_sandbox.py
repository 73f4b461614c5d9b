"""What is said, and done, where a machine has no sandbox."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tasks.backup.preflight import look, preflight
from tasks.context import PlanContext
from tasks.errors import StateError
from tasks.health.doctor import checkup
from tasks.platform import sandbox
from tasks.records import Finding
from tasks.recovery.drill import drill_backup
from tests.flows.site import Site


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that lacks one of the programs it takes."""
    monkeypatch.setattr(sandbox, "_TOOLS", (*sandbox._TOOLS, "no-such-program"))
    sandbox.missing.cache_clear()
    yield
    sandbox.missing.cache_clear()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site.make(tmp_path, ["nas"])
    with closing(sqlite3.connect(site.database)) as connection:
        connection.execute("CREATE TABLE visits (id INTEGER)")
    return site


def told(site: Site) -> Finding:
    return next(finding for finding in checkup(site.context) if finding.check == "sandbox")


STARTS: dict[str, Callable[[PlanContext], object]] = {
    "backup": lambda context: preflight(context, "folder"),
    "copy": lambda context: look(context, "folder"),
    "drill": lambda context: drill_backup(context, "nas", "latest", []),
}


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_s1_required_and_not_there_stops_a_run_before_it_copies(
    site: Site, start: Callable[[PlanContext], object]
) -> None:
    site.change_plan(sandbox="required")
    with pytest.raises(StateError, match=r"sandbox: required.*no-such-program") as refused:
        start(site.context)
    assert "util-linux" in refused.value.hint and "out of the plan" in refused.value.hint
    assert not told(site).passed


@pytest.mark.usefixtures("bare")
def test_without_the_word_the_run_goes_on_and_doctor_tells(site: Site) -> None:
    assert preflight(site.context, "folder").sequence
    finding = told(site)
    assert finding.passed and "no sandbox" in finding.detail and "util-linux" in finding.detail


@pytest.mark.skipif(not sandbox.available(), reason="this machine has no sandbox")
def test_where_there_is_one_required_is_met_and_doctor_tells_how_tight(site: Site) -> None:
    site.change_plan(sandbox="required")
    assert preflight(site.context, "folder").sequence
    assert told(site).passed and "network" in told(site).detail
