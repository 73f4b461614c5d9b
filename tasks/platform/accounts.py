"""Who is at work: the account that this process runs under."""

from __future__ import annotations

import getpass
import os


def account_name() -> str:
    """The account's name on this machine; its number where the system has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's number without a name; ImportError on Windows
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"
