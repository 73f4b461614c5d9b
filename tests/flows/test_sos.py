"""A practice with SOS Office Manager: SQL Anywhere by its DSN, a user who may only back up, the programs.

From ``datasave init`` to a certificate, on the stand-in for SAP's programs, each command as a user types it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deployments.cli import app as cli
from tasks.backup.engine import restart
from tasks.backup.workspace import exclusively
from tasks.errors import BusyError
from tests.contract.sqlanywhere_office import VARIABLE, installed, number, started
from tests.flows.site import Site
from tests.standins.sqlanywhere.install import StandIn

pytestmark = pytest.mark.slow


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[StandIn]:
    with installed(tmp_path / "sqlanywhere17") as found:
        yield found


def recipient(said: str) -> str:
    [line] = [line for line in said.splitlines() if "Recipient" in line]
    return line.rpartition(" ")[2]


def test_from_init_to_a_certificate(
    standin: StandIn,
    tmp_path: Path,
    prefect_server: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert prefect_server
    monkeypatch.chdir(tmp_path)
    holders = []
    for name in ("Owner", "Bank safe"):
        assert cli.main(["keys", "new", "--holder", name]) == 0
        holders += ["--holder", f"{name}={recipient(capsys.readouterr().out)}"]
    programs = tmp_path / "SOS"
    (programs / "forms").mkdir(parents=True)
    (programs / "forms" / "letter.rtf").write_text("Dear patient")
    (programs / "DATA").mkdir()
    for name in ("sosdata.db", "sosdata.log"):
        (programs / "DATA" / name).write_bytes(b"\x01\x00 in use by the engine")
    (tmp_path / "nas").mkdir()
    options = {
        "dsn": "SOSDATA",
        "user": "BU_BILL",
        "password": f"env:{VARIABLE.format('BU_BILL')}",
        "read_user": "CHECKER",
        "read_password": f"env:{VARIABLE.format('CHECKER')}",
        "install": str(standin.folder),
        "driver": str(standin.driver),
    }
    given = [word for key, value in options.items() for word in ("--option", f"{key}={value}")]
    plan = ["--plan", "sos.yaml"]
    command = ["init", "sos.yaml", "--source", "sqlanywhere", "--name", "sos", *given, *holders]
    assert cli.main([*command, "--also", f"programs={programs}", "--target", "nas=nas"]) == 0
    assert "PASSword#1" not in Path("sos.yaml").read_text("utf-8")
    assert yaml.safe_load(Path("sos.yaml").read_text("utf-8"))["source"]["dsn"] == "SOSDATA"

    with standin.production(tmp_path / "engine"):
        assert cli.main(["target", "init", "nas", *plan]) == 0
        assert cli.main(["doctor", *plan]) == 0
        capsys.readouterr()
        assert cli.main(["doctor", "--grants", *plan]) == 0
        assert "SYS_AUTH_BACKUP_ROLE" in capsys.readouterr().out
        assert cli.main(["backup", *plan]) == 0
        assert "sos #1 with programs is backed up and proven at nas" in capsys.readouterr().out
        # The drill reaches no production: it is still running, and its files are what they were.
        assert cli.main(["drill", "--identity", "owner.key.txt", *plan]) == 0
    certificates = [json.loads(path.read_text()) for path in Path("nas").rglob("*.drill-*.json")]
    assert {c["source"]: c["passed"] for c in certificates} == {"sos": True, "sos.programs": True}
    assert {c["holder"] for c in certificates} == {"Owner"}

    key = ["--identity", "bank-safe.key.txt"]
    assert cli.main(["restore", *key, "--to", "back", *plan]) == 0
    with started(standin, tmp_path / "back" / "sosdata.db") as connection:
        assert number(connection, 'SELECT COUNT(*) FROM "DBA"."patients"') == 3
    assert cli.main(["restore", "--source", "programs", *key, "--to", "back2", *plan]) == 0
    assert (tmp_path / "back2" / "forms" / "letter.rtf").read_text() == "Dear patient"
    assert list((tmp_path / "back2").rglob("sosdata*")) == [], "a running database is never copied as files"


def options_of(standin: StandIn, user: str) -> dict[str, object]:
    return {
        "kind": "sqlanywhere",
        "dsn": "SOSDATA",
        "user": user,
        "password": f"env:{VARIABLE.format(user)}",
        "install": str(standin.folder),
        "driver": str(standin.driver),
    }


def patients(standin: StandIn, database: Path) -> int:
    with started(standin, database) as connection:
        return number(connection, "SELECT COUNT(*) FROM patients")


def test_log_backups_bring_back_the_hours_since_the_night(
    standin: StandIn, tmp_path: Path, prefect_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prefect_server
    options = {**options_of(standin, "CHECKER"), "log_folder": str(tmp_path / "logs")}
    site = Site.make(tmp_path, ["nas"], source=options)
    key = str(site.keys[0])
    with standin.production(tmp_path / "engine", rows=20) as production:
        assert site.run("log") == 1
        assert "begins with a full backup" in " ".join(capsys.readouterr().err.split())
        assert site.run("backup") == 0
        for patient in (4, 5):
            production.execute("INSERT INTO DBA.patients VALUES (?, 'New', NULL)", patient)
            assert site.run("log") == 0
    assert len(list((tmp_path / "logs").glob("*.log"))) == 2
    night, now = tmp_path / "night", tmp_path / "now"
    assert site.run("restore", "--identity", key, "--to", str(night)) == 0
    assert site.run("restore", "--identity", key, "--to", str(now), "--logs", str(tmp_path / "logs")) == 0
    assert patients(standin, night / "sosdata.db") == 3
    assert patients(standin, now / "sosdata.db") == 5


def test_the_daily_restart_is_never_done_beside_a_backup(
    standin: StandIn, tmp_path: Path, prefect_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prefect_server
    with standin.production(tmp_path / "engine", rows=20) as production:
        stop = [str(standin.program("dbstop")), "-y", "-c", "UID=dba;PWD=sql", "SOSSERVER"]
        start = [sys.executable, "-c", f"import os, signal; os.kill({os.getpid()}, signal.SIGUSR1)"]
        options = {**options_of(standin, "CHECKER"), "restart": {"stop": stop, "start": start}}
        site = Site.make(tmp_path, ["nas"], source=options)
        # Started from here, because an engine that the test starts must end with the test.
        signal.signal(signal.SIGUSR1, lambda *_: production.start())
        before = production.pid
        with exclusively(site.staging), pytest.raises(BusyError):
            restart(site.context)
        assert production.pid == before
        assert site.run("restart") == 0
        assert production.pid != before
        assert "was restarted and answers" in " ".join(capsys.readouterr().out.split())
        assert site.run("backup") == 0
    assert len(list(site.context.reports.glob("*-restart.html"))) == 1


def test_a_stopped_engine_is_one_clear_line(
    standin: StandIn,
    tmp_path: Path,
    prefect_server: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert prefect_server
    options = options_of(standin, "BU_BILL")
    site = Site.make(tmp_path, ["nas"], source=options)
    assert site.run("backup") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "No backup of clinic" in said
    assert "Traceback" not in said
    assert "unexpected" not in said
    assert site.objects("nas") == []
