"""BACKUP DATABASE … WITH COPY_ONLY, CHECKSUM into the folder between, and from there into the copy."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.errors import CopyError, SourceError, SourceMissing
from tasks.platform.files import BLOCK, create_private, sha256_of, write_atomic
from tasks.records import CopiedFile, Progress
from tasks.sources.sqlserver.check import State
from tasks.sources.sqlserver.connection import Server, bracketed, literal, query, run_to_end, unusable
from tasks.sources.sqlserver.errors import SqlFault
from tasks.sources.sqlserver.exchange import ExchangeFolder

BACKUP_NAME = "database.bak"
ABOUT_NAME = "about.json"


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
    server: Server,
    database: str,
    passage: ExchangeFolder,
    state: State,
    destination: Path,
    progress: Progress,
) -> tuple[CopiedFile, ...]:
    """Back the database up into ``destination``: the backup, and what is to be known about it.

    Nothing stays in the folder between. Raises CopyError, or SourceMissing where the database is gone.
    """
    passage.sweep()
    bar = _Bar(progress, state.used)
    target = destination / BACKUP_NAME
    try:
        with passage.reserved() as name:
            _run_backup(server, database, passage, name, bar)
            digest = _fetch(passage.here / name, target, bar)
    except SqlFault as fault:
        kind = SourceMissing if fault.has(911) else CopyError
        raise unusable(f"back up the database {database}", fault, kind) from None
    except OSError as error:
        target.unlink(missing_ok=True)
        raise CopyError(
            f"cannot copy the backup of {database} from {passage.here} to {destination}: {error.strerror}",
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


def _run_backup(server: Server, database: str, passage: ExchangeFolder, name: str, bar: _Bar) -> None:
    with ExitStack() as stack:
        working = stack.enter_context(server.connect())
        session = int(query(working, "SELECT @@SPID AS session")[0]["session"])
        watching = stack.enter_context(server.connect())
        file = passage.here / name

        def watch() -> None:
            bar.writing(percent_of(watching, session) / 100 or _share_of(file, bar.expected))

        run_to_end(working, backup_statement(database, passage.server_path(name)), watch)
    if not file.is_file():
        raise CopyError(
            f"the server backed {database} up, but {name} is not in {passage.here}",
            hint="`backup_folder` must be the folder that the server knows as `server_folder`, and that this "
            "account can read.",
            permanent=True,
        )


def percent_of(connection: Any, session: int) -> float:
    """How far the server says it is; 0 where the login lacks VIEW SERVER STATE to see other sessions."""
    asked = f"SELECT percent_complete AS done FROM sys.dm_exec_requests WHERE session_id = {session}"  # noqa: S608 - a number
    try:
        rows = query(connection, asked)
    except SqlFault:
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


def _write_about(file: Path, database: str, state: State) -> CopiedFile:
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
    return CopiedFile(path=file.name, bytes=file.stat().st_size, sha256=sha256_of(file))


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
