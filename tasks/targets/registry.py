"""The kinds of target a plan can name, and the schemes of addresses: a line or two for each.

An adapter is imported when a plan or an address names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from tasks.errors import PlanError
from tasks.options import OptionModels, Options
from tasks.targets.base import Target
from tasks.targets.shared.addresses import FORMS, Access, Addressed, wrong_address
from tasks.targets.shared.unmarked import UnmarkedFolder, UnmarkedRemote

# kind -> how the names of its classes begin: <name>Options and <name>Target, in <kind>/target.py.
_ADAPTERS = {"folder": "Folder", "drive": "Drive", "s3": "S3", "sftp": "Sftp", "smb": "Smb"}


def _adapter(kind: str) -> tuple[type[Any], Callable[[str, Any], Target]]:
    module, name = import_module(f"{__package__}.{kind}.target"), _ADAPTERS[kind]
    return getattr(module, f"{name}Options"), getattr(module, f"{name}Target")


def option_models() -> Mapping[str, type[Options]]:
    """Options model of each kind, for reading and checking a plan."""
    return OptionModels(_ADAPTERS, lambda kind: _adapter(kind)[0])


def make_target(name: str, options: Options) -> Target:
    """The target ``name`` of the plan, from its checked options. Nothing is touched until it is used."""
    _, make = _adapter(options.kind)
    return make(name, options)


def _open_sftp(address: str, options: Any) -> Target:
    from tasks.targets.sftp.target import SftpRemote

    return UnmarkedRemote(address, SftpRemote(address, options))


def _open_smb(address: str, options: Any) -> Target:
    from tasks.targets.smb.target import SmbRemote

    return UnmarkedRemote(address, SmbRemote(options))


# The beginning of an address -> the kind whose options it gives, and what opens the place for reading only.
_SCHEMES: dict[str, tuple[str, Callable[[str, Any], Target]]] = {
    "file": ("folder", lambda _, options: UnmarkedFolder(options.path)),
    "s3": ("s3", make_target),
    "sftp": ("sftp", _open_sftp),
    "smb": ("smb", _open_smb),
}


def _scheme(name: str) -> tuple[type[Addressed], Callable[[str, Any], Target]]:
    kind, opened = _SCHEMES[name]
    return _adapter(kind)[0], opened


def needs_password(address: str, access: Access) -> bool:
    """Whether a password must be asked for before the place can be opened. Raises PlanError."""
    return "://" in address and _scheme(_parts(address).scheme)[0].needs_password(access)


def open_place(address: str, access: Access) -> Target:
    """The place at ``address``, to be read only. Nothing is touched until it is used.

    Raises PlanError for an address that leads nowhere.
    """
    if "://" not in address:
        return UnmarkedFolder(Path(address).expanduser().absolute())
    parts = _parts(address)
    options, opened = _scheme(parts.scheme)
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
