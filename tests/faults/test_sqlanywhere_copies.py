"""Spoiled copies of SQL Anywhere, and that checking one touches neither it nor the practice's database.

Each fault is looked for twice: by the sizes and digests that the copy itself records, and, with that record
made to agree with the damage, by the engine alone.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.errors import ValidationError
from tasks.records import Finding
from tasks.sources.shared.folders import copied_files
from tasks.sources.sqlanywhere.copy import RECORD, CopyRecord
from tests.contract.source_contract import fresh, snapshot
from tests.contract.sqlanywhere_office import database_of, installed, number, office
from tests.standins.sqlanywhere.install import StandIn
from tests.standins.sqlanywhere.production import Production, damage_row

OWN_RECORD = "files as recorded"


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with installed(tmp_path_factory.mktemp("install") / "sqlanywhere17") as found:
        yield found


@pytest.fixture(scope="module")
def production(standin: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    with standin.production(tmp_path_factory.mktemp("data"), rows=500) as running:
        yield running


@pytest.fixture(scope="module")
def whole(standin: StandIn, production: Production, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that nothing is wrong with, made once."""
    folder = fresh(tmp_path_factory.mktemp("whole") / "copy")
    office(standin).copy_live(folder)
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "copy")
    return tmp_path / "copy"


def record_anew(copy: Path) -> None:
    """Make the copy's own record agree with what lies there now."""
    note = CopyRecord.model_validate_json((copy / RECORD).read_bytes())
    files = copied_files(copy / "database")
    (copy / RECORD).write_text(note.model_copy(update={"files": files}).model_dump_json())


def failed(standin: StandIn, copy: Path, scratch: Path) -> list[Finding]:
    found = office(standin).validate(copy, fresh(scratch))
    return [finding for finding in found if not finding.passed]


