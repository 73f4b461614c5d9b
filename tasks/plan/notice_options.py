"""The plan's ``notices`` group: who is told how a run went, and over which channel."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tasks.options import is_this_machine, problem
from tasks.plan.fields import HolderName
from tasks.platform.secrets import REFERENCE, SecretReference, anchored_reference
from tasks.records import Record

# What every mail server takes as it is: ASCII, no quotes, no comments, nothing that could end a header line.
ADDRESS = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*"
HOST = r"[A-Za-z0-9._-]+|[0-9A-Fa-f:]+"
PORTS = {"starttls": 587, "tls": 465, "none": 25}

Occasion = Literal["always", "failures"]


def _address(value: str) -> str:
    if not re.fullmatch(ADDRESS, value):
        raise problem("is not a mail address, such as owner@office.example")
    return value


def _host(value: str) -> str:
    if not re.fullmatch(HOST, value):
        raise problem("is not the name of a server, such as smtp.office.example")
    return value


def _alone(value: object) -> object:
    return {"address": value} if isinstance(value, str) else value


def _web_address(value: str) -> str:
    """An address that may stand in the plan, or a reference to one that is secret."""
    if re.fullmatch(REFERENCE, value):
        return value
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or not value.isprintable():
        raise problem("is not a web address (https://…), nor a reference to a secret that holds one")
    if parts.username or parts.password:
        raise problem("holds a password", hint="Write the address as an env:, file: or prefect: reference.")
    return value


def _for_backups(value: object) -> object:
    return {"backup": value} if isinstance(value, str) else value


Address = Annotated[str, AfterValidator(_address)]
WebAddress = Annotated[str, AfterValidator(_web_address), AfterValidator(anchored_reference)]


class Mailbox(Record):
    """Someone who gets mail: an address, or one with ``when``."""

    address: Address = Field(description="The mail address.", examples=["owner@office.example"])
    when: Occasion = Field("always", description="`always`: after every run; `failures`: bad news only.")


Addressee = Annotated[Mailbox, BeforeValidator(_alone, json_schema_input_type=Mailbox | str)]


class Mail(Record):
    """Reports by mail, each recipient's in a transaction of its own."""

    to: tuple[Addressee, ...] = Field(
        min_length=1,
        description="Who gets mail: addresses, or {address: …, when: failures}. Name two at least: one of "
        "them is on holiday, ill, or has a full mailbox.",
        examples=[["owner@office.example", "manager@office.example"]],
    )
    server: Annotated[str, AfterValidator(_host)] = Field(
        description="The mail server that takes outgoing mail.", examples=["smtp.office.example"]
    )
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls",
        description="How the connection is encrypted. `none` only to a mail server on this machine itself.",
    )
    port: int = Field(
        default_factory=lambda options: PORTS[options.get("security", "starttls")],
        ge=1,
        le=65535,
        description="Its port. Left out: 587 with starttls, 465 with tls.",
        examples=[587],
    )
    ca: Path | None = Field(
        None,
        description="The certificate (PEM) that vouches for the server, where it is the office's own. Left "
        "out: the authorities that this machine trusts.",
        examples=["/etc/ssl/office-ca.pem"],
    )
    user: str | None = Field(None, min_length=1, description="The account to log in with.")
    password: SecretReference | None = Field(
        None,
        description="Where its password is: env:NAME, file:path or prefect:name.",
        examples=["env:SMTP_PASSWORD"],
    )
    sender: Address | None = Field(
        None, description="The address that mails come from. Left out: `user`, where that is an address."
    )
    attach: bool = Field(
        True, description="Attach the report page. It names tables and counts, never a patient."
    )
    timeout: float = Field(30.0, gt=0, le=300, description="For how many seconds the server may say nothing.")

    @model_validator(mode="after")
    def _fits_together(self) -> Mail:
        if self.security == "none" and not is_this_machine(self.server):
            raise problem(
                "cannot be `none` for a server elsewhere: reports and passwords would travel in the clear",
                hint="Use starttls (port 587) or tls (port 465).",
                place="security",
            )
        if (self.user is None) != (self.password is None):
            raise problem("user and password go together", hint="Give both, or neither.")
        if len({box.address.casefold() for box in self.to}) < len(self.to):
            raise problem("names an address twice", place="to")
        if self.sender is None and not re.fullmatch(ADDRESS, self.user or ""):
            raise problem("is missing, and `user` is not a mail address", place="sender")
        return self

    @property
    def comes_from(self) -> str:
        """The sender's address."""
        return self.sender or self.user or ""


