"""What goes wrong while SQL Anywhere's own programs copy a database; each fault is shown to have fired."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import CopyError, ProgramError, SourceError, SourceMissing
from tasks.platform import mounts as platform_mounts
from tasks.sources.sqlanywhere import copy as sqlanywhere_copy
from tasks.sources.sqlanywhere.connection import Address, Client, Login
from tasks.sources.sqlanywhere.copy import back_up
from tasks.sources.sqlanywhere.errors import FAULTS
from tasks.sources.sqlanywhere.programs import find_install
from tests.contract.source_contract import fresh, snapshot
from tests.contract.sqlanywhere_office import database_of, installed, office
from tests.standins.sqlanywhere.install import StandIn
from tests.standins.sqlanywhere.production import NAME, PASSWORDS, SERVER, Production


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with installed(tmp_path_factory.mktemp("install") / "sqlanywhere17") as found:
        yield found


@pytest.fixture(scope="module")
def production(machine: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    with machine.production(tmp_path_factory.mktemp("data"), rows=500) as running:
        yield running


@pytest.fixture
def standin(machine: StandIn, production: Production) -> Iterator[StandIn]:
    yield machine
    machine.clear_faults()
    if not production.running:
        production.start()


def refused(standin: StandIn, tmp_path: Path, **fault: Any) -> CopyError | SourceError:
    """The error of a copy with a fault of dbbackup, which fired; nothing of the copy stays behind."""
    standin.fault("dbbackup", **fault)
    before, copy = standin.fired("dbbackup"), tmp_path / "copy"
    copy.mkdir(mode=0o700, exist_ok=True)
    with pytest.raises(SourceError) as caught:
        office(standin).copy_live(copy)
    assert standin.fired("dbbackup") == before + 1
    assert snapshot(copy) == {}
    assert "\n" not in caught.value.message
    return caught.value


def test_every_exit_code_has_its_own_message(standin: StandIn, tmp_path: Path) -> None:
    install = find_install(standin.folder, 17)
    client = Client(install, Address(17, server=SERVER, database=NAME), Login("BU_BILL", "x"))
    told = {}
    for code in (*FAULTS, 77, 139):
        standin.fault("dbbackup", exit=code, message="row 7: 'Müller, Ada'")
        with pytest.raises(SourceError) as caught:
            back_up(client, tmp_path / str(code), lambda: None)
        assert standin.events("exit", program="dbbackup")[-1]["code"] == code
        assert isinstance(caught.value, SourceMissing if code in (10, 11) else CopyError)
        assert caught.value.hint
        assert "Ada" not in str(caught.value)
        told[code] = caught.value.message
        print(f"{code}: {caught.value}")
    assert len(set(told.values())) == len(FAULTS) + 2


def test_everything_written_but_another_code_than_0(standin: StandIn, tmp_path: Path) -> None:
    error = refused(standin, tmp_path, exit_late=1)
    assert "general failure" in error.message


def test_the_engine_goes_away_in_the_middle(standin: StandIn, tmp_path: Path) -> None:
    error = refused(standin, tmp_path, die_after=2)
    assert "communication" in error.message
    assert not error.permanent


def test_the_disk_fills_up(standin: StandIn, tmp_path: Path) -> None:
    error = refused(standin, tmp_path, full_after=300_000)
    assert "code 3" in error.message
    assert "space" in error.hint


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ({"empty": True}, "every file is empty or missing"),
        ({"skip": ["sosdata.db"]}, "no database file"),
        ({"skip": ["sosdata.log"]}, "no transaction log"),
    ],
)
def test_success_without_the_files(
    fault: dict[str, Any], cause: str, standin: StandIn, tmp_path: Path
) -> None:
    assert cause in refused(standin, tmp_path, **fault).message


def test_success_without_a_dbspace_does_not_pass(standin: StandIn, tmp_path: Path) -> None:
    """dbbackup's own list is not known here; the engine misses it in the clone."""
    standin.fault("dbbackup", skip=["documents.db"])
    source, copy = office(standin), fresh(tmp_path / "copy")
    source.copy_live(copy)
    assert standin.fired("dbbackup")
    failed = [finding for finding in source.validate(copy, fresh(tmp_path / "v")) if not finding.passed]
    assert [finding.check for finding in failed] == ["engine opens a clone"]
    print(f"missing dbspace, caught by {failed[0].check}: {failed[0].detail}")


def test_damage_on_the_way_does_not_pass(standin: StandIn, tmp_path: Path) -> None:
    standin.fault("dbbackup", spoil=["sosdata.db"])
    source, copy = office(standin), fresh(tmp_path / "copy")
    source.copy_live(copy)
    failed = [finding for finding in source.validate(copy, fresh(tmp_path / "v")) if not finding.passed]
    assert [finding.check for finding in failed] == ["pages and checksums (dbvalid -d)"]
    print(f"3 bytes damaged while copying, caught by {failed[0].check}: {failed[0].detail}")


def test_a_hanging_dbbackup_is_ended(
    standin: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlanywhere_copy, "LONGEST_HOURS", 0.5 / 3600)
    standin.fault("dbbackup", hang=True)
    copy = fresh(tmp_path / "copy")
    with pytest.raises(ProgramError, match="dbbackup did not end"):
        office(standin).copy_live(copy)
    call = standin.events("call", program="dbbackup")[-1]
    assert not Path("/proc", str(call["pid"])).exists()
    assert snapshot(copy) == {}


