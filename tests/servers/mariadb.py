"""A real MariaDB server for tests: its own data folder, a socket, a free loopback port; ended by its pid."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyodbc

from tests.servers.ports import free_port

pyodbc.pooling = False

ROOT = ["--user=root"] if os.geteuid() == 0 else []
SERVER = shutil.which("mariadbd") or "/usr/sbin/mariadbd"


@dataclass(frozen=True)
class MariadbServer:
    """A running server; root comes by the socket without a password."""

    folder: Path
    port: int

    @property
    def socket(self) -> Path:
        return self.folder / "s"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def connect(self, database: str = "mysql", user: str = "root", password: str = "") -> Any:
        """A pyodbc connection by the socket, each statement its own transaction; to be closed."""
        return pyodbc.connect(connection_string(self.socket, database, user, password), autocommit=True)

    def run(self, *statements: str, database: str = "mysql") -> None:
        """Run statements as root, one after the other."""
        with closing(self.connect(database)) as connection:
            for statement in statements:
                connection.execute(statement)

    def script(self, sql: str) -> None:
        """Run a whole script, comments and all, by the stock client as root."""
        command = ["mariadb", "--no-defaults", f"--socket={self.socket}", "--user=root", "mysql"]
        subprocess.run(command, input=sql, text=True, check=True, capture_output=True)


def connection_string(socket: Path, database: str, user: str = "root", password: str = "") -> str:
    known = f"PWD={{{password.replace('}', '}}')}}};" if password else ""
    return (
        f"Driver=MariaDB Unicode;Socket={socket};Database={{{database}}};UID={user};{known}CHARSET=utf8mb4;"
    )


@contextmanager
def mariadb_server(*options: str, data: Path | None = None) -> Iterator[MariadbServer]:
    """A server for the block: on a new, empty data folder, or on ``data`` as it is. Extra ``options``."""
    # A socket's path may not be long: not below pytest's folders.
    folder = Path(tempfile.mkdtemp(prefix="mdb-"))
    try:
        if data is None:
            _install(folder / "data", folder)
        server = MariadbServer(folder, free_port())
        with _running(server, data or server.data, options):
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _install(data: Path, room: Path) -> None:
    # A server that starts clears `#sql…` files out of its tmpdir: in /tmp those of the others that run.
    command = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db", *ROOT]
    command += ["--auth-root-authentication-method=normal", "--skip-log-bin", "--debug-no-sync"]
    command += [f"--tmpdir={room}"]
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def _running(server: MariadbServer, data: Path, options: tuple[str, ...]) -> Iterator[None]:
    command = [SERVER, "--no-defaults", f"--datadir={data}", f"--socket={server.socket}", *ROOT]
    command += [f"--port={server.port}", "--bind-address=127.0.0.1", f"--pid-file={server.folder / 'pid'}"]
    command += [f"--tmpdir={server.folder}"]
    log = server.folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([*command, *options], stdout=output, stderr=output)
    try:
        _wait_until_up(server, process, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_up(server: MariadbServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            server.connect().close()
        except pyodbc.Error:
            assert process.poll() is None, log.read_text("utf-8", "replace")[-2000:]
            assert time.monotonic() < deadline, "the server does not come up"
            time.sleep(0.02)
        else:
            return
