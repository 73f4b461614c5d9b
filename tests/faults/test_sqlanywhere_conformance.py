"""The conformance trials of SQL Anywhere can fail: what behaves otherwise is found out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.sources.sqlanywhere.check import ask
from tasks.sources.sqlanywhere.conformance import SCRATCH_TRIALS, TRIALS, Outcome, Site, beside_one_engine
from tasks.sources.sqlanywhere.connection import Address, Client, Login
from tasks.sources.sqlanywhere.programs import find_install
from tests.contract.source_contract import fresh
from tests.contract.sqlanywhere_office import installed, office
from tests.standins.sqlanywhere.install import StandIn
from tests.standins.sqlanywhere.production import NAME, PASSWORDS, SERVER, Production


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with installed(tmp_path_factory.mktemp("install") / "sqlanywhere17") as found:
        yield found


@pytest.fixture(scope="module")
def production(standin: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    with standin.production(tmp_path_factory.mktemp("data"), rows=500) as running:
        yield running


@pytest.fixture
def site(standin: StandIn, production: Production, tmp_path: Path) -> Iterator[Site]:
    install = find_install(standin.folder, 17, str(standin.driver))
    address, login = Address(17, server=SERVER, database=NAME), Login("CHECKER", PASSWORDS["CHECKER"])
    client = Client(install, address, login)
    yield Site(client, login, ask(client), fresh(tmp_path / "scratch"))
    standin.clear_faults()


TOOL_FAULTS: list[tuple[str, str, dict[str, Any]]] = [
    ("dbping -d: no such server is code 10 or 11", "dbping", {"map": {"11": 1}}),
    ("dbping -d: no such database is code 10", "dbping", {"map": {"10": 9}}),
    ("dbping -d: a refused login is code 9", "dbping", {"map": {"9": 0}}),
    ("dbping reaches the server by SQLCONNECT", "dbping", {"exit": 7}),
    ("dbbackup: no such server is code 10 or 11", "dbbackup", {"map": {"11": 9}}),
    ("dbbackup: a bad option is code 255", "dbbackup", {"map": {"255": 0}}),
    ("dbbackup -y makes the folder", "dbbackup", {"exit": 5}),
    ("dbbackup keeps the live names", "dbbackup", {"skip": ["sosdata.log"]}),
    ("dbbackup -t copies the log alone", "dbbackup", {"empty": True}),
    ("dblog tells a log's offsets", "dblog", {"message": "9999999999 8888888888"}),
    ("dbvalid -d finds damaged pages", "dbvalid", {"exit": 0}),
    ("a copy cannot be started read-only", "dbeng", {"exit": 0}),
    ("-ad applies a copy's own log and ends", "dbeng", {"exit": 15}),
]


@pytest.mark.parametrize(("name", "program", "fault"), TOOL_FAULTS, ids=[name for name, _, _ in TOOL_FAULTS])
def test_a_tool_that_behaves_otherwise(
    name: str, program: str, fault: dict[str, Any], standin: StandIn, site: Site
) -> None:
    trial = {**TRIALS, **SCRATCH_TRIALS}[name]
    before = standin.fired(program)
    standin.fault(program, **fault)
    assert not holds(site, trial)
    assert standin.fired(program) > before


WITHOUT_OPTION = """#!/usr/bin/env python3
import os, sys
words = sys.argv[1:]
while "{option}" in words:
    at = words.index("{option}")
    del words[at : at + {count}]
os.execv("{engine}", ["{engine}", *words])
"""


@pytest.fixture
def unreachable(standin: StandIn) -> Iterator[Callable[[str, int], None]]:
    """Exchanges the engine for one that does not hear an option: deaf(option, words it takes)."""
    engine = standin.program("dbeng")
    hearing = engine.rename(engine.with_name("hearing"))

    def exchange(option: str, count: int) -> None:
        engine.write_text(WITHOUT_OPTION.format(option=option, count=count, engine=hearing))
        engine.chmod(0o755)

    yield exchange
    engine.unlink(missing_ok=True)
    hearing.rename(engine)


def test_an_engine_that_ignores_ds(
    unreachable: Callable[[str, int], None], site: Site, standin: StandIn
) -> None:
    """The clone is made to remember a log in scratch, so that nothing of the practice is at stake."""
    trial = SCRATCH_TRIALS["-ds keeps from the log that the database remembers"]
    assert holds(site, trial)
    elsewhere = fresh(site.scratch / "again")
    again = Site(site.client, site.reader, site.facts, elsewhere)
    again.__dict__["copied"] = site.copied
    (elsewhere / "settled").mkdir(mode=0o700)
    (site.scratch / "settled" / "database").rename(elsewhere / "settled" / "database")
    unreachable("-ds", 2)
    assert not holds(again, trial)


def test_an_engine_that_opens_a_port(unreachable: Callable[[str, int], None], site: Site) -> None:
    unreachable("-x", 2)
    for name, trial in beside_one_engine(site):
        if name == "-x none opens no port":
            outcome = trial(site)
            assert not outcome[0]
            assert "it listens on" in outcome[1]
            break


def test_an_engine_that_does_not_alter_what_it_opens(site: Site, standin: StandIn) -> None:
    settled = fresh(site.scratch / "settled") / "database"
    settled.mkdir()
    for path in site.copied.iterdir():
        (settled / path.name).write_bytes(path.read_bytes())
    assert not holds(site, SCRATCH_TRIALS["a normal start alters a copy"])


@pytest.mark.slow
def test_without_an_engine_every_trial_is_told_as_failed(
    standin: StandIn, production: Production, tmp_path: Path
) -> None:
    standin.fault("dbeng", exit=18)
    try:
        findings = office(standin).conformance(fresh(tmp_path / "scratch"))
    finally:
        standin.clear_faults()
    failed = {finding.check: finding.detail for finding in findings if not finding.passed}
    assert "status 18" in failed["the catalogue lists tables and definitions"]
    assert len(failed) >= 7


def holds(site: Site, trial: Callable[[Site], Outcome]) -> bool:
    """Whether a trial finds its assumption to hold; one that cannot be tried does not."""
    from tasks.errors import DatasaveError

    try:
        return trial(site)[0]
    except DatasaveError:
        return False
