"""Who could steer this process through a file that it relies on: its owner, who may write to it, its folders.

As ssh asks of its own files. Windows has no such bits: a file there has the rights of its folder.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_acting: list[int] = []


@contextmanager
def acting_for(path: Path) -> Iterator[None]:
    """Judge files for the account that owns ``path`` while the block lasts: what it relies on, not root."""
    if sys.platform == "win32":
        yield
        return
    _acting.append(path.stat().st_uid)
    try:
        yield
    finally:
        _acting.pop()


def foreign(info: os.stat_result) -> str:
    """Whose a file is, in words, where it is neither this account's nor root's; else ""."""
    if sys.platform == "win32" or info.st_uid in (_own_account(), 0):
        return ""
    return f"it belongs to {_account(info.st_uid)}"


def steered(info: os.stat_result) -> str:
    """Why others could change a file, in words; "" where they can't."""
    if whose := foreign(info):
        return whose
    if sys.platform != "win32" and info.st_mode & _OTHERS_WRITE:
        return f"others can write to it (mode {stat.S_IMODE(info.st_mode):04o})"
    return ""


def replaceable(path: Path) -> str:
    """Why others could put something else in a file's place, naming the folder; "" where they can't.

    Raises OSError where a folder cannot be looked at.
    """
    if sys.platform == "win32":
        return ""
    for folder in dict.fromkeys((*path.absolute().parents, *path.resolve().parents)):
        if cause := _open_folder(folder):
            return f"{cause}: {folder}"
    return ""


def taken_over(path: Path) -> str:
    """Why a folder that is to be private is not this account's own; "" where it is. Raises OSError."""
    info = path.lstat()
    if stat.S_ISLNK(info.st_mode):
        return "it is a link"
    if sys.platform != "win32" and info.st_uid != _own_account():
        return f"it belongs to {_account(info.st_uid)}"
    return ""


def _open_folder(folder: Path) -> str:
    try:
        info = folder.stat()
    except FileNotFoundError:
        return ""  # made by this account when it is needed
    if foreign(info):
        return f"a folder that it lies in belongs to {_account(info.st_uid)}"
    # In a sticky folder (/tmp) nobody moves what is another's.
    shared = info.st_mode & stat.S_IWOTH or (info.st_mode & stat.S_IWGRP and not _private_group(info))
    if shared and not info.st_mode & stat.S_ISVTX:
        return f"others can write to a folder that it lies in (mode {stat.S_IMODE(info.st_mode):04o})"
    return ""


def _private_group(info: os.stat_result) -> bool:
    """Whether nobody but a folder's owner and root is of its group: each account may have its own."""
    if sys.platform == "win32":
        return True
    import grp
    import pwd

    if info.st_gid == 0:
        return True
    try:
        owner, group = pwd.getpwuid(info.st_uid), grp.getgrgid(info.st_gid)
    except KeyError:
        return False
    members = {*group.gr_mem, *(one.pw_name for one in pwd.getpwall() if one.pw_gid == info.st_gid)}
    return members <= {owner.pw_name, "root"}


def _own_account() -> int:
    if sys.platform == "win32":
        return 0
    return _acting[-1] if _acting else os.geteuid()


def _account(number: int) -> str:
    if sys.platform != "win32":
        import pwd

        try:
            return pwd.getpwuid(number).pw_name
        except KeyError:
            pass
    return f"account {number}"
