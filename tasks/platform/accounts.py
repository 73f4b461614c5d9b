"""Who is at work: the account that this process runs under."""

from __future__ import annotations

import getpass
import os
import sys


def account_name() -> str:
    """The account's name on this machine; its number where the system has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's number without a name; ImportError on Windows
        if sys.platform == "win32":
            return "unknown"
        return str(os.getuid())


def is_root() -> bool:
    """Whether this process may do anything on a POSIX system; never on Windows."""
    return sys.platform != "win32" and os.geteuid() == 0
