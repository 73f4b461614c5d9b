"""Scratch databases: a backup restored under a name of its own, beside everything else, and dropped again.

Never REPLACE, and every file moved into the backup folder: whatever is on that server stays as it is.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.errors import DatasaveError, SourceError
from tasks.platform.files import write_atomic
from tasks.sources.sqlserver.connection import Row, Server, bracketed, literal, query, run_to_end, unusable
from tasks.sources.sqlserver.errors import SqlFault
from tasks.sources.sqlserver.exchange import SCRATCH_NAME, ExchangeFolder

_NOTE = "sqlserver-scratch.json"
_STALE_HOURS = 24
_SUFFIXES = {"D": ".mdf", "L": ".ldf", "F": ".ft"}
_NO_ACCESS_HINT = (
    "The server gives the restored database to its old owner: name an instance in `scratch_server` on which "
    "this login is an administrator, such as a SQL Server Express of its own."
)


@dataclass(frozen=True)
class ScratchServer:
    """Where scratch databases are made: a server, and the folder it shares with Datasave."""

    server: Server
    passage: ExchangeFolder

    def restore(self, backup: Path) -> str:
        """Restore ``backup`` as a new scratch database, read-only; its name. Drops it if anything fails.

        Raises SqlFault or SourceError.
        """
        name = f"datasave_scratch_{secrets.token_hex(8)}"
        try:
            with self.passage.placed(backup) as device, self.server.connect() as connection:
                files = query(connection, f"RESTORE FILELISTONLY FROM DISK = {literal(device)}")
                run_to_end(connection, self.restore_statement(name, device, files))
                self._require_access(connection, name)
                # Nothing that reads a scratch database may ever write to one.
                change = "SET READ_ONLY WITH ROLLBACK IMMEDIATE"
                run_to_end(connection, f"ALTER DATABASE {bracketed(name)} {change}")
        except BaseException:
            # What went wrong matters more than what is left; the sweep of a later run tries again.
            with suppress(DatasaveError):
                self.drop(name)
            raise
        return name

    def restore_statement(self, name: str, device: str, files: list[Row]) -> str:
        """RESTORE DATABASE with each file moved to a name of its own in the folder between."""
        moves = []
        for number, file in enumerate(files, 1):
            suffix = _SUFFIXES.get(str(file["Type"]).strip(), "")
            target = self.passage.server_path(f"{name}_{number}{suffix}")
            moves.append(f"MOVE {literal(str(file['LogicalName']))} TO {literal(target)}")
        return (
            f"RESTORE DATABASE {bracketed(name)} FROM DISK = {literal(device)} "
            f"WITH {', '.join(moves)}, CHECKSUM, STATS = 5"
        )

    def _require_access(self, connection: Any, name: str) -> None:
        if not query(connection, f"SELECT HAS_DBACCESS({literal(name)}) AS allowed")[0]["allowed"]:
            raise SourceError(
                f"the login may not open the scratch database that it restored on {self.server.address}",
                hint=_NO_ACCESS_HINT,
            )

    def exists(self, name: str) -> bool:
        """Whether a scratch database is there. Raises SqlFault."""
        with self.server.connect() as connection:
            return bool(_databases(connection, f"WHERE name = {literal(name)}"))

    def drop(self, name: str) -> None:
        """Drop a scratch database, whoever is in it, and its files. Raises SourceError."""
        if not SCRATCH_NAME.fullmatch(name):
            raise SourceError("refused to drop a database that is no scratch database of Datasave")
        try:
            with self.server.connect() as connection:
                if _databases(connection, f"WHERE name = {literal(name)}"):
                    # Not possible, and not needed, where its restore was broken off.
                    with suppress(SqlFault):
                        change = "SET SINGLE_USER WITH ROLLBACK IMMEDIATE"
                        run_to_end(connection, f"ALTER DATABASE {bracketed(name)} {change}")
                    run_to_end(connection, f"DROP DATABASE {bracketed(name)}")
                if _databases(connection, f"WHERE name = {literal(name)}"):
                    raise SourceError(
                        f"the scratch database {name} is still on {self.server.address}",
                        hint="Drop it: it holds patients' data.",
                    )
        except SqlFault as fault:
            raise unusable(f"drop the scratch database {name} on {self.server.address}", fault) from None
        self.passage.remove_files_of(name)

    def sweep(self) -> None:
        """Drop scratch databases that a crash left, a day old or older, that nobody is in.

        Ours are those with our kind of name and every file in our folder under that name. What cannot be
        dropped now is left for the next time.
        """
        with suppress(SqlFault), self.server.connect() as connection:
            for name in _databases(
                connection, f"WHERE DATEDIFF(hour, create_date, GETDATE()) >= {_STALE_HOURS}"
            ):
                if SCRATCH_NAME.fullmatch(name) and self._lies_here(connection, name):
                    run_to_end(connection, f"DROP DATABASE {bracketed(name)}")
                    self.passage.remove_files_of(name)

    def _lies_here(self, connection: Any, name: str) -> bool:
        rows = query(
            connection,
            f"SELECT physical_name FROM sys.master_files WHERE database_id = DB_ID({literal(name)})",  # noqa: S608 - quoted
        )
        ours = self.passage.server_path(f"{name}_").lower()
        return bool(rows) and all(str(row["physical_name"]).lower().startswith(ours) for row in rows)

    @contextmanager
    def dropping(self, name: str) -> Iterator[None]:
        """Drop the scratch database at the end of the block. Raises SourceError where it cannot be."""
        try:
            yield
        except BaseException:
            with suppress(DatasaveError):
                self.drop(name)
            raise
        self.drop(name)


def leave_note(scratch: Path, name: str) -> None:
    """Tell ``open``, which is given the same folder, which database ``validate`` restored."""
    write_atomic(scratch / _NOTE, json.dumps({"database": name}).encode())


def take_note(scratch: Path) -> str:
    """The database that ``validate`` left, empty where it left none. The note is gone afterwards."""
    note = scratch / _NOTE
    try:
        name = str(json.loads(note.read_text("utf-8"))["database"])
        note.unlink()
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return name if SCRATCH_NAME.fullmatch(name) else ""


def _databases(connection: Any, where: str) -> list[str]:
    rows = query(connection, f"SELECT name FROM sys.databases {where}")  # noqa: S608 - quoted by the callers
    return [str(row["name"]) for row in rows]
