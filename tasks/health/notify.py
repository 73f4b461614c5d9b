"""Who is told how a run went, over which channels and in which order. No Prefect: hooks tell of crashed runs.

People first (mail, channels), then the heartbeat, which is good only where all people could be told. Where
someone could not, those who can be reached hear of that too: a notice that dies quietly is worse than none.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from tasks.context import PlanContext, plan_of
from tasks.errors import DatasaveError, NoticeError, PlanError
from tasks.notices import apprise_channel
from tasks.notices.heartbeat import beat_of, host_of, ping
from tasks.notices.mail import Mailer, MailServer
from tasks.notices.notice import Notice, notice_of
from tasks.plan.load import notices_alone
from tasks.plan.notice_options import Mail, Notices, Occasion
from tasks.platform.secrets import REFERENCE_PATTERN, secret_of
from tasks.reports import Notified, RunReport

# After other runs people are told only where something is wrong: a log is backed up every hour.
FLOWS = ("backup", "drill", "audit")
HEARTBEAT = "heartbeat"


@dataclass(frozen=True)
class Channel:
    """Where someone is told: ``mail → owner@office.example``. ``tell`` raises DatasaveError."""

    name: str
    when: Occasion
    tell: Callable[[Notice], str] = field(repr=False)


Teller = Callable[[Sequence[Channel], Notice], list[Notified]]
"""Sends a notice over some channels, over all of them whatever happens at one; returns how each went."""


class Notifier:
    """The channels of one plan. ``name`` is the plan's; ``timezone`` None where the plan can't be used."""

    def __init__(self, name: str, notices: Notices, context: PlanContext | None = None) -> None:
        self.name = name
        self.notices = notices
        self._timezone = context.timezone if context else None
        self._mailer: Mailer | None = None

    @property
    def people(self) -> list[Channel]:
        """Mail to each recipient, and the channels."""
        boxes = self.notices.mail.to if self.notices.mail else ()
        return [
            *(Channel(f"mail → {box.address}", box.when, self._by_mail(box.address)) for box in boxes),
            *(Channel(f"channel → {c.name}", c.when, _by_channel(c.url)) for c in self.notices.channels),
        ]

    def heartbeat(self, flow: str) -> list[Channel]:
        """The outside switch for runs of ``flow``, where it has one."""
        address = self.notices.heartbeat_of(flow)
        return [_by_heartbeat(HEARTBEAT, address)] if address else []

    @property
    def heartbeats(self) -> list[Channel]:
        """The outside switches of all flows, for a test."""
        return [_by_heartbeat(f"{HEARTBEAT} of the {flow}", address) for flow, address in self._addresses]

    def start(self, flow: str) -> str:
        """Tell the same switch that a run begins; "" where there is none. Raises NoticeError."""
        address = self.notices.heartbeat_of(flow)
        return ping(_address(address), "start") if address else ""

    @property
    def looks(self) -> list[tuple[str, Callable[[], str]]]:
        """What can be looked at without telling anyone: (name, look); a look raises DatasaveError."""
        mail = self.notices.mail
        secret = mail.password or "" if mail else ""
        return [
            *([("mail server", _look(secret, lambda: self.mailer(mail).check()))] if mail else []),
            *((f"channel {c.name}", _look(c.url, partial(_service, c.url))) for c in self.notices.channels),
            *(
                (f"heartbeat of the {flow}", _look(url, partial(_listener, url)))
                for flow, url in self._addresses
            ),
        ]

    def test_notice(self, now: datetime) -> Notice:
        """A notice about no run, marked as a test; ``now`` is its time."""
        headline = "This is a test: no backup was made and none failed. Notices like this one reach you"
        facts = RunReport(
            flow="test of notices",
            run="by hand",
            source=self.name,
            started=now,
            finished=now,
            succeeded=True,
            headline=headline,
        )
        return notice_of(
            facts, self.name, timezone=self._timezone, machine=platform.node(), attached=False, test=True
        )

    def notice(self, facts: RunReport) -> Notice:
        """What is told of a run."""
        attached = bool(self.notices.mail and self.notices.mail.attach)
        return notice_of(
            facts, self.name, timezone=self._timezone, machine=platform.node(), attached=attached
        )

    def mailer(self, mail: Mail) -> Mailer:
        """The one connection for all mails. Raises SecretError."""
        if self._mailer is None:
            self._mailer = Mailer(
                MailServer(
                    host=mail.server,
                    port=mail.port,
                    security=mail.security,
                    sender=mail.comes_from,
                    user=mail.user or "",
                    password=secret_of(mail.password) if mail.password else "",
                    ca=mail.ca,
                    timeout=mail.timeout,
                )
            )
        return self._mailer

    def close(self) -> None:
        """End what connections there are."""
        if self._mailer:
            self._mailer.close()

    @property
    def _addresses(self) -> list[tuple[str, str]]:
        """(flow, address) of each heartbeat."""
        return [(flow, address) for flow in FLOWS if (address := self.notices.heartbeat_of(flow))]

    def _by_mail(self, address: str) -> Callable[[Notice], str]:
        def tell(notice: Notice) -> str:
            if self.notices.mail is None:
                raise NoticeError("the plan names no mail server", permanent=True)
            return self.mailer(self.notices.mail).send(address, notice)

        return tell


@contextmanager
def notifier_of(plan: Path) -> Iterator[Notifier]:
    """A plan's channels; of its ``notices`` alone where the rest of it is wrong. Raises PlanError."""
    try:
        loaded = plan_of(plan.absolute())
        notifier = Notifier(loaded.name, loaded.notices, PlanContext(plan))
    except PlanError:
        notifier = Notifier(*notices_alone(plan))
    except DatasaveError:  # the state folder's: the plan itself is good
        notifier = Notifier(loaded.name, loaded.notices)
    try:
        yield notifier
    finally:
        notifier.close()


