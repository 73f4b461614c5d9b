"""Scratch databases: a backup restored under a name of its own, beside everything else, and dropped again.

Never REPLACE, and every file moved into the backup folder: whatever is on that server stays as it is.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.errors import DatasaveError, SourceError
from tasks.platform.files import write_atomic
from tasks.sources.sqlserver.connection import Row, ServerLogin, bracketed, literal, query, run_to_end
from tasks.sources.sqlserver.copy import ExchangeFolder
from tasks.sources.sqlserver.errors import SqlError, failure

SCRATCH_NAME = re.compile(r"datasave_scratch_[0-9a-f]{16}")
_NOTE = "sqlserver-scratch.json"
_STALE_HOURS = 24
_SUFFIXES = {"D": ".mdf", "L": ".ldf", "F": ".ft"}
_NO_ACCESS_HINT = (
    "The server gives the restored database to its old owner: name an instance in `scratch_server` on which "
    "this login is an administrator, such as a SQL Server Express of its own."
)


@dataclass(frozen=True)
class ScratchServer:
    """Where scratch databases are made: a server, and the folder that it shares with Datasave."""

    login: ServerLogin
    exchange: ExchangeFolder

    def restore(self, backup: Path) -> str:
        """Restore ``backup`` as a new scratch database, read-only; its name. Drops it if anything fails.

        Raises SqlError or SourceError.
        """
        name = f"datasave_scratch_{secrets.token_hex(8)}"
        try:
            with self.exchange.placed(backup) as device, self.login.connect() as connection:
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
        """RESTORE DATABASE with each file moved to a name of its own in the exchange folder."""
        moves = []
        for number, file in enumerate(files, 1):
            suffix = _SUFFIXES.get(str(file["Type"]).strip(), "")
            target = self.exchange.server_path(f"{name}_{number}{suffix}")
            moves.append(f"MOVE {literal(str(file['LogicalName']))} TO {literal(target)}")
        return (
            f"RESTORE DATABASE {bracketed(name)} FROM DISK = {literal(device)} "
            f"WITH {', '.join(moves)}, CHECKSUM, STATS = 5"
        )

    def _require_access(self, connection: Any, name: str) -> None:
        if not query(connection, f"SELECT HAS_DBACCESS({literal(name)}) AS allowed")[0]["allowed"]:
            raise SourceError(
                f"the login may not open the scratch database that it restored on {self.login.address}",
                hint=_NO_ACCESS_HINT,
            )

    def exists(self, name: str) -> bool:
        """Whether a scratch database is there. Raises SqlError."""
        with self.login.connect() as connection:
            return bool(_databases(connection, f"WHERE name = {literal(name)}"))

    def drop(self, name: str) -> None:
        """Drop a scratch database, whoever is in it, and its files. Raises SourceError."""
        if not SCRATCH_NAME.fullmatch(name):
            raise SourceError("refused to drop a database that is no scratch database of Datasave")
        try:
            with self.login.connect() as connection:
                if _databases(connection, f"WHERE name = {literal(name)}"):
                    # Not possible, and not needed, where its restore was broken off.
                    with suppress(SqlError):
                        change = "SET SINGLE_USER WITH ROLLBACK IMMEDIATE"
                        run_to_end(connection, f"ALTER DATABASE {bracketed(name)} {change}")
                    run_to_end(connection, f"DROP DATABASE {bracketed(name)}")
                if _databases(connection, f"WHERE name = {literal(name)}"):
                    raise SourceError(
                        f"the scratch database {name} is still on {self.login.address}",
                        hint="Drop it: it holds patients' data.",
                    )
        except SqlError as error:
            raise failure(f"cannot drop the scratch database {name} on {self.login.address}", error) from None
        self._remove_files_of(name)

    def sweep(self) -> None:
        """Drop scratch databases that a crash left, a day old or older, that nobody is in.

        Ours are those with our kind of name and every file in our folder under that name. What cannot be
        dropped now is left for the next time.
        """
        with suppress(SqlError), self.login.connect() as connection:
            for name in _databases(
                connection, f"WHERE DATEDIFF(hour, create_date, GETDATE()) >= {_STALE_HOURS}"
            ):
                if SCRATCH_NAME.fullmatch(name) and self._lies_here(connection, name):
                    run_to_end(connection, f"DROP DATABASE {bracketed(name)}")
                    self._remove_files_of(name)

    def _remove_files_of(self, name: str) -> None:
        """Remove what a dropped scratch database left: the server keeps files of one it could not open."""
        for file in self.exchange.here.glob(f"{name}_*"):
            with suppress(OSError):
                file.unlink()

    def _lies_here(self, connection: Any, name: str) -> bool:
        rows = query(
            connection,
            f"SELECT physical_name FROM sys.master_files WHERE database_id = DB_ID({literal(name)})",  # noqa: S608 - quoted
        )
        ours = self.exchange.server_path(f"{name}_").lower()
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
