"""Owners of files where the system has them: read for the index, given back by root alone."""

from __future__ import annotations

import os
import sys
from functools import lru_cache

from tasks.platform.accounts import is_root
from tasks.sources.files.index import Account, Entry


def owners_of(info: os.stat_result) -> tuple[Account | None, Account | None]:
    """User and group of a file, by name and number; None on Windows."""
    if sys.platform != "win32":
        return (_user(info.st_uid), info.st_uid), (_group(info.st_gid), info.st_gid)
    return None, None


def can_give() -> bool:
    """Whether this process may hand files to other users."""
    return is_root()


def give(path: str, entry: Entry) -> None:
    """Make the entry's owner that of ``path``, by name where this machine knows it, else by number.

    Raises OSError, where the file system has no owners.
    """
    if sys.platform != "win32" and entry.owner and entry.group:
        user, group = _user_number(*entry.owner), _group_number(*entry.group)
        os.chown(path, user, group, follow_symlinks=False)


if sys.platform != "win32":
    import grp
    import pwd

    @lru_cache(maxsize=4096)
    def _user(number: int) -> str:
        try:
            return pwd.getpwuid(number).pw_name
        except KeyError:
            return ""

    @lru_cache(maxsize=4096)
    def _group(number: int) -> str:
        try:
            return grp.getgrgid(number).gr_name
        except KeyError:
            return ""

    @lru_cache(maxsize=4096)
    def _user_number(name: str, number: int) -> int:
        try:
            return pwd.getpwnam(name).pw_uid if name else number
        except KeyError:
            return number

    @lru_cache(maxsize=4096)
    def _group_number(name: str, number: int) -> int:
        try:
            return grp.getgrnam(name).gr_gid if name else number
        except KeyError:
            return number