def tell_everyone(notifier: Notifier, facts: RunReport, teller: Teller) -> RunReport:
    """Send every notice that is due; the facts with how that went, FAILED where one could not be sent."""
    notice = notifier.notice(facts)
    bad = notice.word != "OK"
    people = [
        channel for channel in notifier.people if bad or (facts.flow in FLOWS and channel.when == "always")
    ]
    done = teller(people, notice)
    done += teller(notifier.heartbeat(facts.flow), notifier.notice(amended(facts, done)))
    unreachable = {notified.channel for notified in done if not notified.told}
    if unreachable:
        reached = [channel for channel in notifier.people if channel.name not in unreachable]
        done += teller(reached, notifier.notice(amended(facts, done)))
    return amended(facts, done)


def tell_plainly(channels: Sequence[Channel], notice: Notice) -> list[Notified]:
    """One try for each, one after the other."""
    return [outcome_of(channel, lambda channel=channel: channel.tell(notice)) for channel in channels]  # type: ignore[misc]


def outcome_of(channel: Channel, tell: Callable[[], str]) -> Notified:
    """How telling went. What was not foreseen is named by its class: its text might hold a secret."""
    try:
        return Notified(channel=channel.name, told=True, detail=tell())
    except DatasaveError as error:
        return Notified(channel=channel.name, told=False, detail=str(error))
    except Exception as error:  # noqa: BLE001 - the other channels must be tried all the same
        return Notified(channel=channel.name, told=False, detail=f"unexpected {type(error).__name__}")


def amended(facts: RunReport, done: Sequence[Notified]) -> RunReport:
    """The facts of a run with how telling it went. Someone who could not be told makes the run fail."""
    unreachable = {notified.channel: notified.detail for notified in done if not notified.told}
    heard = dict.fromkeys(notified.channel for notified in done if notified.channel not in unreachable)
    if not unreachable:
        return facts.model_copy(update={"notices": (*facts.notices, *done)})
    causes = "; ".join(
        f"{_who(channel)} could not be told: {detail}" for channel, detail in unreachable.items()
    )
    told = f" (told: {', '.join(map(_who, heard))})" if heard else ""
    joint = ", but " if facts.succeeded else ". Besides, "
    again = (
        "`datasave retry` then tells them" if facts.flow == "backup" else "`datasave notify --test` tries it"
    )
    return facts.model_copy(
        update={
            "succeeded": False,
            "headline": f"{facts.headline.rstrip('.')}{joint}{causes.rstrip('.')}{told}",
            "advice": (*facts.advice, f"Mend what kept {_names(unreachable)} from being told; {again}."),
            "notices": (*facts.notices, *done),
        }
    )


def _names(channels: dict[str, str]) -> str:
    return ", ".join(map(_who, channels))


def _who(channel: str) -> str:
    return channel.rpartition("→ ")[2] if "→" in channel else f"the {channel}"


def _by_channel(url: str) -> Callable[[Notice], str]:
    return lambda notice: apprise_channel.send(secret_of(url), notice)


def _by_heartbeat(name: str, address: str) -> Channel:
    return Channel(name, "always", lambda notice: ping(_address(address), beat_of(notice)))


def _look(reference: str, look: Callable[[], str]) -> Callable[[], str]:
    if reference.startswith("prefect:"):
        return lambda: f"{reference}: known to the Prefect server only, not looked at"
    return look


def _service(reference: str) -> str:
    return f"an address for {apprise_channel.check(secret_of(reference))}; not told anything"


def _listener(text: str) -> str:
    return f"{host_of(_address(text))}; not told anything, or it would take that for a run"


def _address(text: str) -> str:
    return secret_of(text) if REFERENCE_PATTERN.fullmatch(text) else text
