"""The engine: dbengNN and dbsrvNN. One process, any number of databases, a thread for each connection."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.standins.sqlanywhere import catalog
from tests.standins.sqlanywhere.codes import (
    DATABASE_NOT_RUNNING,
    FILE,
    FILE_IN_USE,
    GENERAL,
    NAME_IN_USE,
    NO_DATABASE_NAME,
    OK,
    SERVER_NOT_FOUND,
    UNABLE_TO_CONNECT,
    Failure,
    denied,
    wrong_password,
)
from tests.standins.sqlanywhere.commandline import CommandLine, logs
from tests.standins.sqlanywhere.database import Database, StartOptions
from tests.standins.sqlanywhere.session import Session
from tests.standins.sqlanywhere.site import Site
from tests.standins.sqlanywhere.wire import Link


class Engine:
    def __init__(self, site: Site, program: str, arguments: list[str], fault: dict[str, Any]) -> None:
        self.site = site
        self.personal = program == "dbeng"
        self.asked = CommandLine(arguments)
        self.name = self.asked.server.get("n") or (self.asked.files[0][0].stem if self.asked.files else "")
        if not self.name:
            raise Failure(NO_DATABASE_NAME, "No server name and no database file")
        self.databases: dict[str, Database] = {}
        self._arguments = arguments
        self._fault = fault
        self._work = site.machine / "work" / str(os.getpid())
        self._links: set[Link] = set()
        self._taken: list[socket.socket] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self.port: int | None = None

    # Starting

    def run(self, ready: Any) -> int:
        """Serve until stopped; ``ready(code)`` is called once it is known how the start went."""
        listeners: list[socket.socket] = []
        record: Path | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            # In a thread: set() in the handler itself would wait for the lock that wait() holds.
            signal.signal(number, lambda *_: threading.Thread(target=self._stopping.set).start())
        try:
            own = self._take_name()
            listeners.append(own)
            self._sweep()
            self._say(f"SQL Anywhere stand-in, server {self.name}, process {os.getpid()}")
            self._load_all()
            if any(database.options.apply is not None for database in self.databases.values()):
                self._say("Logs applied; the database server stops")
                ready(OK)
                return OK
            listeners += self._listen(own)
            record = self.site.enlist(self.name)
            self._say("Now accepting requests")
            ready(OK)
            # Not one long wait: a signal that comes just before it would go unseen.
            while not self._stopping.wait(0.1):
                pass
        except Failure as failure:
            self._say(failure.message)
            raise
        else:
            return OK
        finally:
            self._shut_down(listeners, record)

    def _take_name(self) -> socket.socket:
        own = self.site.bind("server", self.name)
        if own is None:
            raise Failure(NAME_IN_USE, f"A database server named {self.name} is already running")
        return own

    def _sweep(self) -> None:
        """Remove what killed engines left."""
        for folder in (self.site.machine / "work").iterdir():
            if not Path("/proc", folder.name).exists():
                shutil.rmtree(folder, ignore_errors=True)

    def _load_all(self) -> None:
        for path, told in self.asked.files:
            self.load(path, told)

    def load(self, path: Path, told: Mapping[str, str]) -> Database:
        """Start one database file, with the options that stand after it."""
        path = path.absolute()
        name = told.get("n") or path.stem
        if name.lower() in self.databases:
            raise Failure(UNABLE_TO_CONNECT, f"A database named {name} is already running")
        server = self.asked.server
        options = StartOptions(
            name=name,
            spaces_folder=Path(told["ds"]).absolute() if "ds" in told else None,
            read_only="r" in told or "r" in server,
            force="f" in server,
            apply=logs(told),
        )
        if options.spaces_folder is not None and not options.spaces_folder.is_dir():
            raise Failure(FILE, f"The folder {options.spaces_folder} does not exist")
        if path.exists():
            taken = self.site.bind("file", str(path.resolve()))
            if taken is None:
                raise Failure(FILE_IN_USE, f"{path} is in use by another database server")
            self._taken.append(taken)
        database = Database(path, self._work / str(len(self.databases)), options)
        database.start()
        self.databases[name.lower()] = database
        self.site.event(
            "load",
            server=self.name,
            database=name,
            path=str(path),
            log=str(database.log.path) if database.log else None,
            spaces=[str(file) for owner, file in database.files.items() if owner != "DBA"],
        )
        self._say(f"Database {name} ({path}) started")
        return database

    def _listen(self, own: socket.socket) -> list[socket.socket]:
        network = []
        if self.asked.port is not None:
            network.append(socket.create_server(("127.0.0.1", self.asked.port)))
            self.port = network[0].getsockname()[1]
            self._say(f"TCP/IP link started on port {self.port}")
        self.site.event(
            "start",
            server=self.name,
            personal=self.personal,
            arguments=self._arguments,
            port=self.port,
            databases=[str(database.path) for database in self.databases.values()],
        )
        own.listen(64)
        for listener in [own, *network]:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return network

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                connected, _ = listener.accept()
            except OSError:
                return
            link = Link(connected)
            with self._lock:
                self._links.add(link)
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    # Connections

    def _serve(self, link: Link) -> None:
        session: Session | None = None
        try:
            hello = link.receive()
            try:
                session = self._log_in(hello)
            except Failure as failure:
                link.send(_refusal(failure))
                return
            link.send({"ok": True})
            while True:
                self._answer(link, session, link.receive())
        except (Failure, OSError):
            return
        finally:
            with self._lock:
                self._links.discard(link)
            link.close()
            if session is not None:
                with suppress(sqlite3.Error, Failure):
                    session.close()

    def _answer(self, link: Link, session: Session | None, message: Mapping[str, Any]) -> None:
        """Carry out a command; send what it gives, or its failure."""
        try:
            answer, payload = self._command(session, message)
        except Failure as failure:
            link.send(_refusal(failure))
        except sqlite3.Error as error:
            link.send(_refusal(Failure(GENERAL, f"SQL error: {error}", "42000", -131)))
        else:
            try:
                link.send({"ok": True, **answer}, payload)
            finally:
                # Not before: stopping shuts every link, and who asked for it would get no answer.
                if message["command"] == "stop":
                    self._stopping.set()

    def _log_in(self, hello: Mapping[str, Any]) -> Session | None:
        wanted = hello.get("server")
        if wanted is not None and wanted.lower() != self.name.lower():
            raise Failure(SERVER_NOT_FOUND, "Database server not found")
        self.site.event(
            "connect",
            server=self.name,
            app=hello["app"],
            level=hello["level"],
            **{key: hello.get(key) for key in ("dbn", "dbf", "uid")},
        )
        if hello["level"] == "server":
            return None
        database = self._database(hello)
        if not hello.get("uid"):
            raise wrong_password()
        user = catalog.log_in(database.facts["users"], hello["uid"], hello.get("pwd", ""))
        return Session(database, user)

    def _database(self, hello: Mapping[str, Any]) -> Database:
        name = hello.get("dbn")
        if name and name.lower() in self.databases:
            return self.databases[name.lower()]
        if hello.get("dbf"):
            return self._load_for(hello)
        if name:
            raise Failure(DATABASE_NOT_RUNNING, f"The database {name} is not running on {self.name}")
        if not self.databases:
            raise Failure(NO_DATABASE_NAME, "No database name given, and none is running")
        return next(iter(self.databases.values()))

    def _load_for(self, hello: Mapping[str, Any]) -> Database:
        """DBF= in a connection: the file is loaded into this server, whichever it is."""
        path = Path(hello["dbf"]).resolve()
        for database in self.databases.values():
            if database.path.resolve() == path:
                return database
        right = self.asked.server.get("gd", "all" if self.personal else "dba").lower()
        if right == "none" or (right == "dba" and (hello.get("uid") or "").lower() != "dba"):
            raise denied("start a database on this server")
        return self.load(path, {"n": hello["dbn"]} if hello.get("dbn") else {})

    def _command(self, session: Session | None, message: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        if message["command"] == "stop":
            self._demand_stop(session, unconditional=message["unconditional"])
            return {}, b""
        if message["command"] == "working_files":
            return self._working_files(session), b""
        if session is None:
            raise Failure(GENERAL, "not connected to a database")
        return session.command(message)

    def _working_files(self, session: Session | None) -> dict[str, Any]:
        """For ODBC: the files with the current state, and whether this user may read them."""
        assert session is not None
        database = session.database
        owners = [*database.images, "SYS"]
        return {
            "files": {owner: str(database.working(owner)) for owner in owners},
            "select": bool({"SELECT", "DBA"} & set(session.user["rights"])),
        }

    def _demand_stop(self, session: Session | None, *, unconditional: bool) -> None:
        right = self.asked.server.get("gk", "all" if self.personal else "dba").lower()
        if right == "all" or (right == "dba" and session is not None and "DBA" in session.user["rights"]):
            if len(self._links) > 1 and not unconditional:
                raise Failure(GENERAL, "The server has active connections")
            return
        raise denied("stop the database server")

    # Stopping

    def _shut_down(self, listeners: list[socket.socket], record: Path | None) -> None:
        self._stopping.set()
        time.sleep(self._fault.get("slow_stop", 0))
        if record is not None:
            record.unlink(missing_ok=True)
        with self._lock:
            for link in self._links:
                link.shut()
        for database in self.databases.values():
            if database.options.apply is None and database.backup_lock.acquire(timeout=10):
                with suppress(Failure):
                    database.stop()
        if record is not None:
            self.site.event("stop", server=self.name)
            self._say(f"Database server {self.name} stopped")
        for taken in [*listeners, *self._taken]:
            with suppress(OSError):
                taken.shutdown(socket.SHUT_RDWR)
            taken.close()
        shutil.rmtree(self._work, ignore_errors=True)

    def _say(self, message: str) -> None:
        line = f"I. {time.strftime('%m/%d %H:%M:%S')}. {message}\n"
        if "o" in self.asked.server:
            with Path(self.asked.server["o"]).open("a", encoding="utf-8") as log:
                log.write(line)
        if not any(flag in self.asked.server for flag in ("q", "qs")):
            with suppress(OSError, ValueError):
                sys.stdout.write(line)
                sys.stdout.flush()


def _refusal(failure: Failure) -> dict[str, Any]:
    return {
        "error": failure.code,
        "message": failure.message,
        "state": failure.state,
        "native": failure.native,
    }


def daemonize() -> None:
    """-ud: the first process ends at once with 0, before the start was tried."""
    if os.fork():
        os._exit(OK)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)


def main(site: Site, program: str, arguments: list[str], fault: dict[str, Any]) -> int:
    """Run an engine in this process; SA_READY names the pipe on which dbspawn waits for the start."""
    pipe = os.environ.pop("SA_READY", None)

    def ready(code: int) -> None:
        if pipe is not None:
            os.write(int(pipe), bytes([code]))
            os.close(int(pipe))

    try:
        if "ud" in CommandLine(arguments).server:
            daemonize()
        return Engine(site, program, arguments, fault).run(ready)
    except Failure as failure:
        with suppress(OSError):
            ready(failure.code)
        raise
