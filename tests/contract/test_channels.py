"""Channels (apprise) and the outside switch against a real web server on this machine."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator

import pytest

from tasks.errors import NoticeError
from tasks.notices import apprise_channel, heartbeat
from tasks.notices.notice import Notice, notice_of
from tests.servers.hooks import Hooks, hooks
from tests.servers.ports import free_port
from tests.unit.notices.sample_reports import preflight_failed

TOKEN = "s3cr3t-t0ken"


@pytest.fixture
def room() -> Iterator[Hooks]:
    with hooks() as made:
        yield made


def notice() -> Notice:
    return notice_of(preflight_failed(), "front-office")


def channel(room: Hooks) -> str:
    return f"json://clinic:{TOKEN}@127.0.0.1:{room.port}/{TOKEN}"


def test_a_channel_is_told(room: Hooks) -> None:
    assert apprise_channel.send(channel(room), notice()) == "accepted"
    ((path, body),) = room.requests
    assert path.rstrip("/") == f"/{TOKEN}"
    told = json.loads(body)
    assert told["title"].startswith("FAILED front-office: ") and told["type"] == "failure"
    assert "What to do next:" in told["message"]


@pytest.mark.parametrize(("status", "permanent"), [(500, False), (429, False), (403, True), (404, True)])
def test_a_channel_that_refuses(
    room: Hooks,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    status: int,
    permanent: bool,
) -> None:
    room.answers = [status]
    with caplog.at_level(logging.DEBUG), pytest.raises(NoticeError) as caught:
        apprise_channel.send(channel(room), notice())
    assert len(room.requests) == 1, "the fault fired"
    assert f"the service answered {status}" in str(caught.value) and caught.value.permanent is permanent
    captured = capfd.readouterr()
    assert TOKEN not in str(caught.value) + caplog.text + captured.out + captured.err


def test_a_channel_that_is_down(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(NoticeError) as caught:
        apprise_channel.send(f"json://127.0.0.1:{free_port()}/{TOKEN}", notice())
    assert "could not be reached" in str(caught.value) and not caught.value.permanent
    assert TOKEN not in str(caught.value) + caplog.text


@pytest.mark.parametrize("url", [f"nonsense-{TOKEN}", f"gopher://{TOKEN}", ""])
def test_an_address_that_apprise_does_not_know(url: str) -> None:
    with pytest.raises(NoticeError) as caught:
        apprise_channel.send(url, notice())
    assert caught.value.permanent and TOKEN not in str(caught.value)


def test_two_channels_at_once_keep_their_own_answers(room: Hooks) -> None:
    room.lag = 0.3
    room.answers = [500, 500]
    outcomes: dict[str, str] = {}

    def tell(name: str, url: str) -> None:
        try:
            outcomes[name] = apprise_channel.send(url, notice())
        except NoticeError as error:
            outcomes[name] = str(error)

    threads = [
        threading.Thread(target=tell, args=("busy", channel(room))),
        threading.Thread(target=tell, args=("down", f"json://127.0.0.1:{free_port()}")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert "answered 500" in outcomes["busy"]
    assert "could not be reached" in outcomes["down"]


def test_what_the_switch_is_told(room: Hooks) -> None:
    address = f"{room.url}/{TOKEN}"
    for beat in ("start", "good", "fail"):
        assert heartbeat.ping(address, beat) == "127.0.0.1 answered 200"  # type: ignore[arg-type]
    heartbeat.ping(f"{address}/?key=1", "fail")
    assert room.paths == [f"/{TOKEN}/start", f"/{TOKEN}", f"/{TOKEN}/fail", f"/{TOKEN}/fail?key=1"]


@pytest.mark.parametrize(("status", "permanent"), [(500, False), (404, True), (301, True), (429, False)])
def test_a_switch_that_refuses(
    room: Hooks, caplog: pytest.LogCaptureFixture, status: int, permanent: bool
) -> None:
    room.answers = [status]
    with caplog.at_level(logging.INFO), pytest.raises(NoticeError) as caught:
        heartbeat.ping(f"{room.url}/{TOKEN}", "good")
    assert f"answered {status}" in str(caught.value) and caught.value.permanent is permanent
    assert TOKEN not in str(caught.value) + caplog.text
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("words", ["OK (not found)", "OK (rate limited)"])
def test_a_switch_that_answers_200_and_notes_nothing(room: Hooks, words: str) -> None:
    room.body = words
    with pytest.raises(NoticeError, match=words.removeprefix("OK ").strip("()")):
        heartbeat.ping(f"{room.url}/{TOKEN}", "good")


def test_a_switch_that_is_slow_or_down(room: Hooks) -> None:
    room.lag = 1.0
    with pytest.raises(NoticeError, match=r"said nothing for 0\.3 s"):
        heartbeat.ping(f"{room.url}/{TOKEN}", "good", timeout=0.3)
    with pytest.raises(NoticeError, match="can't be reached: ConnectError") as caught:
        heartbeat.ping(f"http://127.0.0.1:{free_port()}/{TOKEN}", "good")
    assert TOKEN not in str(caught.value) and caught.value.__context__ is None
    with pytest.raises(NoticeError, match="holds no web address"):
        heartbeat.ping("gopher:what", "good")
