"""Log backups of SQL Anywhere: a chain by offset, applied without a gap or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.errors import CopyError, SourceError
from tasks.sources.sqlanywhere.source import SqlanywhereSource
from tests.contract.source_contract import fresh, snapshot
from tests.contract.sqlanywhere_office import installed, number, office, started
from tests.standins.sqlanywhere.install import StandIn
from tests.standins.sqlanywhere.production import Production

PATIENTS = "SELECT COUNT(*) FROM patients"


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with installed(tmp_path_factory.mktemp("install") / "sqlanywhere17") as found:
        yield found


@pytest.fixture
def production(standin: StandIn, tmp_path: Path) -> Iterator[Production]:
    with standin.production(tmp_path / "data", rows=20) as running:
        yield running
    standin.clear_faults()


def source_of(standin: StandIn, tmp_path: Path) -> SqlanywhereSource:
    return office(standin, log_folder=str(tmp_path / "logs"))


def add_patient(production: Production, number: int) -> None:
    production.execute("INSERT INTO DBA.patients VALUES (?, 'New', NULL)", number)


def make_chain(standin: StandIn, production: Production, folder: Path) -> Path:
    """A full copy with 3 patients in ``full``, then two log backups with one more patient each."""
    source = source_of(standin, folder)
    source.copy_live(fresh(folder / "full"))
    for patient in (4, 5):
        add_patient(production, patient)
        source.back_up_log()
    return folder


@pytest.fixture
def chain(standin: StandIn, production: Production, tmp_path: Path) -> Path:
    """A chain that goes on: its server runs."""
    return make_chain(standin, production, tmp_path)


@pytest.fixture(scope="module")
def made(standin: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    with standin.production(tmp_path_factory.mktemp("data"), rows=20) as production:
        return make_chain(standin, production, folder)


@pytest.fixture
def ended(made: Path, tmp_path: Path) -> Path:
    """A chain whose server is gone."""
    for name in ("full", "logs"):
        shutil.copytree(made / name, tmp_path / name)
    return tmp_path


def test_a_copy_is_rolled_forward_through_the_chain(standin: StandIn, ended: Path) -> None:
    logs = sorted((ended / "logs").iterdir())
    assert len(logs) == 2
    # By offset: what a careless copy did to the dates does not matter.
    os.utime(logs[0], (2e9, 2e9))
    os.utime(logs[1], (1e9, 1e9))
    before = snapshot(ended / "full")
    restored = source_of(standin, ended).roll_forward(ended / "full", ended / "logs", ended / "place")
    with started(standin, restored) as connection:
        assert number(connection, PATIENTS) == 5
    assert snapshot(ended / "full") == before
    applied = {path.name for path in (ended / "place" / "applied-logs").iterdir()}
    assert applied == {log.name for log in logs}
    # The first of them is a later state of the copy's own log, which is kept.
    assert (ended / "place" / "own-log" / "sosdata.log").is_file()


def test_a_chain_that_begins_where_the_own_log_ends(
    standin: StandIn, production: Production, chain: Path
) -> None:
    """A full copy whose log was renamed by the same dbbackup: both are applied."""
    source, first = source_of(standin, chain), sorted((chain / "logs").iterdir())[-1]
    source.copy_live(fresh(chain / "second"))
    add_patient(production, 6)
    source.back_up_log()
    add_patient(production, 7)
    source.back_up_log()
    own = chain / "second" / "database" / "sosdata.log"
    logs = fresh(chain / "later")
    second, third = sorted((chain / "logs").iterdir())[-2:]
    shutil.copyfile(third, logs / third.name)
    shutil.copyfile(second, own)
    restored = source.roll_forward(chain / "second", logs, chain / "place")
    assert {path.name for path in (chain / "place" / "applied-logs").iterdir()} == {"sosdata.log", third.name}
    with started(standin, restored) as connection:
        assert number(connection, PATIENTS) == 7
    assert first.is_file()


def test_without_later_logs_it_is_the_copy(standin: StandIn, ended: Path) -> None:
    restored = source_of(standin, ended).roll_forward(ended / "full", fresh(ended / "none"), ended / "place")
    with started(standin, restored) as connection:
        assert number(connection, PATIENTS) == 3


def test_checking_a_copy_does_not_spoil_it_for_later_logs(standin: StandIn, ended: Path) -> None:
    source, scratch = source_of(standin, ended), fresh(ended / "v")
    assert all(finding.passed for finding in source.validate(ended / "full", scratch))
    with source.open(ended / "full", scratch):
        pass
    assert source.roll_forward(ended / "full", ended / "logs", ended / "place").is_file()


def test_a_copy_that_was_started_no_longer_takes_them(standin: StandIn, ended: Path) -> None:
    """Why copies are cloned: the hazard is real."""
    with started(standin, ended / "full" / "database" / "sosdata.db"):
        pass
    with pytest.raises(SourceError, match="code 15"):
        source_of(standin, ended).roll_forward(ended / "full", ended / "logs", ended / "place")


def test_a_missing_log_is_a_gap(standin: StandIn, ended: Path) -> None:
    sorted((ended / "logs").iterdir())[0].unlink()
    with pytest.raises(SourceError, match="gap") as caught:
        source_of(standin, ended).roll_forward(ended / "full", ended / "logs", ended / "place")
    assert caught.value.hint


def test_a_log_of_another_database_is_refused_by_the_engine(standin: StandIn, ended: Path) -> None:
    newest = sorted((ended / "logs").iterdir())[-1]
    data = newest.read_bytes()
    newest.write_bytes(data[:4096].replace(b'"id": "', b'"id": "x') + data[4096:])
    with pytest.raises(SourceError, match="code 15"):
        source_of(standin, ended).roll_forward(ended / "full", ended / "logs", ended / "place")


def test_someone_else_renamed_the_log(standin: StandIn, production: Production, chain: Path) -> None:
    other = standin.run(
        "dbbackup", "-y", "-t", "-r", fresh(chain / "other"), sqlconnect=production.string("BU_BILL")
    )
    assert other.returncode == 0
    add_patient(production, 6)
    with pytest.raises(CopyError, match="the one before ended at") as caught:
        source_of(standin, chain).back_up_log()
    assert "full backup" in caught.value.hint
    assert caught.value.permanent
    # What was backed up is kept: it begins another chain.
    assert len(list((chain / "logs").glob("*.log"))) == 3
    add_patient(production, 7)
    source_of(standin, chain).back_up_log()


def test_the_live_log_is_renamed_and_never_deleted(
    standin: StandIn, production: Production, chain: Path
) -> None:
    kept = [path for path in production.folder.glob("*.log") if path != production.log]
    assert len(kept) == 2
    used = [event["arguments"] for event in standin.events("call", program="dbbackup")]
    assert not [words for words in used if {"-x", "-xo"} & set(words)]
    assert {"-t", "-r", "-n"} <= set(used[-1])


def test_a_log_backup_that_fails_leaves_nothing(standin: StandIn, chain: Path) -> None:
    before = snapshot(chain / "logs")
    for count, fault in enumerate(({"exit": 3}, {"empty": True}, {"exit_late": 17}), 1):
        fired = standin.fired("dbbackup")
        standin.fault("dbbackup", **fault)
        with pytest.raises(CopyError):
            source_of(standin, chain).back_up_log()
        assert standin.fired("dbbackup") == fired + 1, count
        assert snapshot(chain / "logs") == before
        assert {path.suffix for path in (chain / "logs").iterdir()} == {".log"}


def test_a_log_that_dblog_cannot_read(standin: StandIn, ended: Path) -> None:
    stray = ended / "logs" / "stray.log"
    shutil.copyfile(ended / "full" / "database" / "sosdata.db", stray)
    with pytest.raises(SourceError, match=r"cannot read the log stray\.log"):
        source_of(standin, ended).roll_forward(ended / "full", ended / "logs", ended / "place")
