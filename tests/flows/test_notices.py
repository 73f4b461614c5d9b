"""Runs and whom they tell: on a real mail server with STARTTLS and logins, and a real web server."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deployments.cli import screen
from tasks.backup.workspace import exclusively
from tasks.health import audit
from tasks.steps import notices
from tests.flows.site import Site
from tests.flows.test_interrupted import PATIENCE, start_halting
from tests.flows.warm import Warm
from tests.servers.hooks import Hooks, hooks
from tests.servers.ports import free_port
from tests.servers.smtpd import PASSWORD, MailRoom, mail_room

OWNER, MANAGER = "owner@office.example", "manager@office.example"
BAD, GREY = "bad@office.example", "grey@office.example"
TOKEN = "s3cr3t-t0ken"

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal so wide that no sentence is broken."""
    monkeypatch.setattr(screen.out, "width", 400)
    monkeypatch.setattr(screen.err, "width", 400)


@pytest.fixture
def mails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailRoom]:
    monkeypatch.setenv("SMTP_PASSWORD", PASSWORD)
    # The waits between tries; a hurried greylisting.
    monkeypatch.setattr(notices.tell, "retry_delay_seconds", [0.1, 0.2, 0.3])
    with mail_room(tmp_path / "mail") as room:
        yield room


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hooks]:
    with hooks() as room:
        monkeypatch.setenv("PHONE", f"json://127.0.0.1:{room.port}/{TOKEN}")
        monkeypatch.setenv("BEAT", f"{room.url}/beat-{TOKEN}")
        yield room


def told_by(site: Site, mails: MailRoom, *to: Any, **notices: Any) -> None:
    """Change the site's plan: one target, mail to these, and what else is given."""
    site.change_plan(
        targets=[{"name": "nas", "kind": "folder", "path": "nas", "slots": "weekday"}],
        notices={"mail": mails.mail(*to), **notices},
    )


def said(captured: Captured) -> str:
    out, err = captured.readouterr()
    return " ".join((out + err).split())


def test_everyone_is_told_of_a_good_backup(running_site: Site, mails: MailRoom, web: Hooks) -> None:
    site = running_site
    channels = [{"name": "phone", "url": "env:PHONE", "when": "always"}]
    told_by(site, mails, OWNER, MANAGER, channels=channels, heartbeat="env:BEAT")
    assert site.run("backup") == 0
    assert {one.recipients[0] for one in mails.received} == {OWNER, MANAGER}
    assert {one.connection for one in mails.received} == {1}, "one connection, a transaction for each"
    assert all(one.encrypted and one.login for one in mails.received)
    subjects = {str(one.message["Subject"]) for one in mails.received}
    assert subjects == {"OK clinic: #1 is backed up and proven at nas"}
    assert web.paths[0] == f"/beat-{TOKEN}/start" and web.paths[-1] == f"/beat-{TOKEN}"
    assert len(web.paths) == 3
    page = site.report()
    assert "Who was told" in page and OWNER in page and "NOT TOLD" not in page
    assert not any(site.staging.glob("*/sealed/*")), "after full success nothing needs to stay"