class ChannelOptions(Record):
    """Another way to tell people: a phone, a chat room; by the library apprise."""

    name: HolderName = Field(
        description="What this channel is called in reports.", examples=["manager's phone"]
    )
    url: SecretReference = Field(
        description="Where the channel's address is, as apprise writes it (https://github.com/caronc/apprise "
        "lists some hundred services). It holds tokens, so it is a reference: env:, file: or prefect:.",
        examples=["env:PHONE_URL"],
    )
    when: Occasion = Field("failures", description="`always`: after every run; `failures`: bad news only.")


class Heartbeats(Record):
    """Addresses outside the office, one a flow, that alarm when they hear nothing (a dead-man's switch)."""

    backup: WebAddress | None = Field(None, description="Told of each backup.")
    drill: WebAddress | None = Field(None, description="Told of each drill.")
    audit: WebAddress | None = Field(None, description="Told of each audit.")

    @property
    def in_the_clear(self) -> str:
        """The first of them that is written here and is told without encryption; "" where none is."""
        for flow in ("backup", "drill", "audit"):
            parts = urlsplit(self.of(flow) or "")
            if parts.scheme == "http" and not is_this_machine(parts.hostname or ""):
                return flow
        return ""

    def of(self, flow: str) -> str | None:
        """The address for a flow's runs, None where it has none."""
        return {"backup": self.backup, "drill": self.drill, "audit": self.audit}.get(flow)


class Notices(Record):
    """Who is told how runs went. Someone who can't be told makes the run fail, once all else is done."""

    mail: Mail | None = Field(
        None,
        description="Mail to each of some people, after backups, drills and audits; of other runs only "
        "where they failed. Further options: port, security (starttls, tls), ca, sender, attach, timeout; "
        "in place of an address {address: …, when: failures}. Left out: no mail.",
        examples=[
            {
                "to": ["owner@office.example", "manager@office.example"],
                "server": "smtp.office.example",
                "user": "datasave@office.example",
                "password": "env:SMTP_PASSWORD",
            }
        ],
    )
    channels: tuple[ChannelOptions, ...] = Field(
        (),
        description="Phones and chat rooms, by apprise. Their addresses hold tokens, so each is a reference "
        "to a secret. Told of failures, or of every run with `when: always`.",
        examples=[[{"name": "manager's phone", "url": "env:PHONE_URL"}]],
    )
    heartbeat: Annotated[
        Heartbeats | None, BeforeValidator(_for_backups, json_schema_input_type=Heartbeats | str | None)
    ] = Field(
        None,
        description="An address outside the office (healthchecks.io or the like) that is told when a "
        "backup begins (/start), is good, or failed (/fail), and that alarms when it hears nothing: the only "
        "notice that survives a dead machine. Or one a flow: {backup: …, drill: …, audit: …}.",
        examples=["https://hc-ping.com/your-own-id"],
    )

    def heartbeat_of(self, flow: str) -> str | None:
        """The outside address that is told of a flow's runs, None where there is none."""
        return self.heartbeat.of(flow) if self.heartbeat else None

    @model_validator(mode="after")
    def _names_differ(self) -> Notices:
        if len({channel.name.casefold() for channel in self.channels}) < len(self.channels):
            raise problem("two channels have the same name", place="channels")
        return self
