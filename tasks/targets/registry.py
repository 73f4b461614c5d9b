"""The kinds of target a plan can name, and the schemes of addresses: a line or two for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from tasks.errors import PlanError
from tasks.options import Options
from tasks.targets.base import Target
from tasks.targets.drive.target import DriveOptions, DriveTarget
from tasks.targets.folder.target import FolderOptions, FolderTarget
from tasks.targets.s3.options import S3Options
from tasks.targets.s3.target import S3Target
from tasks.targets.sftp.options import SftpOptions
from tasks.targets.sftp.target import SftpRemote, SftpTarget
from tasks.targets.shared.addresses import FORMS, Access, Addressed, wrong_address
from tasks.targets.shared.unmarked import UnmarkedFolder, UnmarkedRemote
from tasks.targets.smb.options import SmbOptions
from tasks.targets.smb.target import SmbRemote, SmbTarget

# kind -> its options model, and what makes the target from a name and those options.
_ADAPTERS: dict[str, tuple[type[Options], Callable[[str, Any], Target]]] = {
    "folder": (FolderOptions, FolderTarget),
    "drive": (DriveOptions, DriveTarget),
    "s3": (S3Options, S3Target),
    "sftp": (SftpOptions, SftpTarget),
    "smb": (SmbOptions, SmbTarget),
}


def option_models() -> dict[str, type[Options]]:
    """Options model of each kind, for reading and checking a plan."""
    return {kind: model for kind, (model, _) in _ADAPTERS.items()}


def make_target(name: str, options: Options) -> Target:
    """The target ``name`` of the plan, from its checked options. Nothing is touched until it is used."""
    _, make = _ADAPTERS[options.kind]
    return make(name, options)


# The beginning of an address -> the options that it gives, and what opens the place for reading only.
_SCHEMES: dict[str, tuple[type[Addressed], Callable[[str, Any], Target]]] = {
    "file": (FolderOptions, lambda _, options: UnmarkedFolder(options.path)),
    "s3": (S3Options, S3Target),
    "sftp": (SftpOptions, lambda address, options: UnmarkedRemote(address, SftpRemote(address, options))),
    "smb": (SmbOptions, lambda address, options: UnmarkedRemote(address, SmbRemote(options))),
}


def needs_password(address: str, access: Access) -> bool:
    """Whether a password must be asked for before the place can be opened. Raises PlanError."""
    return "://" in address and _SCHEMES[_parts(address).scheme][0].needs_password(access)


def open_place(address: str, access: Access) -> Target:
    """The place at ``address``, to be read only. Nothing is touched until it is used.

    Raises PlanError for an address that leads nowhere.
    """
    if "://" not in address:
        return UnmarkedFolder(Path(address).expanduser().absolute())
    parts = _parts(address)
    options, opened = _SCHEMES[parts.scheme]
    try:
        return opened(address, options.from_address(address, parts, access))
    except ValueError as error:
        raise wrong_address(address, str(error)) from error


def _parts(address: str) -> SplitResult:
    """The parts of an address of a known scheme. Raises PlanError; a password in it is never quoted."""
    try:
        parts = urlsplit(address)
    except ValueError as error:
        # What cannot be taken apart is not quoted either: there may be a password in it.
        raise PlanError("the address cannot be read", hint=f"Give {FORMS}.") from error
    if parts.password:
        raise PlanError(
            "a password does not belong into an address: it can be read in the list of processes",
            hint="Leave it out and type it when asked, or say where it is: --password env:NAME or file:PATH.",
        )
    if parts.scheme not in _SCHEMES:
        raise wrong_address(address, f"{parts.scheme}:// is not a known scheme")
    return parts
