"""Mail against a real server with STARTTLS and logins: each recipient's outcome, no secret in any text."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import NoticeError
from tasks.notices.mail import Mailer, MailServer
from tasks.notices.notice import Notice, notice_of
from tests.servers.ports import free_port
from tests.servers.smtpd import PASSWORD, USER, MailRoom, mail_room
from tests.servers.tcp_proxy import tcp_proxy_to
from tests.unit.notices.sample_reports import success


@pytest.fixture
def room(tmp_path: Path) -> Iterator[MailRoom]:
    with mail_room(tmp_path / "mail") as made:
        yield made


def server(room: MailRoom, **options: Any) -> MailServer:
    usual = MailServer(
        host="localhost",
        port=room.port,
        security="starttls",
        sender=USER,
        user=USER,
        password=PASSWORD,
        ca=room.ca,
        timeout=10,
    )
    return replace(usual, **options)


def notice() -> Notice:
    return notice_of(success(), "front-office")


def refusal(mailer: Mailer, address: str) -> NoticeError:
    with pytest.raises(NoticeError) as caught:
        mailer.send(address, notice())
    error = caught.value
    assert PASSWORD not in str(error)
    assert error.__cause__ is None and error.__context__ is None, "smtplib's own errors hold what was sent"
    return error


def test_a_mail_as_it_arrives(room: MailRoom) -> None:
    mailer = Mailer(server(room))
    assert mailer.send("owner@office.example", notice()) == "250 2.0.0 queued"
    mailer.close()
    (got,) = room.received
    assert got.encrypted and got.login and got.recipients == ["owner@office.example"]
    message = got.message
    assert str(message["Subject"]).startswith("OK front-office: ")
    assert (message["To"], message["From"]) == ("owner@office.example", f"Datasave <{USER}>")
    assert message["Auto-Submitted"] == "auto-generated" and message["Message-ID"] and message["Date"]
    kinds = [part.get_content_type() for part in message.walk() if not part.is_multipart()]
    assert kinds == ["text/plain", "text/html", "text/html"]
    text, page = message.get_body(("plain",)), next(message.iter_attachments())
    assert text is not None and "nas: Delivered" in text.get_content()
    assert page.get_filename() == "front-office-20261123T020007Z-backup.html"
    assert "patients" in page.get_content()
    assert max(map(len, message.as_bytes().split(b"\n"))) < 998


def test_long_subjects_arrive_as_they_were_sent(room: MailRoom) -> None:
    mailer = Mailer(server(room))
    for headline in ("x" * 140, "nas: " + "word " * 25 + "end", "Zähler für den Rückstand " * 5 + "Ende"):
        told = notice_of(success().model_copy(update={"headline": headline}), "front-office")
        mailer.send("owner@office.example", told)
        assert room.received[-1].message["Subject"] == told.subject
    mailer.close()


def test_one_refused_costs_nobody_else_the_mail(room: MailRoom) -> None:
    mailer = Mailer(server(room))
    mailer.send("owner@office.example", notice())
    refused = refusal(mailer, "bad@office.example")
    mailer.send("manager@office.example", notice())
    mailer.close()
    assert "550 5.1.1 No such user" in str(refused) and refused.permanent
    assert [one.recipients for one in room.received] == [["owner@office.example"], ["manager@office.example"]]
    assert {one.connection for one in room.received} == {1}, "one connection for all"


def test_greylisting_is_worth_another_try(room: MailRoom) -> None:
    mailer = Mailer(server(room))
    error = refusal(mailer, "grey@office.example")
    assert "452" in str(error) and not error.permanent
    assert mailer.send("grey@office.example", notice()).startswith("250")
    mailer.close()
    assert room.asked["grey@office.example"] == 2


def test_a_server_that_says_nothing_and_the_next_recipient(room: MailRoom) -> None:
    mailer = Mailer(server(room, timeout=1))
    error = refusal(mailer, "slow@office.example")
    assert "said nothing for 1 s" in str(error) and not error.permanent
    assert mailer.send("owner@office.example", notice()).startswith("250")
    mailer.close()
    assert [one.connection for one in room.received] == [2], "the stuck connection was given up"


def test_a_connection_that_was_cut_is_made_again(room: MailRoom) -> None:
    with tcp_proxy_to(room.port) as proxy:
        mailer = Mailer(server(room, port=proxy.port))
        mailer.send("owner@office.example", notice())
        proxy.cut()
        mailer.send("manager@office.example", notice())
        mailer.close()
    assert [one.connection for one in room.received] == [1, 2]


def test_content_refused(room: MailRoom) -> None:
    room.refuse_content = True
    error = refusal(Mailer(server(room)), "owner@office.example")
    assert "554 5.7.1 Rejected by policy" in str(error) and error.permanent


def test_a_wrong_password(room: MailRoom) -> None:
    error = refusal(Mailer(server(room, password="wrong but secret")), "owner@office.example")
    assert "refused the login of" in str(error) and "535" in str(error) and error.permanent
    assert "wrong but secret" not in str(error) and "notices.mail.password" in error.hint
    assert room.logins == [False] or set(room.logins) == {False}
    assert not room.received


def test_a_server_that_repeats_the_password_is_not_quoted(room: MailRoom) -> None:
    error = refusal(Mailer(server(room)), "talks@office.example")
    assert "550 5.7.1 Not for •••" in str(error)


def test_an_authority_that_is_not_trusted(room: MailRoom) -> None:
    error = refusal(Mailer(server(room, ca=None)), "owner@office.example")
    assert "can't be trusted" in str(error) and error.permanent and "notices.mail.ca" in error.hint
    assert room.logins == [], "the password never went to a server that nobody vouches for"


def test_a_certificate_for_another_name(room: MailRoom) -> None:
    error = refusal(Mailer(server(room, host="127.0.0.2")), "owner@office.example")
    assert "can't be trusted" in str(error) or "can't be reached" in str(error)
    assert room.logins == []


def test_no_encryption_offered_means_nothing_is_sent(tmp_path: Path) -> None:
    with mail_room(tmp_path / "plain", "none") as room:
        error = refusal(Mailer(server(room)), "owner@office.example")
        assert "offers no STARTTLS" in str(error) and error.permanent
        assert room.logins == [] and not room.received


def test_implicit_tls(tmp_path: Path) -> None:
    with mail_room(tmp_path / "tls", "tls") as room:
        mailer = Mailer(server(room, security="tls"))
        assert mailer.send("owner@office.example", notice()).startswith("250")
        assert "takes the login" in mailer.check()
        mailer.close()
        assert room.received[0].encrypted and room.received[0].login


def test_tls_where_starttls_is_spoken(room: MailRoom) -> None:
    error = refusal(Mailer(server(room, security="tls", timeout=3)), "owner@office.example")
    assert room.received == [] and room.logins == []
    assert "no encrypted connection" in str(error) and "465" in error.hint


def test_a_server_that_is_down() -> None:
    down = MailServer(host="127.0.0.1", port=free_port(), security="starttls", sender=USER, timeout=2)
    error = refusal(Mailer(down), "owner@office.example")
    assert "can't be reached: Connection refused" in str(error) and not error.permanent


def test_a_server_whose_name_is_unknown() -> None:
    unknown = MailServer(host="smtp.invalid", port=25, security="starttls", sender=USER, timeout=5)
    error = refusal(Mailer(unknown), "owner@office.example")
    assert "can't be reached" in str(error) and not error.permanent


def test_a_port_where_nobody_speaks() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = MailServer(
            host="127.0.0.1", port=silent.getsockname()[1], security="starttls", sender=USER, timeout=0.5
        )
        assert "said nothing for 0.5 s" in str(refusal(Mailer(mute), "owner@office.example"))


def test_a_missing_certificate_file(room: MailRoom, tmp_path: Path) -> None:
    error = refusal(Mailer(server(room, ca=tmp_path / "gone.pem")), "owner@office.example")
    assert "there is no file" in str(error) and error.permanent


def test_the_password_is_in_no_text_of_the_records(room: MailRoom) -> None:
    assert PASSWORD not in repr(server(room)) and PASSWORD not in repr(Mailer(server(room)))
