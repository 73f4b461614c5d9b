"""A place with backups as an address, both ways; what the services' own forms of it have in common.

An address is what a person types on a machine that knows nothing: ``/media/usb``, ``E:\\``;
``s3://bucket/prefix``; ``sftp://user@host:port/path``; ``smb://user@server/share/path``. The registry opens
it for reading. The other way round, ``rescue_words`` writes a plan's target like that, to be printed for such
a day. No password ever stands in an address: whoever looks at the list of processes would see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Protocol, Self, TypeVar, runtime_checkable
from urllib.parse import SplitResult

import pydantic

from tasks.errors import PlanError
from tasks.options import Options

Model = TypeVar("Model", bound=Options)

_THIS_MACHINE = {"localhost", "127.0.0.1", "::1", "[::1]"}
FORMS = "a path, s3://bucket/prefix, sftp://user@host/path, or smb://user@server/share/path"


@dataclass(frozen=True)
class Access:
    """How to reach a place, where its address alone does not say it; the options of ``datasave rescue``.

    Attributes:
        endpoint: s3: the service's address; without it, Amazon.
        region: s3: the bucket's region.
        ca_bundle: s3: certificates to trust.
        host_key: sftp: the server's public key, 'ssh-ed25519 AAAA…', or a file with it.
        known_hosts: sftp: a known_hosts file; without it, ~/.ssh/known_hosts.
        key: sftp: the file with the private SSH key.
        password: sftp, smb: where the password is, env:NAME or file:PATH; without it, it is asked.
        domain: smb: the account's Windows domain.
    """

    endpoint: str | None = None
    region: str | None = None
    ca_bundle: Path | None = None
    host_key: str | None = None
    known_hosts: Path | None = None
    key: Path | None = None
    password: str | None = None
    domain: str | None = None


@runtime_checkable
class Addressed(Protocol):
    """Options of a target that has an address."""

    @classmethod
    def from_address(cls, address: str, parts: SplitResult, access: Access) -> Self:
        """The options that an address gives. Raises PlanError or ValueError where it leads nowhere."""

    @classmethod
    def needs_password(cls, access: Access) -> bool:
        """Whether a password must be asked for before the place can be opened."""

    def rescue_words(self) -> tuple[str, ...]:
        """As the function ``rescue_words``."""

    def access_needed(self) -> str:
        """As the function ``access_needed``."""


def server_name(host: str) -> str:
    """A server's name in one spelling. What else leads to the same server only the network knows."""
    name = host.casefold().rstrip(".")
    return "localhost" if name in _THIS_MACHINE else name


def rescue_words(options: Options) -> tuple[str, ...]:
    """The words after ``datasave rescue`` that lead to a target of a plan, each ready for a shell.

    None for drives: those are looked for. Nothing secret. What is only known on the machine of the plan
    (files with keys and certificates) is left out; the command asks, or says what is missing.
    """
    return options.rescue_words() if isinstance(options, Addressed) else ()


def access_needed(options: Options) -> str:
    """What a person must have at hand to reach the target from another machine; "" where nothing."""
    return options.access_needed() if isinstance(options, Addressed) else ""


def option(name: str, value: str | None) -> tuple[str, ...]:
    """An option of ``datasave rescue`` with its value, ready for a shell; nothing where it has none."""
    return (f"{name} {quote(value)}",) if value else ()


def checked(model: type[Model], address: str, **options: object) -> Model:
    """The options, checked as those of a plan are. Raises PlanError naming what is wrong."""
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return model.model_validate(given)
    except pydantic.ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in problem["loc"])
        message = f"{place}: {problem['msg']}" if place else problem["msg"]
    # Outside: pydantic's error holds the values, and must not travel on as the cause.
    raise wrong_address(address, message)


def wrong_address(address: str, cause: str) -> PlanError:
    """The error for an address that leads nowhere."""
    shown = address.partition("?")[0]
    return PlanError(f"cannot use the address {shown}: {cause}", hint=f"Give {FORMS}.")
