"""The server: logins and their rights, databases, sessions on loopback, and knobs that make it misbehave."""

from __future__ import annotations

import re
import select
import socket
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.standins.sqlserver import catalog, wire
from tests.standins.sqlserver.dialect import Refused, Words, statements, to_sqlite
from tests.standins.sqlserver.statements import RUN, Cancelled
from tests.standins.sqlserver.storage import Database
from tests.standins.sqlserver.wire import Gone, Reply

_SYSTEM = {"master": 1, "tempdb": 2, "model": 3, "msdb": 4}
_ROWS = {"SELECT", "WITH"}
_CHANGES = {"INSERT", "UPDATE", "DELETE", "CREATE", "DROP"}
_SETTINGS = {"SET", "USE", "BEGIN", "COMMIT", "ROLLBACK"}


@dataclass
class Login:
    """A login. ``rights`` are server-wide: CREATE ANY DATABASE, VIEW SERVER STATE."""

    name: str
    password: str
    sysadmin: bool = False
    rights: set[str] = field(default_factory=set)


@dataclass
class Knobs:
    """How the server misbehaves. As it is made, it does not."""

    version: str = "15.0.4123.1"
    engine_edition: int = 4
    backup_seconds: float = 0.0
    restore_seconds: float = 0.0
    stops_at: int = 0
    disk_full_at: int = 0
    device_error: int = 0
    damaged_page: bool = False
    forgets_checksums: bool = False
    verifies_anything: bool = False
    volume_full: bool = False
    restorer_owns: bool = True
    damages_restored: bool = False
    loses_triggers: bool = False
    restore_touches_production: bool = False
    hide_percent: bool = False
    keeps_dropped: bool = False


class Server:
    """A server in ``folder``; ``folder/data`` holds its databases. Made and ended by ``running``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "data"
        self.folder.mkdir(parents=True)
        self.knobs = Knobs()
        self.logins = {"sa": Login("sa", "Strong}Pass;1", sysadmin=True)}
        self.statements: list[str] = []
        self.as_server: tuple[str, str] | None = None
        self._databases: dict[str, Database] = {}
        self._sessions: list[Session] = []
        self._lock = threading.RLock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1,{self.port}"

    def _serve(self) -> None:
        number = 50
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            number += 1
            session = Session(self, connection, number)
            with self._lock:
                self._sessions.append(session)
            threading.Thread(target=self._run, args=(session,), daemon=True).start()

    def _run(self, session: Session) -> None:
        try:
            session.run()
        except Gone:
            pass
        finally:
            session.close()
            with self._lock:
                self._sessions.remove(session)

    def stop_soon(self) -> None:
        """The power goes: no session hears another word."""
        self._listener.close()
        with self._lock:
            for session in self._sessions:
                session.cut()

    def listed(self) -> list[Database]:
        with self._lock:
            return sorted(self._databases.values(), key=lambda database: database.id)

    def add(self, database: Database) -> Database:
        with self._lock:
            if not database.id:
                database.id = max([4, *(each.id for each in self._databases.values())]) + 1
            self._databases[database.name.lower()] = database
        return database

    def has(self, name: str) -> bool:
        return name.lower() in self._databases

    def find(self, name: str) -> Database:
        with self._lock:
            if name.lower() not in self._databases:
                raise Refused(
                    911, f"Database '{name}' does not exist. Make sure that the name is entered correctly."
                )
            return self._databases[name.lower()]

    def remove(self, database: Database) -> None:
        with self._lock:
            if self.knobs.keeps_dropped:
                return
            del self._databases[database.name.lower()]
        for _, _, path, _ in database.files():
            for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
                name.unlink(missing_ok=True)

    def sessions_in(self, name: str) -> list[Session]:
        with self._lock:
            return [each for each in self._sessions if each.database.lower() == name.lower()]

    def in_use(self, name: str) -> bool:
        return bool(self.sessions_in(name))

    def kill_sessions(self, name: str, but: Session) -> None:
        for session in self.sessions_in(name):
            if session is not but:
                session.cut()
                session.database = "master"

    def requests(self) -> list[tuple[int, str, float]]:
        with self._lock:
            return [
                (each.number, each.command, float(each.percent)) for each in self._sessions if each.command
            ]

    def temporary(self) -> Path:
        with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as stream:
            return Path(stream.name)

    def local(self, name: str) -> Path:
        """A path that a statement names, on this machine."""
        if self.as_server and name.startswith(self.as_server[1]):
            return Path(self.as_server[0] + name[len(self.as_server[1]) :].replace("\\", "/"))
        return Path(name)

    def seen_by_server(self, path: Path) -> str:
        if self.as_server and str(path).startswith(self.as_server[0]):
            return self.as_server[1] + str(path)[len(self.as_server[0]) :]
        return str(path)

    def property(self, name: str) -> Any:
        return {
            "productversion": self.knobs.version,
            "edition": "Express Edition (64-bit)",
            "engineedition": self.knobs.engine_edition,
            "collation": "SQL_Latin1_General_CP1_CI_AS",
        }.get(name.lower())

    def id_of(self, name: str) -> int | None:
        if name.lower() in _SYSTEM:
            return _SYSTEM[name.lower()]
        return self.find(name).id if self.has(name) else None


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server for the length of the block."""
    server = Server(folder)
    try:
        yield server
    finally:
        server.stop_soon()


