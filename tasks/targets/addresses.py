"""A place with backups as an address, both ways.

``open_place`` opens what a person types on a machine that knows nothing: ``/media/usb``, ``E:\\``;
``s3://bucket/prefix``; ``sftp://user@host:port/path``; ``smb://user@server/share/path``. ``rescue_words``
writes a plan's target that way, to be printed for such a day. No password ever stands in an address: whoever
looks at the list of processes would see it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TypeVar
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.parse import quote as escaped

import pydantic

from tasks.errors import PlanError
from tasks.options import Options
from tasks.targets.base import Target
from tasks.targets.folder.target import FolderOptions
from tasks.targets.s3.options import S3Options
from tasks.targets.s3.target import S3Target
from tasks.targets.sftp.options import SftpOptions
from tasks.targets.sftp.target import SftpRemote
from tasks.targets.smb.options import SmbOptions
from tasks.targets.smb.target import SmbRemote
from tasks.targets.unmarked import UnmarkedFolder, UnmarkedRemote

Model = TypeVar("Model", bound=Options)

FORMS = "a path, s3://bucket/prefix, sftp://user@host/path, or smb://user@server/share/path"
SSH_PORT, SMB_PORT = 22, 445


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


def needs_password(address: str, access: Access) -> bool:
    """Whether a password must be asked for before the place can be opened."""
    scheme = address.partition("://")[0] if "://" in address else ""
    return access.password is None and (scheme == "smb" or (scheme == "sftp" and access.key is None))


def open_place(address: str, access: Access) -> Target:
    """The place at ``address``, to be read only. Nothing is touched until it is used.

    Raises PlanError for an address that leads nowhere.
    """
    if "://" not in address:
        return UnmarkedFolder(Path(address).expanduser().absolute())
    parts = urlsplit(address)
    makers = {"s3": _bucket, "sftp": _sftp, "smb": _share, "file": _local}
    if parts.password:
        raise PlanError(
            "a password does not belong into an address: it can be read in the list of processes",
            hint="Leave it out and type it when asked, or say where it is: --password env:NAME or file:PATH.",
        )
    if parts.scheme not in makers:
        raise _wrong(address, f"{parts.scheme}:// is no kind of place")
    try:
        return makers[parts.scheme](address, parts, access)
    except ValueError as error:
        raise _wrong(address, str(error)) from error


def _local(_address: str, parts: SplitResult, _access: Access) -> Target:
    return UnmarkedFolder(Path(unquote(parts.path)))


def _bucket(address: str, parts: SplitResult, access: Access) -> Target:
    options = _checked(
        S3Options,
        address,
        bucket=parts.netloc,
        prefix=unquote(parts.path),
        endpoint=access.endpoint,
        region=access.region,
        ca_bundle=access.ca_bundle,
    )
    return S3Target(address, options)


def _sftp(address: str, parts: SplitResult, access: Access) -> Target:
    path = unquote(parts.path) or "."
    # As curl and others have it: "/~/x" is below the account's home folder.
    path = path.removeprefix("/~/") if path.startswith("/~/") else path
    options = _checked(
        SftpOptions,
        address,
        host=parts.hostname,
        port=parts.port or SSH_PORT,
        user=unquote(parts.username or ""),
        path=path,
        **_server_key(access),
        key=access.key,
        password=access.password,
    )
    return UnmarkedRemote(address, SftpRemote(address, options))


def _server_key(access: Access) -> dict[str, object]:
    """By what the server is known: as told, or by this account's known_hosts, or by nothing at all, and
    then the connection is refused with the fingerprint that the server shows.
    """
    if access.host_key is not None:
        return {"host_key": access.host_key}
    usual = Path("~/.ssh/known_hosts").expanduser()
    known = access.known_hosts or (usual if usual.is_file() else Path(os.devnull))
    return {"known_hosts": known}


def _share(address: str, parts: SplitResult, access: Access) -> Target:
    share, _, path = unquote(parts.path).strip("/").partition("/")
    options = _checked(
        SmbOptions,
        address,
        server=parts.hostname,
        port=parts.port or SMB_PORT,
        share=share,
        path=path,
        user=unquote(parts.username or ""),
        password=access.password,
        domain=access.domain,
    )
    return UnmarkedRemote(address, SmbRemote(options))


def _checked(model: type[Model], address: str, **options: object) -> Model:
    """The options, checked as those of a plan are. Raises PlanError naming what is wrong."""
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return model.model_validate(given)
    except pydantic.ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in problem["loc"])
        message = f"{place}: {problem['msg']}" if place else problem["msg"]
    # Outside: pydantic's error holds the values, and must not travel on as the cause.
    raise _wrong(address, message)


def _wrong(address: str, cause: str) -> PlanError:
    shown = address.partition("?")[0]
    return PlanError(f"cannot use the address {shown}: {cause}", hint=f"Give {FORMS}.")


def rescue_words(options: Options) -> tuple[str, ...]:
    """The words after ``datasave rescue`` that lead to a target of a plan, each ready for a shell.

    None for drives: those are looked for. Nothing secret. What is only known on the machine of the plan
    (files with keys and certificates) is left out; the command asks, or says what is missing.
    """
    match options:
        case FolderOptions():
            return (quote(str(options.path)),)
        case S3Options():
            address = f"s3://{options.bucket}/{escaped(options.prefix)}".rstrip("/")
            return (
                quote(address),
                *_option("--endpoint", options.endpoint),
                *_option("--region", options.region),
            )
        case SftpOptions():
            port = f":{options.port}" if options.port != SSH_PORT else ""
            path = options.path if options.path.startswith("/") else f"/~/{options.path}"
            address = f"sftp://{escaped(options.user)}@{options.host}{port}{escaped(path, safe='/~')}"
            return (quote(address), *_option("--host-key", options.host_key))
        case SmbOptions():
            port = f":{options.port}" if options.port != SMB_PORT else ""
            folder = f"{options.share}/{options.path}".rstrip("/")
            address = f"smb://{escaped(options.user)}@{options.server}{port}/{escaped(folder)}"
            return (quote(address), *_option("--domain", options.domain))
        case _:
            return ()


def access_needed(options: Options) -> str:
    """What a person must have at hand to reach the target from another machine; "" where nothing."""
    match options:
        case S3Options():
            return "Have the bucket's reading key at hand: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        case SftpOptions():
            return f"Have the password of {options.user} at hand, or its SSH key (--key FILE)."
        case SmbOptions():
            return f"Have the password of {options.user} at hand."
        case _:
            return ""


def _option(name: str, value: str | None) -> tuple[str, ...]:
    return (f"{name} {quote(value)}",) if value else ()
