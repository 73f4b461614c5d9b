"""The folder that SQL Server writes to and Datasave reads: backups pass through it, and leave nothing there.

The server writes with its own account's rights into a folder of its own machine. What lies here is plain
patients' data, so each file is there no longer than the step that needs it, and what a crash left is removed
a day later.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import SourceError
from tasks.platform.files import BLOCK

SCRATCH_NAME = re.compile(r"datasave_scratch_[0-9a-f]{16}")
_LEFT_BEHIND = re.compile(r"datasave_[0-9a-f]{16}\.bak")
STALE_SECONDS = 24 * 3600
# The server's account reads what we put here through the folder's group.
_SHARED_FILE = 0o640


@dataclass(frozen=True)
class ExchangeFolder:
    """The folder as Datasave sees it (``here``) and as the server names it (``there``)."""

    here: Path
    there: str

    def server_path(self, name: str) -> str:
        """The server's path of a file in the folder, with its kind of separator."""
        separator = "\\" if "\\" in self.there or re.match(r"[A-Za-z]:", self.there) else "/"
        return self.there.rstrip("\\/") + separator + name

    @contextmanager
    def reserved(self) -> Iterator[str]:
        """A new name for a backup in the folder; whatever is there under it at the end is removed.

        Raises SourceError where it cannot be.
        """
        name = f"datasave_{secrets.token_hex(8)}.bak"
        try:
            yield name
        except BaseException:
            # What went wrong matters more; `sweep` tries again.
            with suppress(OSError):
                (self.here / name).unlink(missing_ok=True)
            raise
        try:
            (self.here / name).unlink(missing_ok=True)
        except OSError as error:
            raise SourceError(
                f"cannot remove {name} from {self.here}: {error.strerror}",
                hint="It holds the database in plain: delete it, and let Datasave delete files there.",
            ) from error

    @contextmanager
    def placed(self, backup: Path) -> Iterator[str]:
        """A copy of ``backup`` where the server can read it, for the block: its path for the server.

        Raises SourceError where the folder cannot take it.
        """
        with self.reserved() as name:
            try:
                _share(backup, self.here / name)
            except OSError as error:
                raise SourceError(
                    f"cannot put the backup into {self.here}: {error.strerror}",
                    hint="Check that the folder of `backup_folder` is there, has room and can be written to.",
                ) from error
            yield self.server_path(name)

    def sweep(self) -> None:
        """Remove backups that a crash left here, a day old or older."""
        with suppress(OSError):
            for file in self.here.iterdir():
                if _LEFT_BEHIND.fullmatch(file.name) and _is_stale(file):
                    file.unlink(missing_ok=True)

    def remove_files_of(self, scratch: str) -> None:
        """Remove what a dropped scratch database left: the server keeps files of one it could not open."""
        if SCRATCH_NAME.fullmatch(scratch):
            for file in self.here.glob(f"{scratch}_*"):
                with suppress(OSError):
                    file.unlink()


def _is_stale(file: Path) -> bool:
    return time.time() - file.stat().st_mtime > STALE_SECONDS


def _share(backup: Path, target: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    with backup.open("rb", buffering=0) as stream, os.fdopen(os.open(target, flags, 0o600), "wb") as out:
        if os.name == "posix":
            with suppress(PermissionError):
                os.chown(out.fileno(), -1, target.parent.stat().st_gid)
            os.fchmod(out.fileno(), _SHARED_FILE)
        while block := stream.read(BLOCK):
            out.write(block)
