"""The plan's ``notices``: what is read, what is refused, what is found where the rest is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.errors import PlanError
from tasks.plan.load import check_plan, notices_alone
from tasks.plan.notice_options import Notices
from tests.unit.plan.material import KINDS, good

MAIL = {"to": ["a@b.de"], "server": "smtp.b.de", "sender": "x@b.de"}


def read(notices: Any) -> Notices:
    plan = {**good(), "notices": notices}
    return check_plan(yaml.safe_dump(plan), "office.yaml", Path("/office"), KINDS).notices


def mail(**options: Any) -> dict[str, Any]:
    given = {**MAIL, **options}
    return {"mail": {name: value for name, value in given.items() if value is not None}}


def test_nobody_is_told_where_nothing_is_said() -> None:
    assert read(None) == Notices()


@pytest.mark.parametrize(("security", "port"), [("starttls", 587), ("tls", 465)])
def test_usual_ports(security: str, port: int) -> None:
    found = read(mail(security=security)).mail
    assert found is not None
    assert found.port == port


def test_in_full() -> None:
    notices = read(
        {
            "mail": {
                "to": ["owner@b.de", {"address": "engineer@b.de", "when": "failures"}],
                "server": "127.0.0.1",
                "security": "none",
                "ca": "ca.pem",
                "user": "box@b.de",
                "password": "file:smtp.password",
            },
            "channels": [{"name": "phone", "url": "env:PHONE"}],
            "heartbeat": {"backup": "https://hc.example/1?a=b", "audit": "env:AUDIT"},
        }
    )
    assert notices.mail is not None
    assert [(box.address, box.when) for box in notices.mail.to] == [
        ("owner@b.de", "always"),
        ("engineer@b.de", "failures"),
    ]
    assert (notices.mail.port, notices.mail.comes_from) == (25, "box@b.de")
    assert notices.mail.ca == Path("/office/ca.pem")
    assert notices.mail.password == "file:/office/smtp.password"
    assert notices.channels[0].when == "failures"
    assert [notices.heartbeat_of(flow) for flow in ("backup", "audit", "drill", "of", "prune")] == [
        "https://hc.example/1?a=b",
        "env:AUDIT",
        None,
        None,
        None,
    ]


REFUSED = [
    ({"mail": {**MAIL, "to": []}}, "notices.mail.to: needs at least 1"),
    (mail(to=["owner"]), "notices.mail.to[0].address: is not a mail address"),
    (mail(to=["a@b.de\nBcc: x@y.de"]), "notices.mail.to[0].address: is not a mail address"),
    (mail(to=["a@b.de", "A@b.de"]), "notices.mail.to: names an address twice"),
    (mail(server="smtp.b.de:25"), "notices.mail.server: is not the name of a server"),
    (mail(security="none"), "notices.mail.security: cannot be `none` for a server elsewhere"),
    (mail(security="none", server="127.0.0.1.b.de"), "notices.mail.security: cannot be `none`"),
    (mail(user="owner"), "notices.mail: user and password go together"),
    (mail(sender=None), "notices.mail.sender: is missing, and `user` is not a mail address"),
    (mail(user="a@b.de", password="hunter2"), "notices.mail.password: is not a reference to a secret"),
    ({"heartbeat": "hc-ping.com"}, "notices.heartbeat.backup: is not a web address"),
    ({"heartbeat": "file:///etc/passwd\n"}, "notices.heartbeat.backup: is not a web address"),
    ({"heartbeat": "https://a:hunter2@c.de"}, "notices.heartbeat.backup: holds a password"),
    ({"channels": [{"name": "x", "url": "tgram://hunter2"}]}, "notices.channels[0].url: is not a reference"),
    ({"heartbeats": "x"}, "unknown option `heartbeats` in notices; did you mean `heartbeat`?"),
]


@pytest.mark.parametrize(("notices", "line"), REFUSED)
def test_what_is_refused(notices: Any, line: str) -> None:
    with pytest.raises(PlanError) as caught:
        read(notices)
    assert caught.value.message.startswith(f"office.yaml: {line}")
    assert "hunter2" not in str(caught.value)


def test_notices_are_found_in_a_plan_that_is_wrong_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "office.yaml"
    path.write_text(yaml.safe_dump({"name": "clinic", "notices": mail(), "sauce": 1}), "utf-8")
    name, notices = notices_alone(path)
    assert name == "clinic"
    assert notices.mail is not None
    path.write_text(yaml.safe_dump({"notices": {"mail": 1}}), "utf-8")
    with pytest.raises(PlanError):
        notices_alone(path)
