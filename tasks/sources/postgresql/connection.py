"""Reaching a PostgreSQL server: over ODBC from here, by libpq's variables from its own programs.

The password goes to both through a private file that lasts as long as the work does. PGPASSWORD would be seen
by whatever those programs start, and our own environment is shared by all threads.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.errors import SourceError
from tasks.platform.files import PRIVATE_FILE, create_private
from tasks.platform.processes import run
from tasks.sources.postgresql.errors import driver_fault, failure, fault_in
from tasks.sources.shared.odbc import manager

# On Windows the name says for how many bits; Red Hat's package has the short one.
DRIVERS = ("PostgreSQL Unicode(x64)", "PostgreSQL Unicode", "PostgreSQL")
CONNECT_SECONDS = 15
FETCH_ROWS = 1000
_SOCKET_FOLDERS = ("/run/postgresql", "/var/run/postgresql", "/tmp")  # noqa: S108 - where servers put theirs


@dataclass(frozen=True)
class PostgresqlLogin:
    """A server, a database on it, and the account to use. ``host`` is a name or a socket's folder."""

    host: str
    port: int
    user: str
    database: str
    sslmode: str = "prefer"
    root_certificate: Path | None = None
    pass_file: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def is_here(self) -> bool:
        """Whether the server runs on this machine, by the way to it."""
        return self.host.startswith("/") or self.host in ("localhost", "127.0.0.1", "::1")

    @property
    def environment(self) -> dict[str, str]:
        """libpq's variables for a child program; no secret is among them."""
        pass_file = {"PGPASSFILE": str(self.pass_file)} if self.pass_file else {}
        certificate = {"PGSSLROOTCERT": str(self.root_certificate)} if self.root_certificate else {}
        return {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGDATABASE": self.database,
            "PGSSLMODE": self.sslmode,
            "PGCONNECT_TIMEOUT": str(CONNECT_SECONDS),
            "PGAPPNAME": "datasave",
            "PGOPTIONS": self._settings(),
            **pass_file,
            **certificate,
        }

    @contextmanager
    def connected(self, *, streaming: bool = False, autocommit: bool = True) -> Iterator[Any]:
        """A connection over ODBC. ``streaming`` fetches large results in portions.

        Raises the driver's own error; ``reported_as`` translates it.
        """
        connection = _driver_module().connect(self._connection_string(streaming), autocommit=autocommit)
        try:
            yield connection
        finally:
            connection.close()

    def _connection_string(self, streaming: bool) -> str:
        portions = f"UseDeclareFetch=1;Fetch={FETCH_ROWS};" if streaming else ""
        libpq = [f"connect_timeout={CONNECT_SECONDS}", "application_name=datasave"]
        libpq += [f"passfile={_quoted(self.pass_file)}"] if self.pass_file else []
        libpq += [f"sslrootcert={_quoted(self.root_certificate)}"] if self.root_certificate else []
        # Always given, so that PGOPTIONS in our own environment says nothing.
        libpq.append(f"options={_quoted(self._settings())}")
        # 7.4-1: a failed statement ends its transaction and no later one.
        return (
            f"Driver={{{driver()}}};Server={self.host};Port={self.port};Database={self.database};"
            f"UID={self.user};SSLmode={self.sslmode};BoolsAsChar=0;Protocol=7.4-1;{portions}"
            f"pqopt={{{' '.join(libpq).replace('}', '}}')}}};"
        )

    def _settings(self) -> str:
        return " ".join(f"-c {name}={value}" for name, value in self.options.items())


@contextmanager
def reported_as(operation: str, *, copying: bool = False) -> Iterator[None]:
    """Raise a driver's error as a SourceError (a CopyError while ``copying``) about ``operation``."""
    pyodbc = _driver_module()
    try:
        yield
    except pyodbc.Error as error:
        # `from None`: a driver's text may quote the row it stumbled over.
        raise failure(operation, driver_fault(error), copying=copying) from None


def run_program(
    login: PostgresqlLogin,
    operation: str,
    program: Path,
    *arguments: str | Path,
    copying: bool = True,
    seconds: float = 24 * 3600.0,
    watch: Callable[[], object] | None = None,
) -> None:
    """Run one of PostgreSQL's own programs against the server, to its end.

    Raises SourceError (a CopyError while ``copying``) about ``operation`` where it fails.
    """
    ended = run([program, *arguments], environment=login.environment, seconds=seconds, watch=watch)
    if ended.code != 0:
        fault = fault_in(ended.err, f"{program.stem} ended with status {ended.code}")
        raise failure(operation, fault, copying=copying)


@contextmanager
def pass_file(password: str | None) -> Iterator[Path | None]:
    """libpq's password file for whatever server is asked, gone when the block ends; None without one."""
    if password is None:
        yield None
        return
    if "\n" in password or "\r" in password or "\0" in password:
        raise SourceError(
            "cannot use the password of the database: it holds a line break",
            hint="Write the secret on one line.",
        )
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    with _private_text(f"*:*:*:*:{escaped}\n") as path:
        yield path


@contextmanager
def _private_text(text: str) -> Iterator[Path]:
    """A file that only this account can read, for the block."""
    # Pythons built for old systems have none.
    if sys.platform == "linux" and hasattr(os, "memfd_create"):
        # On Linux it is in memory alone, and gone with this process, however that ends.
        with os.fdopen(os.memfd_create("datasave"), "wb", buffering=0) as memory:
            os.fchmod(memory.fileno(), PRIVATE_FILE)
            memory.write(text.encode())
            yield Path(f"/proc/{os.getpid()}/fd/{memory.fileno()}")
        return
    with tempfile.TemporaryDirectory(prefix="datasave-") as folder:
        path = Path(folder) / "pass"
        with create_private(path) as stream:
            stream.write(text.encode())
        yield path


def local_host(port: int) -> str:
    """Where this machine's own server is reached: its socket's folder, or loopback where it has none."""
    for folder in _SOCKET_FOLDERS if os.name == "posix" else ():
        if (Path(folder) / f".s.PGSQL.{port}").exists():
            return folder
    return _SOCKET_FOLDERS[0] if os.name == "posix" else "localhost"


def _driver_module() -> Any:
    return manager(
        "cannot reach PostgreSQL: this machine has no ODBC",
        "Install libodbc2 and odbc-postgresql (Debian, Ubuntu) or unixODBC and postgresql-odbc.",
    )


def driver() -> str:
    """The name of PostgreSQL's ODBC driver on this machine. Raises SourceError where there is none."""
    installed = _driver_module().drivers()
    for name in DRIVERS:
        if name in installed:
            return name
    raise SourceError(
        "cannot reach PostgreSQL: its ODBC driver is not on this machine",
        hint="Install odbc-postgresql (Debian, Ubuntu), postgresql-odbc, or psqlODBC on Windows.",
    )


def _quoted(value: object) -> str:
    """A value in a libpq connection string."""
    text = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"