def cut_short(copy: Path) -> None:
    os.truncate(database_of(copy), database_of(copy).stat().st_size // 2)


def emptied(copy: Path) -> None:
    os.truncate(database_of(copy), 0)


def no_database(copy: Path) -> None:
    database_of(copy).write_bytes(b"not a database at all" * 1000)


def log_of_another_time(copy: Path) -> None:
    """The log of the same database, opened meanwhile: its end is no longer where the copy's pages are."""
    log = copy / "database" / "sosdata.log"
    data = bytearray(log.read_bytes())
    facts = json.loads(bytes(data[:4096]).rstrip(b"\0"))
    header = json.dumps({**facts, "start": facts["start"] + 10_000}).encode().ljust(4096, b"\0")
    log.write_bytes(header + bytes(data[4096:]))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "three bytes of a row": (lambda copy: damage_row(database_of(copy)), "pages and checksums (dbvalid -d)"),
    "cut in half": (cut_short, "engine opens a clone"),
    "emptied": (emptied, "engine opens a clone"),
    "no database": (no_database, "engine opens a clone"),
    "log missing": (lambda copy: (copy / "database" / "sosdata.log").unlink(), "engine opens a clone"),
    "log of another time": (log_of_another_time, "engine opens a clone"),
    "dbspace missing": (lambda copy: (copy / "database" / "documents.db").unlink(), "engine opens a clone"),
    "database missing": (lambda copy: database_of(copy).unlink(), "engine opens a clone"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_spoiled_copy_is_found_out(what: str, standin: StandIn, copy: Path, tmp_path: Path) -> None:
    damage, engine_check = DAMAGE[what]
    damage(copy)
    checks = [finding.check for finding in failed(standin, copy, tmp_path / "v1")]
    assert checks == [OWN_RECORD, engine_check]
    record_anew(copy)
    alone = failed(standin, copy, tmp_path / "v2")
    assert [finding.check for finding in alone] == [engine_check]
    print(f"{what}: caught by {OWN_RECORD}, and by {engine_check}: {alone[0].detail}")
    assert "\n" not in alone[0].detail
    assert standin.servers() == ["SOSSERVER"]


def test_dbvalid_says_no_by_its_code_alone(standin: StandIn, copy: Path, tmp_path: Path) -> None:
    standin.fault("dbvalid", exit_late=17)
    try:
        found = failed(standin, copy, tmp_path / "v")
        assert standin.fired("dbvalid")
    finally:
        standin.clear_faults()
    assert [finding.check.split(" (")[0] for finding in found] == [
        "tables and indexes",
        "pages and checksums",
    ]
    assert all("dbvalid ended with code 17" in finding.detail for finding in found)


def test_a_file_that_was_not_copied_does_not_belong(standin: StandIn, copy: Path, tmp_path: Path) -> None:
    (copy / "database" / "stray.db").write_bytes(b"x")
    found = failed(standin, copy, tmp_path / "v")
    assert found[0].detail == "stray.db was not in the copy"


@pytest.mark.parametrize("name", ["../outside.db", r"..\outside.db", "/etc/passwd", ""])
def test_a_note_that_leads_out_of_the_copy(name: str, standin: StandIn, copy: Path, tmp_path: Path) -> None:
    note = json.loads((copy / RECORD).read_text())
    (copy / RECORD).write_text(json.dumps({**note, "database": name}))
    assert [finding.check for finding in failed(standin, copy, tmp_path / "v")] == ["copy"]
    with pytest.raises(ValidationError), office(standin).open(copy, fresh(tmp_path / "o")):
        pass


def test_a_copy_of_a_newer_engine(standin: StandIn, copy: Path, tmp_path: Path) -> None:
    note = json.loads((copy / RECORD).read_text())
    (copy / RECORD).write_text(json.dumps({**note, "major": 18}))
    found = failed(standin, copy, tmp_path / "v")
    assert [finding.check for finding in found] == ["engine"]
    assert "SQL Anywhere 18" in found[0].detail


def test_an_account_that_may_read_but_not_validate(standin: StandIn, copy: Path, tmp_path: Path) -> None:
    found = [f for f in office(standin, "READER").validate(copy, fresh(tmp_path / "v")) if not f.passed]
    assert {"code 20" in finding.detail for finding in found} == {True}
    assert len(found) == 2


def test_an_account_that_may_validate_but_not_read(standin: StandIn, copy: Path, tmp_path: Path) -> None:
    """Not to be taken for damage: the message says whose right is missing."""
    source = office(standin, "VALIDATOR")
    assert all(finding.passed for finding in source.validate(copy, fresh(tmp_path / "v")))
    with (
        pytest.raises(ValidationError, match="may not read table DBA") as caught,
        source.open(copy, tmp_path / "v"),
    ):
        pass
    assert "read_user" in caught.value.hint
    assert standin.servers() == ["SOSSERVER"]


def test_an_account_that_the_copy_does_not_know(standin: StandIn, copy: Path, tmp_path: Path) -> None:
    source = office(standin, password="env:SQLANYWHERE_TEST_NOBODY")
    found = [finding for finding in source.validate(copy, fresh(tmp_path / "v")) if not finding.passed]
    assert "does not let CHECKER in" in found[0].detail
    assert standin.servers() == ["SOSSERVER"]


def test_checking_that_alters_the_copy_is_found_out(standin: StandIn, copy: Path, tmp_path: Path) -> None:
    """A dbvalid that writes into the copy beside the clone."""
    program = standin.program("dbvalid")
    original = program.read_text()
    program.write_text(f"#!/bin/sh\nprintf x >>'{database_of(copy)}'\n" + original.split("\n", 1)[1])
    try:
        found = failed(standin, copy, tmp_path / "v")
    finally:
        program.write_text(original)
    assert [finding.check for finding in found] == ["copy left alone"]
    assert "sosdata.db" in found[0].detail


def test_scratch_never_comes_near_production(
    standin: StandIn, production: Production, copy: Path, tmp_path: Path
) -> None:
    """Beside the running server, on its machine, with a copy that remembers the live log and dbspace."""
    remembered = database_of(copy).read_bytes()
    assert str(production.log).encode() in remembered
    assert str(production.dbspace).encode() in remembered
    before, seen = snapshot(production.folder), len(standin.events())
    source, scratch = office(standin), fresh(tmp_path / "v")
    assert all(finding.passed for finding in source.validate(copy, scratch))
    with source.open(copy, scratch) as connection:
        assert number(connection, "SELECT COUNT(*) FROM patients") == 3
        assert len(standin.servers()) == 2
    assert snapshot(production.folder) == before

    events = standin.events()[seen:]
    started = [event for event in events if event["event"] == "start"]
    assert len(started) == 2
    assert len({event["server"] for event in started}) == 2
    assert all(event["server"].startswith("ds_") and event["port"] is None for event in started)
    for event in (event for event in events if event["event"] == "load"):
        assert all(
            Path(path).is_relative_to(scratch) for path in (event["path"], event["log"], *event["spaces"])
        )
    connected = [event for event in events if event["event"] == "connect"]
    assert connected
    assert {event["server"] for event in connected} == {event["server"] for event in started}
    assert not [event for event in events if event["event"] == "autostart"]
    assert not [event for event in connected if event.get("dbf")]
    assert not [
        event for event in events if any("DBF" in word.upper() for word in event.get("arguments", ()))
    ]
    assert standin.servers() == ["SOSSERVER"]


def test_without_ds_it_would(standin: StandIn, copy: Path, tmp_path: Path) -> None:
    """The hazard is real: the same start without -ds goes for the live log, which is in use."""
    clone = shutil.copytree(copy / "database", tmp_path / "clone")
    started = standin.run(
        "dbspawn", "-f", standin.program("dbeng"), "-n", "careless", "-x", "none", clone / "sosdata.db"
    )
    standin.run("dbstop", "-y", "careless")
    loaded = standin.events("load", server="careless")
    assert started.returncode != 0 or not Path(loaded[-1]["log"]).is_relative_to(tmp_path)


def test_an_engine_is_gone_when_reading_fails(standin: StandIn, copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), office(standin).open(copy, fresh(tmp_path / "o")):
        assert len(standin.servers()) == 2
        raise ZeroDivisionError
    assert standin.servers() == ["SOSSERVER"]


def test_an_engine_that_does_not_stop_is_ended(
    standin: StandIn, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.sources.sqlanywhere import scratch as sqlanywhere_scratch

    monkeypatch.setattr(sqlanywhere_scratch, "STOP_SECONDS", 0.5)
    standin.fault("dbstop", exit=20)
    try:
        with office(standin).open(copy, fresh(tmp_path / "o")):
            pass
        assert standin.fired("dbstop")
    finally:
        standin.clear_faults()
    assert standin.servers() == ["SOSSERVER"]


def test_no_program_on_the_machine(standin: StandIn, copy: Path, tmp_path: Path) -> None:
    source = office(standin, install=tmp_path / "nothing")
    found = [finding for finding in source.validate(copy, fresh(tmp_path / "v")) if not finding.passed]
    assert [finding.check for finding in found] == ["engine"]
    assert "Install" in found[0].detail
    with pytest.raises(ValidationError, match="not on this machine"), source.open(copy, tmp_path / "v"):
        pass
