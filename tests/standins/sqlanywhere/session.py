"""One connection to a database of the engine: its statements, its backup."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from tests.standins.sqlanywhere import catalog, copying, validation
from tests.standins.sqlanywhere.codes import ACCESS_DENIED, FILE, GENERAL, Failure
from tests.standins.sqlanywhere.database import Database
from tests.standins.sqlanywhere.redo import COMMIT, ROLLBACK, STATEMENT, RedoLog

DDL = {"CREATE", "ALTER", "DROP", "TRUNCATE", "LOAD", "REORGANIZE"}
READS = {"SELECT", "WITH", "VALUES"}


class Session:
    """What a logged-in user does; one command at a time."""

    def __init__(self, database: Database, user: Mapping[str, Any]) -> None:
        self.database = database
        self.user = user
        self._connection = database.connect(system=False)
        self._transaction = 0
        self._backing_up = False
        self._handles: dict[str, BinaryIO] = {}

    def close(self) -> None:
        """Undo what is open, and let others back up."""
        if self._transaction and not self.database.closed:
            self._end(ROLLBACK)
        self._connection.close()
        self._end_backup()

    def command(self, message: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Carry out one command: the answer, and raw bytes."""
        name = message["command"]
        if name == "read":
            return {}, self._read(message)
        handlers = {
            "execute": self._execute,
            "files": self._files,
            "begin_backup": self._begin_backup,
            "log": self._copy_log,
            "end_backup": lambda _: self._end_backup(),
            "backup_on_server": self._back_up_here,
            "validate": self._validate,
            "info": lambda _: {"properties": self.database.properties()},
        }
        if name not in handlers:
            raise Failure(GENERAL, f"unknown command {name}")
        return handlers[name](message) or {}, b""

    # SQL

    def _execute(self, message: Mapping[str, Any]) -> dict[str, Any]:
        sql, values = message["sql"], [_unpacked(value) for value in message["values"]]
        words = sql.split()
        word = words[0].rstrip(";").upper() if words else ""
        if word in READS:
            return self._select(sql, values)
        if word in ("BEGIN", "COMMIT", "ROLLBACK", "CHECKPOINT"):
            self._control(word)
            return {}
        catalog.demand(self.user, "DBA", "change anything")
        if self.database.options.read_only:
            raise Failure(ACCESS_DENIED, "The database is read-only", native=-757)
        if word in DDL:
            self._define(sql)
            return {}
        return {"rowcount": self._write(sql, values)}

    def _select(self, sql: str, values: list[Any]) -> dict[str, Any]:
        if "sys." in sql.lower():
            connection = self.database.connect()
            try:
                rows = connection.execute(sql, values).fetchall()
            finally:
                connection.close()
        else:
            catalog.demand(self.user, "SELECT", "select")
            rows = self._connection.execute(sql, values).fetchall()
        return {"rows": [[_packed(value) for value in row] for row in rows]}

    def _control(self, word: str) -> None:
        if word == "BEGIN":
            self._begin()
        elif word == "CHECKPOINT":
            with self.database.backup_lock:
                self.database.checkpoint()
        elif self._transaction:
            self._end(COMMIT if word == "COMMIT" else ROLLBACK)

    def _write(self, sql: str, values: list[Any]) -> int:
        alone = not self._transaction
        if alone:
            self._begin()
        try:
            rowcount = 0
            if not self.database.procedure(sql):
                rowcount = self._connection.execute(sql, values).rowcount
            with self.database.lock:
                self.database.note(STATEMENT, self._transaction, sql, values)
        except sqlite3.Error:
            if alone:
                self._end(ROLLBACK)
            raise
        if alone:
            self._end(COMMIT)
        return rowcount

    def _define(self, sql: str) -> None:
        """DDL commits what is open, and waits for a backup that runs."""
        if self._transaction:
            self._end(COMMIT)
        with self.database.backup_lock:
            self._write(sql, [])
        self.database.refresh_catalog()

    def _begin(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._transaction = self.database.begin()

    def _end(self, kind: bytes) -> None:
        with self.database.lock:
            self.database.note(kind, self._transaction)
            self._connection.execute("COMMIT" if kind == COMMIT else "ROLLBACK")
            self._transaction = 0

    # Backup: the client asks for block after block

    def _files(self, _message: Mapping[str, Any]) -> dict[str, Any]:
        return {"names": [path.name for path in self.database.files.values()], "log": self._log().path.name}

    def _begin_backup(self, _message: Mapping[str, Any]) -> dict[str, Any]:
        """Checkpoint, and keep the image as it is until the backup ends."""
        catalog.demand(self.user, "BACKUP", "back up the database")
        self._log()
        self.database.backup_lock.acquire()
        self._backing_up = True
        self.database.checkpoint()
        files = []
        for path in self.database.files.values():
            self._handles[path.name] = path.open("rb")
            files.append({"name": path.name, "size": path.stat().st_size})
        return {"files": files, "log": self._log().path.name}

    def _copy_log(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Get the log ready to be read to its present end; ``restart``: see copying.Wanted."""
        database, restart = self.database, message["restart"]
        with database.lock:
            log = self._log()
            self._handles[""] = log.path.open("rb")
            size = log.bytes
            name = copying.dated(log.path.parent) if restart == "rename" else ""
            if restart:
                self._restart_log(log, name)
                database.checkpoint()
        return {"size": size, "renamed": name}

    def _restart_log(self, log: RedoLog, name: str) -> None:
        log.close()
        if name:
            log.path.rename(log.path.with_name(name))
        else:
            log.path.unlink()
        self.database.log = RedoLog.create(log.path, log.facts["id"], log.end, log.chain)

    def _read(self, message: Mapping[str, Any]) -> bytes:
        handle = self._handles[message["name"]]
        handle.seek(message["at"])
        return handle.read(message["count"])

    def _end_backup(self) -> None:
        for handle in self._handles.values():
            handle.close()
        self._handles.clear()
        if self._backing_up:
            self._backing_up = False
            self.database.backup_lock.release()

    def _back_up_here(self, message: Mapping[str, Any]) -> None:
        """-s: the engine itself writes, in a folder of its own machine."""
        wanted = copying.Wanted(**{**message["wanted"], "folder": Path(message["wanted"]["folder"])})
        copying.Copying(self.ask, wanted).run()

    def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """A command from inside the engine."""
        answer, payload = self.command(message)
        return {**answer, "payload": payload}

    def _log(self) -> RedoLog:
        if self.database.log is None:
            raise Failure(FILE, "The database has no transaction log")
        return self.database.log

    # Validation

    def _validate(self, message: Mapping[str, Any]) -> dict[str, Any]:
        catalog.demand(self.user, "VALIDATE", "validate the database")
        tables = [name.rpartition(".")[2].strip('"') for name in message["tables"]]
        wrong = validation.validate(
            self.database, tables, structure=message["structure"], checksums=message["checksums"]
        )
        if tables and not wrong:
            known = self.database.connect()
            found = {table for owner in self.database.images for table in self.database.tables(known, owner)}
            known.close()
            if not set(tables) <= found:
                raise Failure(GENERAL, "Table not found")
        return {"wrong": wrong}


def _packed(value: Any) -> Any:
    return {"b": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _unpacked(value: Any) -> Any:
    return base64.b64decode(value["b"]) if isinstance(value, dict) else value
