"""How a share that is not mounted stands in the plan: the options of the SMB target."""

from __future__ import annotations

from shlex import quote
from typing import Annotated, Literal
from urllib.parse import SplitResult, unquote
from urllib.parse import quote as escaped

from pydantic import AfterValidator, Field

from tasks.options import Place, is_this_machine, problem
from tasks.platform.secrets import SecretReference
from tasks.targets.base import TargetOptions
from tasks.targets.shared.addresses import Access, checked, option, server_name

PORT = 445
# What Windows takes in no name, and what would reach another place ([MS-FSCC] 2.1.5: a colon names a stream).
FORBIDDEN = frozenset('<>:"|?*') | {chr(code) for code in range(32)}


def usable(name: str) -> bool:
    """Whether a name, with forward slashes, can be used on a share."""
    return not FORBIDDEN & set(name) and not any(part.endswith((".", " ")) for part in name.split("/"))


def _folder(value: str) -> str:
    folder = value.replace("\\", "/").strip("/")
    if not usable(folder) or any(part in ("", "..") for part in folder.split("/") if folder):
        raise problem("is not a folder on a share, such as backups/datasave")
    return folder


class SmbOptions(TargetOptions):
    """How an SMB target stands in the plan."""

    kind: Literal["smb"] = Field(
        "smb", description="a Windows share (SMB) that is reached without mounting it"
    )
    server: str = Field(
        min_length=1,
        pattern=r"^[^\s/\\]+$",
        description="the server's name or address",
        examples=["nas.office"],
    )
    port: int = Field(PORT, ge=1, le=65_535, description="The server's SMB port.")
    share: str = Field(
        min_length=1, pattern=r'^[^/\\:*?"<>|]+$', description="the share's name", examples=["backups"]
    )
    path: Annotated[str, AfterValidator(_folder)] = Field(
        "",
        description="The folder on the share, made ready once by `datasave target init`. Left out: the share "
        "itself.",
        examples=["datasave"],
    )
    user: str = Field(min_length=1, description="the account that may write there", examples=["datasave"])
    domain: str | None = Field(
        None, min_length=1, description="The account's Windows domain, if it has one.", examples=["OFFICE"]
    )
    password: SecretReference = Field(
        description="where the account's password is found: env:NAME, file:path or prefect:name",
        examples=["env:SMB_PASSWORD"],
    )
    encrypt: bool = Field(
        True,
        description="Whether to insist on encryption on the way. Only servers older than SMB 3 lack it; "
        "messages are always signed.",
    )
    timeout: int = Field(60, ge=1, le=3600, description="Seconds without a sign of life until we give up.")

    @property
    def in_the_clear(self) -> str:
        """See Options.in_the_clear: messages are signed, and seen."""
        return "" if self.encrypt or is_this_machine(self.server) else "encrypt"

    @property
    def place(self) -> Place:
        """The folder on the share, whoever reaches it."""
        share = f"{server_name(self.server)}:{self.port}/{self.share.casefold()}"
        return Place(f"smb {share}", self.path, folds=True)

    @classmethod
    def from_address(cls, address: str, parts: SplitResult, access: Access) -> SmbOptions:
        """See shared.addresses: smb://user@server/share/path."""
        share, _, path = unquote(parts.path).strip("/").partition("/")
        return checked(
            cls,
            address,
            server=parts.hostname,
            port=parts.port,
            share=share,
            path=path,
            user=unquote(parts.username or ""),
            password=access.password,
            domain=access.domain,
        )

    @classmethod
    def needs_password(cls, access: Access) -> bool:
        """See shared.addresses."""
        return access.password is None

    def rescue_words(self) -> tuple[str, ...]:
        """See shared.addresses."""
        port = f":{self.port}" if self.port != PORT else ""
        folder = f"{self.share}/{self.path}".rstrip("/")
        address = f"smb://{escaped(self.user)}@{self.server}{port}/{escaped(folder)}"
        return quote(address), *option("--domain", self.domain)

    def access_needed(self) -> str:
        """See shared.addresses."""
        return f"Have the password of {self.user} at hand."
