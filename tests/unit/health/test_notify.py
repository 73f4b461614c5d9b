"""Every outcome by every notice, with real servers for mail and web: no failure is ever told as good."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.health.notify import Notifier, tell_everyone, tell_plainly
from tasks.notices.notice import notice_of
from tasks.notices.verdict import word_of
from tasks.plan.notice_options import Notices
from tasks.records import Finding
from tasks.reports import Delivery, RunReport, Step
from tests.servers.hooks import Hooks, hooks
from tests.servers.smtpd import PASSWORD, MailRoom, mail_room
from tests.unit.notices import sample_reports as samples

OWNER, ENGINEER, BAD = "owner@office.example", "engineer@office.example", "bad@office.example"


@dataclass
class Listeners:
    mails: MailRoom
    web: Hooks

    def notifier(self, *extra: str) -> Notifier:
        to = [OWNER, {"address": ENGINEER, "when": "failures"}, *extra]
        url = f"{self.web.url}/beat"
        return Notifier(
            "front-office",
            Notices.model_validate(
                {
                    "mail": self.mails.mail(*to),
                    "channels": [
                        {"name": "room", "url": "env:ROOM", "when": "always"},
                        {"name": "phone", "url": "env:PHONE"},
                    ],
                    "heartbeat": {flow: f"{url}/{flow}" for flow in ("backup", "drill", "audit")},
                }
            ),
        )

    def tell(self, facts: RunReport, *extra: str) -> RunReport:
        self.mails.received.clear()
        self.web.requests.clear()
        notifier = self.notifier(*extra)
        try:
            return tell_everyone(notifier, facts, tell_plainly)
        finally:
            notifier.close()

    @property
    def words(self) -> dict[str, list[str]]:
        """The first word of what each was told; the heartbeat's path."""
        words = {to: [line.split()[0] for line in lines] for to, lines in self.mails.subjects.items()}
        for path, body in self.web.requests:
            if path.startswith("/beat"):
                words.setdefault("heartbeat", []).append(path.removeprefix("/beat/"))
            else:
                words.setdefault(path.strip("/"), []).append(json.loads(body)["title"].split()[0])
        return words


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listeners]:
    with mail_room(tmp_path_factory.mktemp("mail")) as mails, hooks() as web:
        yield Listeners(mails, web)


@pytest.fixture
def listeners(servers: Listeners, monkeypatch: pytest.MonkeyPatch) -> Listeners:
    monkeypatch.setenv("SMTP_PASSWORD", PASSWORD)
    monkeypatch.setenv("ROOM", f"json://127.0.0.1:{servers.web.port}/room")
    monkeypatch.setenv("PHONE", f"json://127.0.0.1:{servers.web.port}/phone")
    return servers


def other(flow: str, *, good: bool, **facts: object) -> RunReport:
    headline = f"The {flow} {'went well' if good else 'failed'}"
    changed = {"flow": flow, "succeeded": good, "headline": headline, "deliveries": (), "steps": (), **facts}
    return samples.success().model_copy(update=changed)


def changed(**facts: object) -> RunReport:
    return samples.success().model_copy(update=facts)


BROKEN = (Finding(check="table as recorded", passed=False, detail="3 rows less", table="visits"),)
AWAY = Delivery(target="drives", outcome="missed", problem="not plugged in")
NOT_DUE = Delivery(target="vault", outcome="not due", problem="due on fri")
WORDS = {
    "good": (samples.success(), "OK"),
    "nothing due": (changed(deliveries=(NOT_DUE,)), "OK"),
    "medium away": (changed(succeeded=False, deliveries=(*samples.DELIVERIES[:1], AWAY)), "MISSED"),
    "medium away, prune failed": (
        changed(
            succeeded=False,
            deliveries=(*samples.DELIVERIES[:1], AWAY),
            steps=(Step(name="prune nas", outcome="failed"),),
        ),
        "FAILED",
    ),
    "medium away, a table differs": (
        changed(succeeded=False, deliveries=(AWAY,), findings=BROKEN),
        "FAILED",
    ),
    "target failed": (
        changed(succeeded=False, deliveries=(Delivery(target="nas", outcome="failed"),)),
        "FAILED",
    ),
    "said good, a table differs": (changed(findings=BROKEN), "FAILED"),
    "said good, a target failed": (changed(deliveries=(Delivery(target="nas", outcome="failed"),)), "FAILED"),
    "said good, nothing delivered": (changed(deliveries=()), "FAILED"),
    "rehearsal failed": (samples.rehearsal_failed(), "FAILED"),
    "preflight failed": (samples.preflight_failed(), "FAILED"),
    "tables differ": (samples.many_tables(), "FAILED"),
    "no word of its end": (other("backup", good=False), "FAILED"),
    **{f"{flow} good": (other(flow, good=True), "OK") for flow in ("drill", "audit", "restart", "log")},
    **{
        f"{flow} failed": (other(flow, good=False), "FAILED")
        for flow in ("drill", "audit", "restart", "log", "prune", "deliver")
    },
    "drill said good, a table differs": (other("drill", good=True, findings=BROKEN), "FAILED"),
}


