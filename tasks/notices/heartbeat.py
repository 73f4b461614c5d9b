"""The external dead man's switch: an address that is pinged by each run, and alarms when no ping comes.

The protocol is that of healthchecks.io and similar services: ``URL/start``, ``URL`` for good, ``URL/fail``.
The address is a key to the switch, so no message shows more of it than its host.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from tasks.errors import NoticeError
from tasks.notices.notice import Notice

if TYPE_CHECKING:
    import httpx

# They log each request with its address.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

Beat = Literal["start", "good", "fail"]

PATHS: dict[Beat, str] = {"start": "/start", "good": "", "fail": "/fail"}
SECONDS = 10.0
TOO_MANY = 429
# healthchecks.io answers 200 to these: nothing was noted all the same.
IGNORED = ("(not found)", "(rate limited)")


def beat_of(notice: Notice) -> Beat:
    """What the switch is told: good for a run that went well in all, fail for every other."""
    return "good" if notice.word == "OK" else "fail"


def host_of(address: str) -> str:
    """The machine that listens, for messages; it is not told anything. Raises NoticeError."""
    import httpx

    with suppress(httpx.InvalidURL):
        url = httpx.URL(address.strip())
        if url.scheme in ("http", "https") and url.host:
            return url.host
    raise NoticeError("the secret holds no web address", permanent=True)


def ping(address: str, beat: Beat, timeout: float = SECONDS) -> str:
    """Tell the switch. Raises NoticeError."""
    import httpx

    host = host_of(address)
    url = httpx.URL(address.strip())
    try:
        url = url.copy_with(path=url.path.rstrip("/") + PATHS[beat] or "/")
        answer = httpx.post(url, timeout=timeout)
    except httpx.TimeoutException:
        failure = NoticeError(f"{host} said nothing for {timeout:g} s")
    except httpx.HTTPError as error:
        failure = NoticeError(f"{host} can't be reached: {type(error).__name__}")
    else:
        return _heard(answer, host)
    raise failure  # outside of `except`: httpx's errors hold the address


def _heard(answer: httpx.Response, host: str) -> str:
    ignored = next((words for words in IGNORED if words in answer.text[:200]), "")
    if answer.is_success and not ignored:
        return f"{host} answered {answer.status_code}"
    final = 300 <= answer.status_code < 500 and answer.status_code != TOO_MANY
    raise NoticeError(
        f"{host} answered {answer.status_code} {ignored}".rstrip(),
        hint="Check the address of the heartbeat.",
        permanent=final or "not found" in ignored,
    )
