"""The kinds of target a plan can name. A new adapter is one package and one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.options import Options
from tasks.targets.base import Target
from tasks.targets.drive.target import DriveOptions, DriveTarget
from tasks.targets.folder.target import FolderOptions, FolderTarget
from tasks.targets.s3.options import S3Options
from tasks.targets.s3.target import S3Target
from tasks.targets.sftp.options import SftpOptions
from tasks.targets.sftp.target import SftpTarget
from tasks.targets.smb.options import SmbOptions
from tasks.targets.smb.target import SmbTarget

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
