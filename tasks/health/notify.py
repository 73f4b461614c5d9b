"""Who is told how a run went, by which ways, in which order. No Prefect: a crashed run is told from a hook.

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

from tasks.context import KINDS, PlanContext
from tasks.errors import DatasaveError, NoticeError, PlanError
from tasks.notices import channels
from tasks.notices.heartbeat import beat_of, host_of, ping
from tasks.notices.mail import Mailer, MailServer
from tasks.notices.notice import Notice, notice_of
from tasks.plan.load import load_plan, notices_alone
from tasks.plan.notice_options import Mail, Notices, Occasion
from tasks.platform.secrets import REFERENCE_PATTERN, secret_of
from tasks.reports import Notified, RunReport

# After other runs people are told only where something is wrong: a log is backed up every hour.
FLOWS = ("backup", "drill", "audit")
HEARTBEAT = "heartbeat"


@dataclass(frozen=True)
class Way:
    """One way to tell someone: ``mail → owner@office.example``. ``tell`` raises DatasaveError."""

    name: str
    when: Occasion
    tell: Callable[[Notice], str] = field(repr=False)


Teller = Callable[[Sequence[Way], Notice], list[Notified]]
"""Tells a notice by some ways, all of them whatever happens at one; returns how each went."""


class Notifier:
    """The ways of one plan. ``name`` is the plan's; ``timezone`` None where the plan can't be used."""

    def __init__(self, name: str, notices: Notices, context: PlanContext | None = None) -> None:
        self.name = name
        self.notices = notices
        self._timezone = context.timezone if context else None
        self._mailer: Mailer | None = None

    @property
    def people(self) -> list[Way]:
        """Mail to each recipient, and the channels."""
        boxes = self.notices.mail.to if self.notices.mail else ()
        return [
            *(Way(f"mail → {box.address}", box.when, self._by_mail(box.address)) for box in boxes),
            *(Way(f"channel → {c.name}", c.when, _by_channel(c.url)) for c in self.notices.channels),
        ]

    def heartbeat(self, flow: str) -> list[Way]:
        """The outside switch for runs of ``flow``, where it has one."""
        address = self.notices.heartbeat_of(flow)
        return [_by_heartbeat(HEARTBEAT, address)] if address else []

    @property
    def heartbeats(self) -> list[Way]:
        """The outside switches of all flows, for a test."""
        heard = [(flow, address) for flow in FLOWS if (address := self.notices.heartbeat_of(flow))]
        return [_by_heartbeat(f"{HEARTBEAT} of the {flow}", address) for flow, address in heard]

    def start(self, flow: str) -> str:
        """Tell the same switch that a run begins; "" where there is none. Raises NoticeError."""
        address = self.notices.heartbeat_of(flow)
        return ping(_address(address), "start") if address else ""

    @property
    def looks(self) -> list[tuple[str, Callable[[], str]]]:
        """What can be looked at without telling anyone: (name, look); a look raises DatasaveError."""
        mail = self.notices.mail
        heard = [(flow, address) for flow in FLOWS if (address := self.notices.heartbeat_of(flow))]
        secret = mail.password or "" if mail else ""
        return [
            *([("mail server", _look(secret, lambda: self.mailer(mail).check()))] if mail else []),
            *((f"channel {c.name}", _look(c.url, partial(_service, c.url))) for c in self.notices.channels),
            *((f"heartbeat of the {flow}", _look(url, partial(_listener, url))) for flow, url in heard),
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

    def _by_mail(self, address: str) -> Callable[[Notice], str]:
        def tell(notice: Notice) -> str:
            if self.notices.mail is None:
                raise NoticeError("the plan names no mail server", permanent=True)
            return self.mailer(self.notices.mail).send(address, notice)

        return tell


@contextmanager
def switchboard(plan: Path) -> Iterator[Notifier]:
    """The ways of a plan; those of its ``notices`` alone where the rest of it is wrong. Raises PlanError."""
    try:
        loaded = load_plan(plan, KINDS)
        board = Notifier(loaded.name, loaded.notices, PlanContext(plan))
    except PlanError:
        board = Notifier(*notices_alone(plan))
    except DatasaveError:  # the state folder's: the plan itself is good
        board = Notifier(loaded.name, loaded.notices)
    try:
        yield board
    finally:
        board.close()


def tell_everyone(board: Notifier, facts: RunReport, teller: Teller) -> RunReport:
    """Tell all who are to be told; the facts with how that went, FAILED where someone could not be."""
    notice = board.notice(facts)
    bad = notice.word != "OK"
    people = [way for way in board.people if bad or (facts.flow in FLOWS and way.when == "always")]
    done = teller(people, notice)
    done += teller(board.heartbeat(facts.flow), board.notice(amended(facts, done)))
    unreachable = {notified.way for notified in done if not notified.told}
    if unreachable:
        reached = [way for way in board.people if way.name not in unreachable]
        done += teller(reached, board.notice(amended(facts, done)))
    return amended(facts, done)


def tell_plainly(ways: Sequence[Way], notice: Notice) -> list[Notified]:
    """One try for each, one after the other."""
    return [outcome_of(way, lambda way=way: way.tell(notice)) for way in ways]  # type: ignore[misc]


def outcome_of(way: Way, tell: Callable[[], str]) -> Notified:
    """How telling went. What was not foreseen is named by its class: its text might hold a secret."""
    try:
        return Notified(way=way.name, told=True, detail=tell())
    except DatasaveError as error:
        return Notified(way=way.name, told=False, detail=str(error))
    except Exception as error:  # noqa: BLE001 - the other ways must be tried all the same
        return Notified(way=way.name, told=False, detail=f"unexpected {type(error).__name__}")


def amended(facts: RunReport, done: Sequence[Notified]) -> RunReport:
    """The facts of a run with how telling it went. Someone who could not be told makes the run fail."""
    unreachable = {notified.way: notified.detail for notified in done if not notified.told}
    heard = dict.fromkeys(notified.way for notified in done if notified.way not in unreachable)
    if not unreachable:
        return facts.model_copy(update={"notices": (*facts.notices, *done)})
    causes = "; ".join(f"{_who(way)} could not be told: {detail}" for way, detail in unreachable.items())
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


def _names(ways: dict[str, str]) -> str:
    return ", ".join(map(_who, ways))


def _who(way: str) -> str:
    return way.rpartition("→ ")[2] if "→" in way else f"the {way}"


def _by_channel(url: str) -> Callable[[Notice], str]:
    return lambda notice: channels.send(secret_of(url), notice)


def _by_heartbeat(name: str, address: str) -> Way:
    return Way(name, "always", lambda notice: ping(_address(address), beat_of(notice)))


def _look(reference: str, look: Callable[[], str]) -> Callable[[], str]:
    if reference.startswith("prefect:"):
        return lambda: f"{reference}: known to the Prefect server only, not looked at"
    return look


def _service(reference: str) -> str:
    return f"an address for {channels.check(secret_of(reference))}; not told anything"


def _listener(text: str) -> str:
    return f"{host_of(_address(text))}; not told anything, or it would take that for a run"


def _address(text: str) -> str:
    return secret_of(text) if REFERENCE_PATTERN.fullmatch(text) else text