def test_one_recipient_refused_then_mended(
    running_site: Site, mails: MailRoom, web: Hooks, capsys: Captured
) -> None:
    """The backup is good and stays so; a re-run tells who was not told, and copies nothing."""
    site = running_site
    channels = [{"name": "phone", "url": "env:PHONE"}]
    told_by(site, mails, OWNER, BAD, channels=channels, heartbeat="env:BEAT")
    assert site.run("backup") == 1
    told = said(capsys)
    assert "clinic #1 is backed up and proven at nas, but bad@office.example could not be told:" in told
    assert "550 5.1.1 No such user" in told and f"(told: {OWNER}" in told
    assert [line.split()[0] for line in mails.subjects[OWNER]] == ["OK", "FAILED"]
    assert BAD in mails.subjects[OWNER][1]
    assert mails.asked[BAD] == 1, "a refusal for good is not tried again"
    assert web.paths[-1] == f"/{TOKEN}/" or web.paths[-1] == f"/{TOKEN}"
    assert f"/beat-{TOKEN}/fail" in web.paths and f"/beat-{TOKEN}" not in web.paths
    page = site.report()
    assert "NOT TOLD" in page and "No such user" in page and "datasave retry" in page
    taken = site.manifests("nas")[0]["taken"]

    told_by(site, mails, OWNER, MANAGER, channels=channels, heartbeat="env:BEAT")
    assert site.run("retry") == 0
    assert site.manifests("nas")[0]["taken"] == taken and len(site.manifests("nas")) == 1
    assert mails.subjects[MANAGER] == ["OK clinic: #1 is backed up and proven at nas"]
    assert len(mails.subjects[OWNER]) == 2, "who knows the news is not told it again"
    assert web.paths[-1] == f"/beat-{TOKEN}"
    assert not any(site.staging.glob("*/sealed/*"))


def test_greylisting_costs_a_wait_and_not_the_run(running_site: Site, mails: MailRoom) -> None:
    site = running_site
    told_by(site, mails, OWNER, GREY)
    assert site.run("backup") == 0
    assert mails.asked[GREY] == 2, "the fault fired, and passed"
    assert mails.subjects[GREY] == ["OK clinic: #1 is backed up and proven at nas"]
    assert len(mails.subjects[OWNER]) == 1


def test_a_mailbox_that_stays_full(running_site: Site, mails: MailRoom, capsys: Captured) -> None:
    site = running_site
    told_by(site, mails, OWNER, "full@office.example")
    assert site.run("audit") == 1
    assert mails.asked["full@office.example"] == 4, "four tries"
    assert "452 4.2.2 Try again later" in said(capsys)


def test_a_mail_server_that_is_down_is_told_by_another_way(
    running_site: Site, mails: MailRoom, web: Hooks, capsys: Captured
) -> None:
    site = running_site
    site.change_plan(
        targets=[{"name": "nas", "kind": "folder", "path": "nas"}],
        notices={
            "mail": mails.mail(OWNER, MANAGER, port=free_port()),
            "channels": [{"name": "phone", "url": "env:PHONE"}],
            "heartbeat": "env:BEAT",
        },
    )
    assert site.run("backup") == 1
    told = said(capsys)
    assert "is backed up and proven at nas, but owner@office.example could not be told" in told
    assert "can't be reached: Connection refused" in told
    (body,) = [body for path, body in web.requests if path.startswith(f"/{TOKEN}")]
    assert "FAILED clinic" in body and "could not be told" in body
    assert web.paths.count(f"/beat-{TOKEN}/fail") == 1 and f"/beat-{TOKEN}" not in web.paths


