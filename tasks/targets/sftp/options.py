"""How a folder on an SSH server stands in the plan: the options of the SFTP target."""

from __future__ import annotations

import binascii
import os
from base64 import b64decode
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal
from urllib.parse import SplitResult, unquote
from urllib.parse import quote as escaped

from pydantic import AfterValidator, Field, model_validator

from tasks.options import Place, problem
from tasks.platform.secrets import SecretReference
from tasks.targets.base import TargetOptions
from tasks.targets.shared.addresses import Access, checked, option, server_name

PORT = 22
_KEY_HINT = (
    "Copy the line from the server itself, for example from /etc/ssh/ssh_host_ed25519_key.pub: "
    "ssh-ed25519 AAAA…"
)


def _public_key(value: str) -> str:
    """An OpenSSH public key, "type base64 comment": the base64 names the type once more (RFC 4253, 6.6)."""
    words = value.split()
    try:
        blob = b64decode(words[1], validate=True)
    except (IndexError, binascii.Error, ValueError):
        raise problem("is not a server's public key", hint=_KEY_HINT) from None
    named = words[0].encode()
    if not blob.startswith(len(named).to_bytes(4, "big") + named):
        raise problem("is not a server's public key: type and contents differ", hint=_KEY_HINT)
    return f"{words[0]} {words[1]}"


class SftpOptions(TargetOptions):
    """How an SFTP target stands in the plan."""

    kind: Literal["sftp"] = Field("sftp", description="a folder on an SSH server (SFTP)")
    host: str = Field(
        min_length=1,
        pattern=r"^[^\s/@]+$",
        description="the server's name or address",
        examples=["nas.office"],
    )
    port: int = Field(PORT, ge=1, le=65_535, description="The server's SSH port.")
    user: str = Field(min_length=1, description="the account on the server", examples=["datasave"])
    path: str = Field(
        min_length=1,
        description="the folder on the server, made ready once by `datasave target init`. Without a slash "
        "in front it is below the account's home folder",
        examples=["/volume1/datasave"],
    )
    host_key: Annotated[str, AfterValidator(_public_key)] | None = Field(
        None,
        description="The server's public key, by which we know that it is the right server. Either this or "
        "`known_hosts`.",
        examples=["ssh-ed25519 AAAA…"],
    )
    known_hosts: Path | None = Field(
        None,
        description="Or a file in OpenSSH's known_hosts format that holds the server's key.",
        examples=["/etc/datasave/known_hosts"],
    )
    key: Path | None = Field(
        None,
        description="The file with our private key; its public half is in the account's authorized_keys on "
        "the server. Either this or `password`.",
        examples=["/etc/datasave/id_ed25519"],
    )
    key_passphrase: SecretReference | None = Field(
        None,
        description="Where the private key's passphrase is found: env:NAME, file:path or prefect:name.",
        examples=["env:SFTP_PASSPHRASE"],
    )
    password: SecretReference | None = Field(
        None,
        description="Where the account's password is found: env:NAME, file:path or prefect:name. A key "
        "is better.",
        examples=["env:SFTP_PASSWORD"],
    )
    timeout: int = Field(60, ge=1, le=3600, description="Seconds without a sign of life until we give up.")

    @model_validator(mode="after")
    def _options_go_together(self) -> SftpOptions:
        if (self.host_key is None) == (self.known_hosts is None):
            raise problem("needs the server's key: either `host_key` or `known_hosts`", hint=_KEY_HINT)
        if self.key is None and self.password is None:
            raise problem("needs either `key` or `password`")
        if self.key_passphrase is not None and self.key is None:
            raise problem("key_passphrase belongs to `key`, which is missing")
        return self

    @property
    def place(self) -> Place:
        """The folder as this account sees it: another account may be shut into a part of the server."""
        path = self.path if self.path.startswith("/") else f"~/{self.path}"
        return Place(f"sftp {self.user}@{server_name(self.host)}:{self.port}", path)

    @classmethod
    def from_address(cls, address: str, parts: SplitResult, access: Access) -> SftpOptions:
        """See shared.addresses: sftp://user@host:port/path."""
        path = unquote(parts.path) or "."
        # As curl and others have it: "/~/x" is below the account's home folder.
        path = path.removeprefix("/~/") if path.startswith("/~/") else path
        return checked(
            cls,
            address,
            host=parts.hostname,
            port=parts.port,
            user=unquote(parts.username or ""),
            path=path,
            **_server_key(access),
            key=access.key,
            password=access.password,
        )

    @classmethod
    def needs_password(cls, access: Access) -> bool:
        """See shared.addresses."""
        return access.password is None and access.key is None

    def rescue_words(self) -> tuple[str, ...]:
        """See shared.addresses."""
        port = f":{self.port}" if self.port != PORT else ""
        path = self.path if self.path.startswith("/") else f"/~/{self.path}"
        address = f"sftp://{escaped(self.user)}@{self.host}{port}{escaped(path, safe='/~')}"
        return quote(address), *option("--host-key", self.host_key)

    def access_needed(self) -> str:
        """See shared.addresses."""
        return f"Have the password of {self.user} at hand, or its SSH key (--key FILE)."


def _server_key(access: Access) -> dict[str, object]:
    """By what the server is known: as told, or by this account's known_hosts, or by nothing at all, and
    then the connection is refused with the fingerprint that the server shows.
    """
    if access.host_key is not None:
        return {"host_key": access.host_key}
    usual = Path("~/.ssh/known_hosts").expanduser()
    known = access.known_hosts or (usual if usual.is_file() else Path(os.devnull))
    return {"known_hosts": known}
