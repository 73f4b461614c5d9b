"""One database of a running engine.

While it runs, the current state is in working files (SQLite in WAL mode, one for each owner; readers by ODBC
open them), and the database file on disk stays as of the last checkpoint. What was done since is in the
transaction log. Starting means: load the file, apply the log, checkpoint.
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.standins.sqlanywhere import catalog, container, redo
from tests.standins.sqlanywhere.codes import (
    BAD_DATA,
    COMMUNICATIONS,
    FATAL,
    GENERAL,
    LOG,
    NOT_A_DATABASE,
    Failure,
)
from tests.standins.sqlanywhere.container import Image
from tests.standins.sqlanywhere.redo import CHECKPOINT, COMMIT, ROLLBACK, STATEMENT, RedoLog

MAIN = "DBA"
Statements = list[tuple[str, list[Any]]]


@dataclass(frozen=True)
class StartOptions:
    """What stands after the database file in the engine's command line."""

    name: str
    spaces_folder: Path | None = None
    """-ds: where the dbspaces and the log are, instead of the places the file remembers."""
    read_only: bool = False
    force: bool = False
    apply: list[Path] | None = None
    """-a, -ad: the logs to apply, in the order given; afterwards the engine ends."""


@dataclass
class Database:
    path: Path
    work: Path
    options: StartOptions
    facts: dict[str, Any] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    """Owner → database file or dbspace on disk."""
    log: RedoLog | None = None
    open: dict[int, Statements] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Held for moments: the log's end, commits, what a checkpoint reads.
        self.lock = threading.RLock()
        # Held for the length of a backup: other backups, checkpoints, DDL, LOAD and TRUNCATE wait.
        self.backup_lock = threading.Lock()
        self.counts: dict[tuple[str, str], int] = {}
        self.closed = False

    # Starting

    def start(self) -> None:
        self._load()
        log = self._find_log()
        self._unfold()
        if self.options.apply is not None:
            self._apply_all(self.options.apply)
        elif log is not None:
            self._redo(log)
        self.log = log
        if self.options.read_only:
            self._refresh()
        elif self.options.apply is not None:
            self.open.clear()
            self._save(active=False)
        else:
            self._roll_back_rest()
            self.checkpoint()

    def _load(self) -> None:
        image = container.read(self.path)
        self.facts = image.facts
        self.images = {MAIN: image}
        self.files = {MAIN: self.path}
        for owner, remembered in self.facts["spaces"].items():
            path = self._moved(Path(remembered))
            space = container.read(path, "dbspace")
            if (space.facts["id"], space.facts["checkpoint"]) != (self.facts["id"], self.facts["checkpoint"]):
                raise Failure(BAD_DATA, f"The dbspace {path} does not belong to this state of {self.path}")
            self.images[owner] = space
            self.files[owner] = path

    def _moved(self, remembered: Path) -> Path:
        folder = self.options.spaces_folder
        return remembered if folder is None else folder / remembered.name

    def _find_log(self) -> RedoLog | None:
        """The live log, made where a database that was shut down in order has none."""
        path = self._moved(Path(self.facts["log"]))
        at, chain, active = self.facts["checkpoint"], self.facts["chain"], self.facts["active"]
        if self.options.apply is not None:
            return None
        if self.options.read_only:
            if active:
                raise Failure(GENERAL, f"{self.path} needs recovery: it cannot be started read-only")
            return None
        if not path.exists():
            if active and not self.options.force:
                raise Failure(LOG, f"Cannot open transaction log file -- {path} is missing")
            return RedoLog.create(path, self.facts["id"], at, chain)
        log = RedoLog(path)
        if self.options.force:
            path.unlink()
            return RedoLog.create(path, self.facts["id"], at, chain)
        if log.facts["id"] != self.facts["id"] or not log.fits(at, chain):
            raise Failure(LOG, f"The transaction log file {path} does not match {self.path}")
        return log

    def _unfold(self) -> None:
        """The working files, from the pages on disk as they are."""
        self.work.mkdir(mode=0o700, parents=True)
        for owner, image in self.images.items():
            self.working(owner).write_bytes(image.pages)
            try:
                plain = sqlite3.connect(self.working(owner))
                plain.execute("PRAGMA journal_mode = WAL")
                plain.execute("SELECT count(*) FROM sqlite_master").fetchone()
                plain.close()
            except sqlite3.DatabaseError as error:
                code = NOT_A_DATABASE if "not a database" in str(error) else FATAL
                raise Failure(code, f"*** ERROR *** {self.files[owner]}: {error}") from error
        catalog.create(self.working("SYS"))

    def working(self, owner: str) -> Path:
        return self.work / f"{owner}.sqlite"

    # Recovery

    def _redo(self, log: RedoLog) -> None:
        self._reopen()
        self._replay(log.after(self.facts["checkpoint"]))

    def _reopen(self) -> None:
        """Transactions that were under way at the checkpoint."""
        for number, statements in self.facts["open"].items():
            self.open[int(number)] = [redo.load_statement(text.encode()) for text in statements]

    def _apply_all(self, logs: Sequence[Path]) -> None:
        """Apply logs one after the other; what a log leaves open goes on in the next one."""
        self._reopen()
        at, chain = self.facts["checkpoint"], self.facts["chain"]
        for path in logs:
            log = RedoLog(path)
            if log.facts["id"] != self.facts["id"] or not log.fits(at, chain):
                raise Failure(LOG, f"Cannot apply {path}: it starts at {log.start}, the database is at {at}")
            self._replay(log.after(at))
            at, chain = log.end, log.chain
        self.facts["checkpoint"], self.facts["chain"] = at, chain

    def _replay(self, records: Sequence[redo.Record]) -> None:
        connection = self.connect()
        try:
            for record in records:
                number = record.transaction
                if record.kind == STATEMENT:
                    self.facts["next"] = max(self.facts["next"], number + 1)
                    self.open.setdefault(number, []).append(redo.load_statement(record.payload))
                elif record.kind == COMMIT:
                    self._commit(connection, self.open.pop(number, []))
                elif record.kind == ROLLBACK:
                    self.open.pop(number, None)
        except sqlite3.Error as error:
            raise Failure(FATAL, f"*** ERROR *** Assertion failed: 100904 recovery: {error}") from error
        finally:
            connection.close()

    def _commit(self, connection: sqlite3.Connection, statements: Statements) -> None:
        connection.execute("BEGIN")
        for sql, values in statements:
            if not self.procedure(sql):
                connection.execute(sql, values)
        connection.execute("COMMIT")

    def _roll_back_rest(self) -> None:
        assert self.log is not None
        for number in self.open:
            self.log.append(ROLLBACK, number)
        self.open.clear()

    # Running

    def connect(self, *, system: bool = True) -> sqlite3.Connection:
        """A connection that has each owner's tables under the owner's name, and SYS where asked for.

        Whoever holds a write transaction open must not have SYS in it: checkpoints write there.
        """
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, timeout=60)
        for owner in [*self.images, *(["SYS"] if system else [])]:
            connection.execute(f'ATTACH ? AS "{owner}"', (str(self.working(owner)),))
            connection.execute(f'PRAGMA "{owner}".synchronous = OFF')
        return connection

    def procedure(self, sql: str) -> bool:
        """Note a CREATE PROCEDURE, which SQLite does not know; False for anything else."""
        words = sql.replace('"', " ").replace(".", " ").replace("(", " ").split()
        if [word.upper() for word in words[:2]] != ["CREATE", "PROCEDURE"]:
            return False
        self.facts["procedures"].append({"owner": words[2], "name": words[3], "sql": sql})
        return True

    def checkpoint(self) -> None:
        """Write the current state to disk. The caller holds ``backup_lock`` where backups may run."""
        assert self.log is not None
        with self.lock:
            self.log.append(CHECKPOINT, 0, uuid.uuid4().hex.encode())
            self.facts["checkpoint"], self.facts["chain"] = self.log.end, self.log.chain
            self._save(active=True)

    def _save(self, *, active: bool) -> None:
        connection = self.connect()
        try:
            pages = {owner: connection.serialize(name=owner) for owner in self.images}
            self._count(connection)
        except sqlite3.Error as error:
            raise Failure(FATAL, f"*** ERROR *** Assertion failed: 200602 {error}") from error
        finally:
            connection.close()
        self.facts["active"] = active
        self.facts["open"] = {
            number: [redo.dump_statement(*statement).decode() for statement in statements]
            for number, statements in self.open.items()
        }
        for owner in reversed(list(self.images)):
            self._save_file(owner, pages[owner])
        self._refresh()

    def _save_file(self, owner: str, pages: bytes) -> None:
        old = self.images[owner]
        facts = self.facts if owner == MAIN else {**old.facts, "checkpoint": self.facts["checkpoint"]}
        new = Image({**facts, "checksums": old.checksums_of(pages)}, pages)
        container.write(self.files[owner], new)
        self.images[owner] = new

    def _count(self, connection: sqlite3.Connection) -> None:
        for owner in self.images:
            for table in self.tables(connection, owner):
                found = connection.execute(f'SELECT count(*) FROM "{owner}"."{table}"').fetchone()[0]
                self.counts[owner, table] = found

    @staticmethod
    def tables(connection: sqlite3.Connection, owner: str) -> list[str]:
        sql = f"SELECT name FROM \"{owner}\".sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        return [name for (name,) in connection.execute(sql)]

    def _refresh(self) -> None:
        connection = self.connect()
        try:
            catalog.refresh(connection, self.facts, self.files, self.properties(), self.counts)
        finally:
            connection.close()

    def refresh_catalog(self) -> None:
        with self.lock:
            self._refresh()

    def properties(self) -> dict[str, str]:
        """What DB_PROPERTY gives; CurrentRedoPos and the sizes are as of the last checkpoint."""
        image = self.images[MAIN]
        return {
            "Name": self.options.name,
            "Alias": self.options.name,
            "File": str(self.path),
            "LogName": str(self.log.path) if self.log else "",
            "PageSize": str(container.PAGE),
            "FileSize": str(len(image.pages) // container.PAGE),
            "Checksum": "On" if image.facts["checksums"] is not None else "Off",
            "CurrentRedoPos": str(self.log.end if self.log else self.facts["checkpoint"]),
            "CharSet": "UTF-8",
            "ReadOnly": "On" if self.options.read_only else "Off",
        }

    def begin(self) -> int:
        """The number of a new transaction."""
        with self.lock:
            number: int = self.facts["next"]
            self.facts["next"] += 1
            self.open[number] = []
        return number

    def note(self, kind: bytes, number: int, sql: str = "", values: Sequence[Any] = ()) -> None:
        """Put a step of a transaction into the log. Raises Failure 6 where the database is shut down."""
        if self.closed or self.log is None:
            raise Failure(COMMUNICATIONS, "The database was shut down")
        if kind != STATEMENT:
            self.open.pop(number, None)
            self.log.append(kind, number)
            return
        self.open[number].append((sql, list(values)))
        self.log.append(kind, number, redo.dump_statement(sql, list(values)))

    def stop(self) -> None:
        """Shut down in order: everything on disk, no recovery needed next time."""
        with self.lock:
            self.closed = True
            if self.log is not None:
                self._roll_back_rest()
                self.log.append(CHECKPOINT, 0, b"shutdown")
                self.facts["checkpoint"], self.facts["chain"] = self.log.end, self.log.chain
                self._save(active=False)
                self.log.close()