@pytest.mark.parametrize("outcome", WORDS)
def test_every_outcome_by_every_notice(listeners: Listeners, outcome: str) -> None:
    facts, word = WORDS[outcome]
    assert word_of(facts) == word
    done = listeners.tell(facts)
    expected: dict[str, list[str]] = {}
    if word != "OK":
        expected = {who: [word] for who in (OWNER, ENGINEER, "room", "phone")}
    elif facts.flow in ("backup", "drill", "audit"):
        expected = {who: [word] for who in (OWNER, "room")}
    if facts.flow in ("backup", "drill", "audit"):
        expected["heartbeat"] = [facts.flow if word == "OK" else f"{facts.flow}/fail"]
    assert listeners.words == expected
    assert (done.succeeded, done.headline) == (facts.succeeded, facts.headline)
    assert all(notified.told for notified in done.notices)


@pytest.mark.parametrize("outcome", ["good", "medium away", "target failed", "drill good", "log failed"])
@pytest.mark.parametrize("unreachable", [BAD, "room", "phone", "heartbeat"])
def test_every_outcome_where_someone_cannot_be_told(
    listeners: Listeners, outcome: str, unreachable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run fails, the switch hears that, and so does everyone who can be reached."""
    facts, word = WORDS[outcome]
    if unreachable == "heartbeat":
        monkeypatch.setattr(Hooks, "url", "http://127.0.0.1:9")
    elif unreachable != BAD:
        monkeypatch.setenv(unreachable.upper(), "json://127.0.0.1:9")
    done = listeners.tell(facts, *([BAD] if unreachable == BAD else []))
    words = listeners.words
    tried = [notified for notified in done.notices if not notified.told]
    quiet = word == "OK" and (unreachable == "phone" or facts.flow not in ("backup", "drill", "audit"))
    if quiet or (unreachable == "heartbeat" and facts.flow not in ("backup", "drill", "audit")):
        assert not tried, "nobody asked it to"
        return
    assert tried and not done.succeeded and "could not be told" in done.headline
    assert words.get("heartbeat", [f"{facts.flow}/fail"]) == [f"{facts.flow}/fail"]
    for who in {OWNER, ENGINEER, "room", "phone"} - {unreachable}:
        assert words[who][-1] == "FAILED", "whoever can be reached hears that someone could not"
    assert word_of(done) == "FAILED"


def test_who_was_told_stands_in_the_headline_and_the_advice(listeners: Listeners) -> None:
    done = listeners.tell(samples.success(), BAD)
    assert done.headline == (
        "Backup 118 was restored in rehearsal and delivered to nas, drives and cloud, but "
        f"{BAD} could not be told: localhost:{listeners.mails.port} says 550 5.1.1 No such user "
        f"(told: {OWNER}, room, the heartbeat, {ENGINEER}, phone)"
    )
    assert done.advice[-1] == (f"Mend what kept {BAD} from being told; `datasave retry` then tells them.")


def test_a_password_that_is_not_there_is_said_and_the_others_are_told(
    listeners: Listeners, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SMTP_PASSWORD")
    done = listeners.tell(samples.success())
    assert "the secret env:SMTP_PASSWORD is empty or not set" in done.headline
    assert listeners.words["room"] == ["OK", "FAILED"]
    assert listeners.words["heartbeat"] == ["backup/fail"]


def test_what_is_hostile_stays_in_its_line() -> None:
    notice = notice_of(samples.hostile(), "front-office")
    assert "\n" not in notice.subject and "\r" not in notice.subject
    assert "<script" not in notice.html.lower()


def test_the_notice_names_no_table_unless_it_failed() -> None:
    notice = notice_of(samples.success(), "front-office")
    assert "appointment_notes" not in notice.text + notice.html
    assert "appointment_notes" in notice.page
    failed = notice_of(samples.rehearsal_failed(), "front-office")
    assert "What differs:" in failed.text


def test_a_mail_stays_short_where_much_differs() -> None:
    notice = notice_of(samples.many_tables(400, 50), "front-office")
    assert "and 40 more: FAILED" in notice.text and len(notice.text) < 3000


def test_subjects_fit_a_phone() -> None:
    long = changed(succeeded=False, headline="nas: " + "x" * 900)
    subject = notice_of(long, "front-office").subject
    assert subject.startswith("FAILED front-office: nas: xxx") and len(subject) <= 150
    twice = notice_of(changed(headline="front-office #12 is backed up"), "front-office")
    assert twice.subject == "OK front-office: #12 is backed up"


def test_files_made_for_it_are_in_the_package() -> None:
    assert (Path(__file__).parents[3] / "tasks" / "notices" / "mail.html").exists()
