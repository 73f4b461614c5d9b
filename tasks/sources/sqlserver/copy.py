"""BACKUP DATABASE … WITH COPY_ONLY, CHECKSUM into the exchange folder, and from there into the copy.

SQL Server writes to the exchange folder with its own account's rights, on its own machine, and Datasave reads
it. What lies there is plain patients' data, so each file is there no longer than the step that needs it, and
what a crash left is removed a day later.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.errors import CopyError, SourceError
from tasks.platform.files import BLOCK, create_private, write_atomic
from tasks.records import CopiedFile, Progress
from tasks.sources.shared.folders import copied_file
from tasks.sources.sqlserver.check import DatabaseState
from tasks.sources.sqlserver.connection import ServerLogin, bracketed, literal, query, run_to_end
from tasks.sources.sqlserver.errors import SqlError, failure

BACKUP_NAME = "database.bak"
ABOUT_NAME = "about.json"
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


@dataclass
class _Bar:
    """Progress in bytes over both halves, the server's writing and our reading; it never runs backwards."""

    progress: Progress
    expected: int
    done: int = field(default=0)

    def writing(self, share: float) -> None:
        self._show(int(self.expected * min(share, 1.0)) // 2, self.expected)

    def reading(self, done: int, total: int) -> None:
        self._show((total + done) // 2, total)

    def _show(self, done: int, total: int) -> None:
        self.done = max(self.done, done)
        self.progress(min(self.done, total), total)


def back_up(
    login: ServerLogin,
    database: str,
    exchange: ExchangeFolder,
    state: DatabaseState,
    destination: Path,
    progress: Progress,
) -> tuple[CopiedFile, ...]:
    """Back the database up into ``destination``: the backup, and what is to be known about it.

    Nothing stays in the exchange folder. Raises CopyError, or SourceMissing where the database is gone.
    """
    exchange.sweep()
    bar = _Bar(progress, state.used)
    target = destination / BACKUP_NAME
    try:
        with exchange.reserved() as name:
            _run_backup(login, database, exchange, name, bar)
            digest = _fetch(exchange.here / name, target, bar)
    except SqlError as error:
        raise failure(f"cannot back up the database {database}", error, CopyError) from None
    except OSError as error:
        target.unlink(missing_ok=True)
        raise CopyError(
            f"cannot copy the backup of {database} from {exchange.here} to {destination}: {error.strerror}",
            hint="Let the account that runs Datasave read what the SQL Server service writes there, and "
            "check the free space of the staging folder.",
        ) from error
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    backup = CopiedFile(path=BACKUP_NAME, bytes=target.stat().st_size, sha256=digest)
    return backup, _write_about(destination / ABOUT_NAME, database, state)


def backup_statement(database: str, device: str) -> str:
    """The statement. COPY_ONLY: the practice's own differential backups go on as if there had been none.

    CHECKSUM: the server checks each page it reads, and the backup can be checked. NO_COMPRESSION: zstd comes
    later and does it better, and the size is known beforehand.
    """
    return (
        f"BACKUP DATABASE {bracketed(database)} TO DISK = {literal(device)} "
        "WITH COPY_ONLY, CHECKSUM, INIT, FORMAT, NO_COMPRESSION, STATS = 5"
    )


def _run_backup(login: ServerLogin, database: str, exchange: ExchangeFolder, name: str, bar: _Bar) -> None:
    with ExitStack() as stack:
        working = stack.enter_context(login.connect())
        session = int(query(working, "SELECT @@SPID AS session")[0]["session"])
        watching = stack.enter_context(login.connect())
        file = exchange.here / name

        def watch() -> None:
            bar.writing(percent_of(watching, session) / 100 or _share_of(file, bar.expected))

        run_to_end(working, backup_statement(database, exchange.server_path(name)), watch)
    if not file.is_file():
        raise CopyError(
            f"the server backed {database} up, but {name} is not in {exchange.here}",
            hint="`backup_folder` must be the folder that the server knows as `server_folder`, and that this "
            "account can read.",
            permanent=True,
        )


def percent_of(connection: Any, session: int) -> float:
    """How far the server says it is; 0 where the login lacks VIEW SERVER STATE to see other sessions."""
    asked = f"SELECT percent_complete AS done FROM sys.dm_exec_requests WHERE session_id = {session}"  # noqa: S608 - a number
    try:
        rows = query(connection, asked)
    except SqlError:
        return 0.0
    return float(rows[0]["done"] or 0) if rows else 0.0


def _share_of(file: Path, expected: int) -> float:
    try:
        return file.stat().st_size / expected if expected else 0.0
    except OSError:
        return 0.0


def _fetch(source: Path, target: Path, bar: _Bar) -> str:
    """Copy the server's file into one that is private from its first moment on; its sha256."""
    digest, total, done = hashlib.sha256(), source.stat().st_size, 0
    with source.open("rb", buffering=0) as stream, create_private(target) as out:
        while block := stream.read(BLOCK):
            out.write(block)
            digest.update(block)
            done += len(block)
            bar.reading(done, total)
    return digest.hexdigest()


def _write_about(file: Path, database: str, state: DatabaseState) -> CopiedFile:
    """For people without a server: which version the backup needs, and whose it is."""
    about = {
        "method": "BACKUP DATABASE WITH COPY_ONLY, CHECKSUM",
        "database": database,
        "server_version": state.version,
        "edition": state.edition,
        "recovery_model": state.recovery_model,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_atomic(file, json.dumps(about, indent=2, ensure_ascii=False).encode() + b"\n")
    return copied_file(file, file.parent)


def backup_in(copy: Path) -> Path:
    """The backup of a copy. Raises SourceError where there is none."""
    file = copy / BACKUP_NAME
    if not file.is_file():
        raise SourceError(f"the copy holds no {BACKUP_NAME}", hint="Restore it again from the archive.")
    return file


def recorded_database(copy: Path) -> str:
    """The name of the database that the copy says it is of; empty where it does not say."""
    try:
        return str(json.loads((copy / ABOUT_NAME).read_text("utf-8"))["database"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _is_stale(file: Path) -> bool:
    return time.time() - file.stat().st_mtime > STALE_SECONDS


def _share(backup: Path, target: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    with backup.open("rb", buffering=0) as stream, os.fdopen(os.open(target, flags, 0o600), "wb") as out:
        if sys.platform != "win32":
            with suppress(PermissionError):
                os.chown(out.fileno(), -1, target.parent.stat().st_gid)
            os.fchmod(out.fileno(), _SHARED_FILE)
        while block := stream.read(BLOCK):
            out.write(block)