def test_a_power_cut_of_the_server(standin: StandIn, production: Production, tmp_path: Path) -> None:
    standin.fault("dbbackup", pause=0.1)
    copy = fresh(tmp_path / "copy")
    killer = threading.Timer(0.0, production.kill)
    copied: list[int] = []

    def progress(done: int, _total: int) -> None:
        copied.append(done)
        if done and not killer.ident:
            killer.start()

    with pytest.raises(SourceError, match="communication") as caught:
        office(standin).copy_live(copy, progress)
    killer.join()
    assert max(copied) > 0
    assert not caught.value.permanent
    assert snapshot(copy) == {}
    with pytest.raises(SourceMissing):
        office(standin).check()
    standin.clear_faults()
    production.start()
    office(standin).copy_live(copy)


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"password": "env:SQLANYWHERE_TEST_NOBODY"}, "connection was refused"),
        ({"database_name": "other"}, "database is not running"),
        ({"server": "other"}, "engine was not found"),
        ({"server": None, "database_name": None, "dsn": "NO_SUCH_DSN"}, "connection was refused"),
    ],
)
def test_wrong_names_and_passwords(options: dict[str, Any], cause: str, standin: StandIn) -> None:
    with pytest.raises(SourceError, match=cause) as caught:
        office(standin, **options).check()
    assert caught.value.hint
    assert PASSWORDS["NOBODY"] not in str(caught.value)


def test_an_account_that_may_not_back_up(standin: StandIn, tmp_path: Path) -> None:
    with pytest.raises(CopyError, match="code 20") as caught:
        office(standin, "READER").copy_live(fresh(tmp_path / "copy"))
    assert "--grants" in caught.value.hint
    assert caught.value.permanent


def test_onto_the_network(standin: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk that tests run on, declared a network one: dbbackup isn't even started."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    every = {line.partition(" - ")[2].split(" ")[0] for line in mounts}
    monkeypatch.setattr(platform_mounts, "NETWORK_SYSTEMS", frozenset(every))
    calls = len(standin.events("call"))
    with pytest.raises(SourceError, match="on the network"):
        office(standin).copy_live(fresh(tmp_path / "copy"))
    assert len(standin.events("call")) == calls


def test_a_database_on_another_computer(standin: StandIn, production: Production, tmp_path: Path) -> None:
    """An engine that answers on the network, but not over the shared memory of this machine."""
    with installed(tmp_path / "workstation") as workstation:
        away = office(workstation, host=f"localhost:{production.port}")
        with pytest.raises(SourceError, match="another computer"):
            away.check()
        with pytest.raises(SourceError, match="another computer"):
            away.copy_live(fresh(tmp_path / "copy"))
        assert not workstation.events("call", program="dbbackup")
    here = office(standin, host=f"localhost:{production.port}")
    assert here.check().bytes


def test_programs_of_the_path_are_never_used(
    standin: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version's tools come first in the PATH, and would end with success."""
    decoys = fresh(tmp_path / "decoys")
    for name in ("dbbackup", "dbvalid", "dbping", "dbstop", "dblog", "dbeng17"):
        (decoys / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{decoys}/used\n')
        (decoys / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{decoys}{os.pathsep}{os.environ['PATH']}")
    source, copy = office(standin), fresh(tmp_path / "copy")
    source.copy_live(copy)
    assert all(finding.passed for finding in source.validate(copy, fresh(tmp_path / "v")))
    assert not (decoys / "used").exists()


def test_no_secret_in_any_argument(standin: StandIn, tmp_path: Path) -> None:
    source, copy, scratch = office(standin, "CHECKER"), fresh(tmp_path / "copy"), fresh(tmp_path / "v")
    before = len(standin.events("call"))
    source.check()
    source.copy_live(copy)
    source.validate(copy, scratch)
    with source.open(copy, scratch):
        pass
    calls = standin.events("call")[before:]
    assert {call["program"] for call in calls} == {"dbping", "dbbackup", "dbvalid", "dbstop", "dbeng17"}
    for call in calls:
        assert not [
            word for word in call["arguments"] if PASSWORDS["CHECKER"] in word or "PWD" in word.upper()
        ]
    assert all("SQLCONNECT" in call["environment"] for call in calls if call["program"] == "dbbackup")
    assert not [
        call for call in calls if "SQLCONNECT" in call["environment"] and call["program"] == "dbeng17"
    ]


@pytest.mark.parametrize("version", [11, 16])
def test_older_versions(version: int, tmp_path: Path) -> None:
    with installed(tmp_path / "old", version) as old, old.production(tmp_path / "data", rows=50):
        source, copy, scratch = office(old), fresh(tmp_path / "copy"), fresh(tmp_path / "v")
        assert source.check().version.startswith(str(version))
        source.copy_live(copy)
        assert all(finding.passed for finding in source.validate(copy, scratch))
        with source.open(copy, scratch) as connection:
            assert "DBA.patients" in [table.name for table in source.tables(connection)]
        assert database_of(copy).is_file()
