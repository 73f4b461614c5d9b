"""Reaching a MariaDB or MySQL server, over ODBC or by its own programs, and what it means where that fails.

A password travels in memory to the driver, and to programs in a private file that they are told to read
first; it is never in a command line.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.errors import SourceError, ValidationError
from tasks.platform.files import create_private
from tasks.sources.mariadb.errors import fault_of
from tasks.sources.shared.odbc import fetch, manager, sqlstate

LOGIN_SECONDS = 15

# What a server sets for its sessions, or an init_connect for all of them, must change no answer.
_PINNED = (
    "SET SESSION time_zone = '+00:00', sql_mode = '', sql_select_limit = 18446744073709551615, "
    "sql_big_selects = 1, sql_quote_show_create = 1 /*M!100100 , max_statement_time = 0 */",
    # On a server set to READ COMMITTED there is no snapshot otherwise, and nothing says so.
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
)


@dataclass(frozen=True)
class MariadbLogin:
    """A server's address, and the account to use; without a password the server knows the system's user."""

    user: str
    password: str | None = field(default=None, repr=False)
    socket: Path | None = None
    host: str | None = None
    port: int = 3306
    certificate: Path | None = None

    @property
    def place(self) -> str:
        """Where the server is, for messages."""
        if self.socket is not None:
            return str(self.socket)
        return f"{self.host}:{self.port}" if self.host else "the usual local socket"


@dataclass(frozen=True)
class ServerFacts:
    """What a server says of itself."""

    version: str
    machine: str
    data: Path
    names_folded: int
    system_files: str

    @property
    def mariadb(self) -> bool:
        return "mariadb" in self.version.lower()

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor version."""
        major, minor = re.findall(r"\d+", self.version)[:2]
        return int(major), int(minor)

    @property
    def dumps_history(self) -> bool:
        """Whether its mariadb-dump can hold the history of versioned tables."""
        return self.mariadb and self.release >= (10, 11)

    @property
    def name(self) -> str:
        """The release as Programs tells it: "10.11", "8.0 MySQL"."""
        major, minor = self.release
        return f"{major}.{minor}" if self.mariadb else f"{major}.{minor} MySQL"


@contextmanager
def connected(login: MariadbLogin, operation: str, database: str | None = None) -> Iterator[Any]:
    """A pyodbc connection to a live server, for the block. Raises SourceMissing or SourceError.

    The message of an error begins with ``operation``: "cannot <operation>: <cause>". Statements of the block
    that fail are reported in the same way.
    """
    odbc = driver()
    try:
        connection = odbc.connect(_connection_string(login, database), autocommit=True, timeout=LOGIN_SECONDS)
        try:
            pin(connection)
            yield connection
        finally:
            connection.close()
    except odbc.Error as error:
        raise failure(error, operation) from None


def pin(connection: Any) -> None:
    """Give a session the settings that a source and a copy of it are read with alike."""
    for statement in _PINNED:
        fetch(connection, statement)


def quoted(name: str) -> str:
    """A name for SQL, in MariaDB's quotation marks."""
    return "`" + name.replace("`", "``") + "`"


def failure(error: Exception, operation: str) -> SourceError:
    """What an ODBC error means, without the driver's own text: that may quote rows."""
    return fault_of(odbc_code(error), sqlstate(error)).error(f"cannot {operation}")


def odbc_code(error: Exception) -> int:
    """The server's own number of an ODBC error; 0 if it has none."""
    found = re.findall(r"\((\d+)\) \(SQL", str(error.args[1])) if len(error.args) > 1 else []
    return int(found[-1]) if found else 0


def driver() -> Any:
    """pyodbc, set up. Raises SourceError where the system lacks its ODBC manager."""
    return manager(
        "cannot use ODBC: the system's ODBC manager is not installed",
        "Install unixODBC (Debian: apt install libodbc2 odbc-mariadb).",
    )


def describe(connection: Any) -> ServerFacts:
    """Ask the server what it is."""
    row = fetch(
        connection,
        "SELECT @@version, @@hostname, @@datadir, @@lower_case_table_names, @@innodb_data_file_path",
    )[0]
    return ServerFacts(str(row[0]), str(row[1]), Path(str(row[2])), int(row[3]), str(row[4]))


@contextmanager
def private_connection(socket: str, database: str) -> Iterator[Any]:
    """A reading connection to a private server (scratch.py).

    Raises ValidationError, also for statements of the block that fail.
    """
    try:
        odbc = driver()
    except SourceError as error:
        raise ValidationError(error.message, hint=error.hint) from error
    words = f"Driver=MariaDB Unicode;{socket}Database={braced(database)};UID=root;CHARSET=utf8mb4;"
    try:
        connection = odbc.connect(f"{words}INITSTMT={{SET SESSION TRANSACTION READ ONLY}};", autocommit=True)
        try:
            pin(connection)
            yield connection
        finally:
            connection.close()
    except odbc.Error as error:
        fault = fault_of(odbc_code(error), sqlstate(error))
        raise ValidationError(
            f"cannot read the copy of database {database}: {fault.cause}",
            hint="If the ODBC driver is installed, the copy is damaged: take an older backup.",
        ) from None


@contextmanager
def defaults_file(login: MariadbLogin) -> Iterator[Path]:
    """A private file with address and password, to be a program's first argument: --defaults-file=…"""
    lines = ["[client]", f"user={_quoted(login.user)}"]
    if login.password is not None:
        lines.append(f"password={_quoted(login.password)}")
    if login.socket is not None:
        lines.append(f"socket={_quoted(str(login.socket))}")
    elif login.host is not None:
        # "localhost" would mean the socket to these programs.
        lines += [f"host={_quoted(login.host)}", f"port={login.port}", "protocol=tcp"]
    if login.certificate is not None:
        lines.append(f"ssl-ca={_quoted(str(login.certificate))}")
        # The first is MariaDB's word, the second MySQL's.
        lines += ["loose-ssl-verify-server-cert", "loose-ssl-mode=VERIFY_IDENTITY"]
    with tempfile.TemporaryDirectory(prefix="datasave-") as folder:
        path = Path(folder) / "client.cnf"
        with create_private(path) as stream:
            stream.write("\n".join([*lines, ""]).encode())
        yield path


def braced(value: str) -> str:
    """A value for a connection string."""
    return "{" + value.replace("}", "}}") + "}"


def _connection_string(login: MariadbLogin, database: str | None) -> str:
    words = ["Driver=MariaDB Unicode", f"UID={braced(login.user)}", "CHARSET=utf8mb4"]
    if login.socket is not None:
        words.append(f"Socket={login.socket}")
    elif login.host is not None:
        words += [f"Server={login.host}", f"Port={login.port}", "TCPIP=1"]
    if login.password is not None:
        words.append(f"PWD={braced(login.password)}")
    if login.certificate is not None:
        words += [f"SSLCA={login.certificate}", "SSLVERIFY=1"]
    if database is not None:
        words.append(f"Database={braced(database)}")
    return ";".join([*words, ""])


def _quoted(value: str) -> str:
    """A value for an option file, where a backslash escapes."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