@pytest.mark.parametrize("fault", ["wrong password", "unknown authority", "slow"])
def test_other_faults_of_mail_stand_in_the_state(
    running_site: Site, mails: MailRoom, capsys: Captured, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    site = running_site
    options: dict[str, dict[str, Any]] = {
        "wrong password": {},
        "unknown authority": {"ca": None},
        "slow": {"timeout": 0.3},
    }
    if fault == "wrong password":
        monkeypatch.setenv("SMTP_PASSWORD", "not this one")
    mail = {name: value for name, value in {**mails.mail(OWNER), **options[fault]}.items() if value}
    if fault == "slow":
        mail["to"] = ["slow@office.example"]
        mails.lag = 1.0
    site.change_plan(notices={"mail": mail})
    assert site.run("audit") == 1
    told = said(capsys)
    expected = {
        "wrong password": "refused the login",
        "unknown authority": "can't be trusted",
        "slow": "said nothing for 0.3 s",
    }
    assert expected[fault] in told and "could not be told" in told
    assert "not this one" not in told and PASSWORD not in told
    assert not mails.received


def test_a_backup_that_failed_is_told(running_site: Site, mails: MailRoom, web: Hooks) -> None:
    site = running_site
    told_by(site, mails, OWNER, channels=[{"name": "phone", "url": "env:PHONE"}], heartbeat="env:BEAT")
    site.database.write_bytes(b"SQLite format 3\0" + b"\0" * 5000)
    assert site.run("backup") == 1
    assert mails.subjects[OWNER][0].startswith("FAILED clinic: No backup of clinic")
    assert web.paths[0] == f"/beat-{TOKEN}/start" and f"/beat-{TOKEN}/fail" in web.paths
    assert not site.archives("nas")


def test_a_medium_that_is_away_is_told_as_missed(running_site: Site, mails: MailRoom, web: Hooks) -> None:
    site = running_site
    told_by(site, mails, OWNER, heartbeat="env:BEAT")
    (site.root / "nas").rename(site.root / "away")
    assert site.run("backup") == 1
    assert mails.subjects[OWNER][0].startswith("MISSED clinic: ")
    assert web.paths[-1] == f"/beat-{TOKEN}/fail"


def test_runs_that_cannot_begin_are_told(
    running_site: Site, mails: MailRoom, web: Hooks, capsys: Captured
) -> None:
    """Another run under way; a plan that is wrong by the time it is read: what it says of notices counts."""
    from flows.backup import backup

    site = running_site
    told_by(site, mails, OWNER, heartbeat="env:BEAT")
    with exclusively(site.staging):
        assert site.run("backup") == 1
    assert mails.subjects[OWNER][0].startswith("FAILED clinic: another run of this plan is under way.")
    assert "Wait until it has ended" in said(capsys)
    site.change_plan(sauce="x")
    state = backup(plan=site.plan, return_state=True)
    assert state.is_failed()
    assert "unknown option `sauce`" in mails.subjects[OWNER][1]
    assert web.paths[-1] == f"/beat-{TOKEN}/fail"


def test_log_restart_prune_and_deliver_are_told_where_they_fail(running_site: Site, mails: MailRoom) -> None:
    site = running_site
    told_by(site, mails, {"address": OWNER, "when": "failures"})
    for command in (["restart"], ["log"], ["deliver"]):
        assert site.run(*command) == 1
    assert [line.split()[0] for line in mails.subjects[OWNER]] == ["FAILED"] * 3
    mails.received.clear()
    assert site.run("prune", "--apply") == 0
    assert not mails.received, "no news is told of these"


def test_no_secret_is_on_record(
    running_site: Site, mails: MailRoom, web: Hooks, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in Prefect's database and results nor in reports, states and what is shown."""
    site = running_site
    web.answers = [200, 500, 500, 500, 500, 500, 500, 500, 500]
    channels = [{"name": "phone", "url": "env:PHONE", "when": "always"}]
    told_by(site, mails, OWNER, "talks@office.example", channels=channels, heartbeat="env:BEAT")
    assert site.run("backup") == 1
    told = said(capsys)
    assert "550 5.7.1 Not for •••" in told and "the service answered 500" in told
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all()
    home = Path(os.environ["PREFECT_HOME"])
    kept = [
        path for folder in (home, site.root / ".datasave") for path in folder.rglob("*") if path.is_file()
    ]
    assert any(path.name.startswith("prefect.db") for path in kept)
    for path in kept:
        data = path.read_bytes()
        assert PASSWORD.encode() not in data and TOKEN.encode() not in data, path
    assert PASSWORD not in told and TOKEN not in told


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="Windows has no signals between programs")
def test_a_run_that_is_ended_from_outside_is_told(
    site: Site, warm: Warm, mails: MailRoom, web: Hooks, tmp_path: Path
) -> None:
    told_by(site, mails, OWNER, heartbeat="env:BEAT")
    process = start_halting(warm, site, "archive and encrypt", tmp_path / "in the middle")
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(PATIENCE) == 130
    assert "Traceback" not in process.said
    assert len(mails.subjects[OWNER]) == 1
    assert mails.subjects[OWNER][0].startswith("FAILED clinic: The backup was stopped before its end")
    assert web.paths == [f"/beat-{TOKEN}/start", f"/beat-{TOKEN}/fail"]


def test_an_audit_from_elsewhere_alarms_when_no_backup_comes(
    running_site: Site, mails: MailRoom, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A second machine with its own state folder: the third net, where the first machine is silent."""
    site = running_site
    assert site.run("backup", "--target", "nas") == 0
    machine = site.manifests("nas")[0]["machine"]
    shutil.copy(site.plan, site.root / "second.yaml")
    second = Site(site.root, site.root / "second.yaml", site.keys)
    second.change_plan(
        targets=[{"name": "nas", "kind": "folder", "path": "nas", "slots": "weekday", "fresh_hours": 1}],
        notices={"mail": {**mails.mail(MANAGER), "to": [{"address": MANAGER, "when": "failures"}]}},
        state=str(tmp_path / "second-state"),
        signers=[machine],
    )
    assert second.run("audit") == 0
    assert not mails.received
    later = datetime.now(UTC) + timedelta(hours=2)

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return later.astimezone(tz)

    monkeypatch.setattr(audit, "datetime", Later)
    assert second.run("audit") == 1
    (subject,) = mails.subjects[MANAGER]
    assert subject.startswith("FAILED clinic: ") and "is 2 h 0 min old; by the plan" in subject


def test_notify_tests_every_way(site: Site, mails: MailRoom, web: Hooks, capsys: Captured) -> None:
    channels = [{"name": "phone", "url": "env:PHONE"}]
    told_by(site, mails, OWNER, MANAGER, channels=channels, heartbeat="env:BEAT")
    assert site.run("notify") == 0
    assert "Nobody was told anything" in said(capsys) and not mails.received and not web.requests
    assert site.run("notify", "--test") == 0
    assert "all 4 were told" in said(capsys)
    assert all(lines[0].startswith("TEST clinic: ") for lines in mails.subjects.values())
    assert set(mails.subjects) == {OWNER, MANAGER}
    assert web.paths[-1] == f"/beat-{TOKEN}/fail", "a test never passes for a good backup"
    told_by(site, mails, OWNER, BAD)
    assert site.run("notify", "--test") == 1
    told = said(capsys)
    assert "No such user" in told and "1 of 2 could not be told" in told
    site.change_plan(notices=None)
    assert site.run("notify", "--test") == 1


def test_a_secret_that_only_the_prefect_server_knows(
    running_site: Site, mails: MailRoom, web: Hooks, capsys: Captured
) -> None:
    from prefect.blocks.system import Secret

    site = running_site
    Secret(value=f"json://127.0.0.1:{web.port}/by-prefect").save("phone-url", overwrite=True)
    channels = [{"name": "phone", "url": "prefect:phone-url", "when": "always"}]
    told_by(site, mails, OWNER, channels=channels)
    assert site.run("doctor") == 0
    assert "not looked at" in said(capsys) and not web.requests
    assert site.run("notify", "--test") == 0
    assert site.run("audit") == 1
    assert [path.strip("/") for path in web.paths] == ["by-prefect"] * 2


def test_doctor_looks_at_the_ways_and_tells_nobody(
    site: Site, mails: MailRoom, web: Hooks, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = [{"name": "phone", "url": "env:PHONE"}]
    told_by(site, mails, OWNER, channels=channels, heartbeat="env:BEAT")
    assert site.run("doctor") == 0
    assert "takes the login" in said(capsys) and not mails.received and not web.requests
    monkeypatch.setenv("SMTP_PASSWORD", "wrong")
    monkeypatch.setenv("PHONE", "nonsense")
    monkeypatch.delenv("BEAT")
    assert site.run("doctor") == 1
    told = said(capsys)
    assert "3 of" in told and "refused the login" in told and "env:BEAT is empty" in told
