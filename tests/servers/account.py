"""An account that only a server under test knows: it sees a passwd and a shadow of its own.

They are put over the system's in a mount namespace, which needs root; the system's stay as they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import mounts

USER, USER_ID = "keeper", 60123
PASSWORD = "not:so secret"


def make_account(folder: Path) -> None:
    """Write the files to a folder, which is the account's home."""
    hashed = mounts.run("openssl", "passwd", "-6", PASSWORD).strip()
    account = f"{USER}:x:{USER_ID}:{USER_ID}::{folder}:/bin/sh\n"
    (folder / "passwd").write_text(Path("/etc/passwd").read_text() + account)
    (folder / "shadow").touch(mode=0o600)
    (folder / "shadow").write_text(Path("/etc/shadow").read_text() + f"{USER}:{hashed}:19000:0:99999:7:::\n")


def knowing(folder: Path, *command: str) -> list[str]:
    """A command that sees the account; its process is the command's own."""
    script = 'mount --bind "$0/passwd" /etc/passwd && mount --bind "$0/shadow" /etc/shadow && exec "$@"'
    return ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script, str(folder), *command]


def own(path: Path) -> Path:
    """A new folder of the account."""
    path.mkdir(mode=0o755)
    os.chown(path, USER_ID, USER_ID)
    return path


@contextmanager
def another_account() -> Iterator[None]:
    """This process acts as an account without rights for the length of the block; needs root."""
    mounts.need()
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