class Session:
    """One client: its login, its database, its statements one after the other."""

    def __init__(self, server: Server, connection: socket.socket, number: int) -> None:
        self.server, self.number = server, number
        self._socket = connection
        self.login = Login("", "")
        self.database = "master"
        self.open_database: Database | None = None
        self.connection = sqlite3.connect(":memory:", check_same_thread=False)
        self.implicit_transaction = False
        self.command, self.percent = "", 0
        self.reply = Reply(connection)

    def run(self) -> None:
        self._log_in()
        while True:
            kind, message = wire.receive(self._socket)
            self.reply = Reply(self._socket)
            if kind == wire.ATTENTION:
                self.reply.add(wire.done(wire.DONE_ATTENTION))
            elif kind == wire.BATCH:
                self._batch(without_headers(message).decode("utf-16-le"))
            elif kind == wire.TRANSACTION:
                self._transaction(int.from_bytes(without_headers(message)[:2], "little"))
            else:
                self.error(Refused(2812, "Remote procedure calls are not modelled."))
                self.reply.add(wire.done(wire.DONE_ERROR))
            self.reply.end()

    def _transaction(self, request: int) -> None:
        """What a driver sends that was told not to commit by itself. Only that there is one is modelled."""
        self.implicit_transaction = request == wire.BEGIN
        self.reply.add(wire.transaction_change(request))
        self.reply.add(wire.done(0))

    @property
    def in_transaction(self) -> bool:
        return self.implicit_transaction or self.connection.in_transaction

    def cut(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()
        self.connection.close()
        self.database = "master"

    def _log_in(self) -> None:
        kind, message = wire.receive(self._socket)
        if kind == wire.PRELOGIN:
            reply = Reply(self._socket)
            reply.add(wire.prelogin_answer())
            reply.end()
            kind, message = wire.receive(self._socket)
        if kind != wire.LOGIN7:
            raise Gone
        asked = wire.read_login(message)
        self.reply = Reply(self._socket)
        known = self.server.logins.get(asked.user)
        if known is None or known.password != asked.password:
            self._refuse(Refused(18456, f"Login failed for user '{asked.user}'.", 14))
        assert known is not None
        self.login = known
        try:
            self._use(asked.database or "master")
        except Refused:
            name = asked.database
            self.error(Refused(4060, f'Cannot open database "{name}" requested by the login.', 11))
            self._refuse(Refused(18456, f"Login failed for user '{asked.user}'.", 14))
        self.reply.add(wire.environment(1, self.database, "master"))
        self.reply.add(wire.collation_change())
        self.reply.add(wire.login_ack())
        self.reply.add(wire.environment(4, "4096", "4096"))
        self.reply.add(wire.done(0))
        self.reply.end()

    def _refuse(self, refused: Refused) -> None:
        self.error(refused)
        self.reply.add(wire.done(wire.DONE_ERROR))
        self.reply.end()
        raise Gone

    def _use(self, name: str) -> None:
        if name.lower() in _SYSTEM:
            self.open_database, path = None, ":memory:"
        else:
            self.open_database = self.server.find(name)
            if not self.access(name):
                raise Refused(916, f"The server principal is not able to access the database '{name}'.", 14)
            path = str(self.open_database.mdf)
        self.connection.close()
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
        self.connection.execute("PRAGMA synchronous = OFF")
        self.connection.execute("ATTACH ':memory:' AS sys")
        for function, (arguments, body) in catalog.functions(self).items():
            self.connection.create_function(function, arguments, body)
        self.database = name

    def _batch(self, sql: str) -> None:
        self.server.statements.append(sql)
        try:
            found = statements(sql)
            for place, (words, text) in enumerate(found):
                self._statement(words, text)
                if place + 1 < len(found):
                    self.done(more=True)
            self.reply.add(wire.done(0))
        except Refused as refused:
            self.error(refused)
            self.reply.add(wire.done(wire.DONE_ERROR))
        except Cancelled:
            self.reply.add(wire.done(wire.DONE_ATTENTION))
        finally:
            self.command, self.percent = "", 0

    def _statement(self, words: Words, text: str) -> None:
        verb, second = words.upper(), words.upper(1)
        run = RUN.get((verb, second))
        if run:
            self.command = f"{verb} {second}" if verb != "DBCC" else "DBCC"
            run(self, words)
        elif verb.startswith("SP_DATATYPE_INFO"):
            self.rows(("TYPE_NAME", "DATA_TYPE", "PRECISION"), [])
        elif verb in _SETTINGS:
            self._setting(words)
        elif verb == "CREATE" and second in ("PROCEDURE", "PROC", "TRIGGER", "VIEW", "FUNCTION"):
            self._module(words, text)
        elif verb == "DROP" and second in ("PROCEDURE", "TRIGGER", "VIEW", "FUNCTION"):
            self._sqlite("DELETE FROM _modules WHERE name = ?", (words[-1][1].strip("[]"),))
        elif verb in _ROWS | _CHANGES:
            self._query(words, text)
        else:
            raise Refused(102, f"Incorrect syntax near '{words[0][1]}'.", 15)

    def _setting(self, words: Words) -> None:
        if words.take("USE"):
            self._use(words.name())
        elif words.upper() != "SET":
            self._sqlite({"BEGIN": "BEGIN IMMEDIATE"}.get(words.upper(), words.upper()))

    def _module(self, words: Words, text: str) -> None:
        words.need("CREATE")
        kind = {"PROC": "PROCEDURE"}.get(words.upper(), words.upper())
        words.at += 1
        schema, name = "dbo", words.name()
        if words.take("."):
            schema, name = name, words.name()
        parent = ""
        if kind == "TRIGGER" and words.take("ON"):
            parent = words.name()
            parent = words.name() if words.take(".") else parent
        self._sqlite("INSERT INTO _modules VALUES (?, ?, ?, ?, ?)", (kind, schema, name, parent, text))

    def _query(self, words: Words, text: str) -> None:
        verb = words.upper()
        self._require_rows(words, verb)
        catalog.fill(self, text)
        cursor = self._sqlite(to_sqlite(words))
        if cursor.description:
            names = [column[0] or "" for column in cursor.description]
            self.rows(names, self._fetched(cursor))

    def _fetched(self, cursor: sqlite3.Cursor) -> list[Any]:
        try:
            return cursor.fetchall()
        except sqlite3.Error as error:
            raise _refusal(error) from None

    def _require_rows(self, words: Words, verb: str) -> None:
        """Users' tables are for who may read or write them; the ``sys`` views are for everybody."""
        database = self.open_database
        if database is None or "sys" in (word[1].lower().strip("[]") for word in words):
            return
        if "FROM" not in (word[1].upper() for word in words) and verb in _ROWS:
            return
        if not self.holds(database, "db_datareader" if verb in _ROWS else "db_datawriter"):
            raise Refused(229, "The SELECT permission was denied on the object.", 14)
        if database.read_only and verb not in _ROWS:
            raise Refused(
                3906, f"Failed to update database '{database.name}' because the database is read-only."
            )

    def _sqlite(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        try:
            return self.connection.execute(sql, values)
        except sqlite3.Error as error:
            raise _refusal(error) from None

    def may(self, right: str) -> bool:
        return self.login.sysadmin or right in self.login.rights

    def holds(self, database: Database, role: str) -> bool:
        roles = database.users.get(self.login.name, set())
        return self.login.sysadmin or database.owner == self.login.name or bool(roles & {role, "db_owner"})

    def access(self, name: str) -> int | None:
        if name.lower() in _SYSTEM:
            return 1
        if not self.server.has(name):
            return None
        database = self.server.find(name)
        if database.state != "ONLINE":
            return 0
        return int(self.login.sysadmin or self.login.name in {database.owner, *database.users})

    def permission(self, thing: str | None, kind: str | None, right: str) -> int | None:
        """HAS_PERMS_BY_NAME, for the server (no name, no class) and for databases."""
        if kind is None:
            return int(self.may(right))
        name = (thing or "").strip("[]")
        if kind != "DATABASE" or not self.server.has(name):
            return int(self.may("CREATE ANY DATABASE")) if name in _SYSTEM else None
        role = {"BACKUP DATABASE": "db_backupoperator", "SELECT": "db_datareader"}.get(right, "db_owner")
        return int(self.holds(self.server.find(name), role))

    def error(self, refused: Refused) -> None:
        self.reply.add(wire.message(refused.number, max(11, refused.severity), refused.text))

    def info(self, number: int, text: str) -> None:
        self.reply.add(wire.message(number, 0, text))

    def rows(self, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        for token in wire.result_set(names, rows):
            self.reply.add(token)
        self.done(more=True, rows=len(rows))

    def done(self, *, more: bool, rows: int | None = None) -> None:
        counted = 0 if rows is None else wire.DONE_COUNT
        self.reply.add(wire.done((wire.DONE_MORE if more else 0) | counted, rows or 0))

    def hear_cancel(self) -> None:
        """Raise Cancelled where the client has sent an attention, Gone where it has left."""
        try:
            ready, _, _ = select.select([self._socket], [], [], 0)
        except (OSError, ValueError):
            raise Gone from None
        if ready and wire.receive(self._socket)[0] == wire.ATTENTION:
            raise Cancelled


def without_headers(message: bytes) -> bytes:
    """A request without the ALL_HEADERS it begins with."""
    return message[int.from_bytes(message[:4], "little") :]


def _refusal(error: sqlite3.Error) -> Refused:
    """SQLite's complaint as the number SQL Server has for it."""
    text = str(error)
    known = (
        ("no such table", 208, "Invalid object name."),
        ("no such column", 207, "Invalid column name."),
        ("no such function", 195, "This is not a recognized built-in function name."),
        ("UNIQUE", 2627, "Violation of a constraint."),
        ("malformed", 824, "SQL Server detected a logical consistency-based I/O error."),
        ("locked", 1222, "Lock request time out period exceeded."),
        ("readonly", 3906, "The database is read-only."),
    )
    for part, number, told in known:
        if part in text:
            return Refused(number, told)
    return Refused(102, f"Incorrect syntax: {re.sub(r'[^ -~]', '', text)}", 15)
