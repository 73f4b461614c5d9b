"""The daily restart of SQL Anywhere: a stop that does not stop, a start that does not start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import SourceError
from tests.contract.sqlanywhere_office import installed, office
from tests.standins.sqlanywhere.install import StandIn
from tests.standins.sqlanywhere.production import SERVER, Production


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with installed(tmp_path_factory.mktemp("install") / "sqlanywhere17") as found:
        yield found


@pytest.fixture
def production(standin: StandIn, tmp_path: Path) -> Iterator[Production]:
    with standin.production(tmp_path / "data", rows=10) as running:
        yield running
    standin.clear_faults()


@pytest.fixture
def commands(standin: StandIn, production: Production, tmp_path: Path) -> dict[str, Any]:
    """What a practice's plan would say: a script each, since arguments can be read by everyone."""
    stop, start = tmp_path / "stop", tmp_path / "start"
    stop.write_text(
        f"#!/bin/sh\nSQLCONNECT='{production.string('dba')}' exec {standin.program('dbstop')} -y {SERVER}\n"
    )
    start.write_text(
        f"#!/bin/sh\nexec {standin.program('dbspawn')} -f {standin.program('dbsrv')} -n {SERVER} "
        f"{production.database} -n {production.name}\n"
    )
    for script in (stop, start):
        script.chmod(0o700)
    return {"stop": [str(stop)], "start": [str(start)], "seconds": 20}


def test_the_engine_is_another_one_afterwards(
    standin: StandIn, production: Production, commands: dict[str, Any]
) -> None:
    before = production.pid
    office(standin, restart=commands).restart()
    assert production.running
    assert production.pid != before
    assert production.execute("SELECT COUNT(*) FROM DBA.patients") == [[3]]


def test_one_that_was_down_is_started(
    standin: StandIn, production: Production, commands: dict[str, Any]
) -> None:
    production.stop()
    office(standin, restart=commands).restart()
    assert production.running


def test_a_stop_that_does_not_stop_leaves_it_running(
    standin: StandIn, production: Production, commands: dict[str, Any]
) -> None:
    before = production.pid
    with pytest.raises(SourceError, match="still runs after the stop command") as caught:
        office(standin, restart={**commands, "stop": ["false"], "seconds": 0.5}).restart()
    assert "left running" in caught.value.hint
    assert "false ended with code 1" in caught.value.message
    assert production.running
    assert production.pid == before


@pytest.mark.parametrize("start", [["no-such-program-at-all"], ["sleep", "60"]])
def test_a_start_that_fails_is_an_alarm(
    start: list[str], standin: StandIn, production: Production, commands: dict[str, Any]
) -> None:
    with pytest.raises(SourceError, match="did not come up again") as caught:
        office(standin, restart={**commands, "start": start, "seconds": 2.0}).restart()
    assert "DOWN" in caught.value.hint
    assert "NOW" in caught.value.hint
    assert not production.running


def test_a_start_that_fails_once_is_tried_again(
    standin: StandIn, production: Production, commands: dict[str, Any]
) -> None:
    standin.fault("dbsrv", exit=16, times=1)
    office(standin, restart={**commands, "seconds": 3.0}).restart()
    assert standin.fired("dbsrv")
    assert production.running


def test_a_database_that_does_not_come_up_with_its_engine(
    standin: StandIn, production: Production, commands: dict[str, Any], tmp_path: Path
) -> None:
    other = tmp_path / "start_other"
    other.write_text(
        f"#!/bin/sh\nexec {standin.program('dbspawn')} -f {standin.program('dbsrv')} -n {SERVER} "
        f"{production.database} -n another_name\n"
    )
    other.chmod(0o700)
    with pytest.raises(SourceError, match="the database is not running"):
        office(standin, restart={**commands, "start": [str(other)], "seconds": 1.0}).restart()
