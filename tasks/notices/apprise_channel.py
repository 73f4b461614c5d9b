"""Phones and chat rooms, by apprise.

A channel's address is a secret as a whole. apprise writes parts of it into its log: that goes nowhere,
and of what it says only what is known to be harmless reaches a message.
"""

from __future__ import annotations

import logging
import re
import threading
from typing import TYPE_CHECKING

from tasks.errors import NoticeError
from tasks.notices.notice import Notice

if TYPE_CHECKING:
    from apprise import Apprise

# Their logs name the address: both below a warning, apprise perhaps in one.
logging.getLogger("apprise").propagate = False
logging.getLogger("apprise").addHandler(logging.NullHandler())
for _name in ("apprise", "urllib3"):
    logging.getLogger(_name).setLevel(logging.WARNING)

TYPES = {"good": "success", "warn": "warning", "bad": "failure", "quiet": "info"}
STATUS = re.compile(r"error=(\d{3})\b")
TOO_MANY = 429


class _Log(logging.Handler):
    """What apprise says in this thread: other channels are told at the same time."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.said.append(record.getMessage())


def send(url: str, notice: Notice) -> str:
    """Tell one channel. Raises NoticeError, whose text holds nothing of the address."""
    from apprise import NotifyFormat, NotifyType

    channel, log = _channel(url), _Log()
    logging.getLogger("apprise").addHandler(log)
    try:
        told = channel.notify(
            title=notice.subject,
            body=notice.text,
            notify_type=NotifyType(TYPES[notice.tone]),
            body_format=NotifyFormat.TEXT,
        )
    finally:
        logging.getLogger("apprise").removeHandler(log)
    if not told:
        raise _failure("\n".join(log.said))
    return "accepted"


def check(url: str) -> str:
    """What service an address is for, sending nothing. Raises NoticeError."""
    (service,) = _channel(url)
    return str(service.service_name)


def _channel(url: str) -> Apprise:
    from apprise import Apprise, AppriseAsset

    channel = Apprise(asset=AppriseAsset(secure_logging=True))
    if not channel.add(url.strip()) or len(channel) != 1:
        raise NoticeError(
            "the secret is not one address that apprise knows",
            hint="https://github.com/caronc/apprise lists how the address of each service is written.",
            permanent=True,
        )
    return channel


def _failure(log: str) -> NoticeError:
    status = STATUS.search(log)
    if status is None:
        return NoticeError("the service could not be reached, or refused")
    code = int(status[1])
    return NoticeError(f"the service answered {code}", permanent=400 <= code < 500 and code != TOO_MANY)
