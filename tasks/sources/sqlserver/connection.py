"""Connections to SQL Server over ODBC: connection strings, and statements run to their real end.

Statements carry no parameters: BACKUP and RESTORE take few, and a name can be none. Names and texts are
quoted by ``bracketed`` and ``literal``, which refuse what has no place in one.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from tasks.errors import SourceError
from tasks.platform.secrets import secret_of
from tasks.sources.shared.odbc import manager
from tasks.sources.sqlserver.errors import CONNECTION_LOST, SqlError, sql_error

LOGIN_SECONDS = 20
_TICK = 0.2
_LONGEST_NAME = 128
_DATETIMEOFFSET = -155
Row = dict[str, Any]


def bracketed(name: str) -> str:
    """An identifier in brackets, whatever it holds. Raises SourceError where it cannot be a name."""
    if not 0 < len(name) <= _LONGEST_NAME or "\0" in name:
        raise SourceError("a name of the database is not one SQL Server can have", hint="Check the plan.")
    return "[" + name.replace("]", "]]") + "]"


def literal(text: str) -> str:
    """A text as T-SQL writes it. Raises SourceError for control characters, which no path or name has."""
    if any(ord(letter) < 32 for letter in text):
        raise SourceError(
            "a path or name holds a control character", hint="Put paths in single quotes in the plan."
        )
    return "N'" + text.replace("'", "''") + "'"


@dataclass(frozen=True)
class ServerLogin:
    """One server and how to sign in there. ``user`` empty: as the Windows account that runs Datasave."""

    address: str
    driver: str
    encrypt: str
    trust_certificate: bool
    user: str
    password: str

    @contextmanager
    def connect(self, database: str = "master") -> Iterator[Any]:
        """A connection, closed at the end. Raises SourceError without the driver, else SqlError."""
        pyodbc = _pyodbc()
        if self.driver not in pyodbc.drivers():
            raise SourceError(
                f"the ODBC driver {self.driver} is not on this machine",
                hint="Install Microsoft's ODBC driver for SQL Server, or name the one there is in `driver`.",
            )
        try:
            # autocommit: BACKUP and RESTORE are refused inside a transaction (error 3021).
            connection = pyodbc.connect(self._string(database), autocommit=True, timeout=LOGIN_SECONDS)
        except pyodbc.Error as error:
            # `from None` here and below: the driver's text may quote the server's, and that a row.
            raise sql_error(error) from None
        try:
            # Else char columns come in a code page that only the server knows.
            connection.setdecoding(pyodbc.SQL_CHAR, encoding="utf-16le", ctype=pyodbc.SQL_WCHAR)
            connection.add_output_converter(_DATETIMEOFFSET, _moment)
            yield connection
        finally:
            with suppress(pyodbc.Error):
                connection.close()

    def _string(self, database: str) -> str:
        words = self._freetds_words() if "freetds" in self.driver.lower() else self._microsoft_words()
        words |= {"Database": self._value(database)}
        if self.user:
            words |= {"UID": self._value(self.user), "PWD": self._value(secret_of(self.password))}
        else:
            words |= {"Trusted_Connection": "yes"}
        return f"Driver={{{self.driver}}};" + "".join(f"{name}={value};" for name, value in words.items())

    def _microsoft_words(self) -> dict[str, str]:
        return {
            "Server": self._value(self.address),
            "Encrypt": self.encrypt,
            "TrustServerCertificate": "yes" if self.trust_certificate else "no",
            "APP": "Datasave",
        }

    def _freetds_words(self) -> dict[str, str]:
        host, _, port = self.address.partition(",")
        address = {"Server": host, "Port": port.strip()} if port else {"Server": host}
        level = {"no": "off", "yes": "require", "strict": "strict"}[self.encrypt]
        return {**address, "TDS_Version": "7.4", "Encryption": level, "APP": "Datasave"}

    def _value(self, value: str) -> str:
        # FreeTDS takes a doubled brace for two.
        return "{" + (value if "freetds" in self.driver.lower() else value.replace("}", "}}")) + "}"


def query(connection: Any, sql: str) -> list[Row]:
    """All rows of a short query, by column name. Raises SqlError."""
    found = run_to_end(connection, sql)
    return found[0] if found else []


def run_to_end(connection: Any, sql: str, watch: Callable[[], object] | None = None) -> list[list[Row]]:
    """Run a statement until the server has nothing more to say; every result set's rows.

    BACKUP, RESTORE and DBCC answer in many results, a message each. The driver returns at the first, while
    the server still works: closing the cursor then cancels the backup, without any error, and its file is
    gone. So every result is fetched, and errors that come with a later one are met. ``watch`` is called some
    times a second on this thread; what it raises cancels the statement. Raises SqlError.
    """
    pyodbc = _pyodbc()
    try:
        cursor = connection.cursor()
    except pyodbc.Error as error:
        raise sql_error(error) from None
    work = _Work(cursor, sql, pyodbc.Error)
    work.start()
    try:
        while work.is_alive():
            work.join(_TICK)
            if watch is not None and work.is_alive():
                watch()
    except BaseException:
        with suppress(pyodbc.Error):
            cursor.cancel()
        work.join(LOGIN_SECONDS)
        raise
    with suppress(pyodbc.Error):
        cursor.close()
    if isinstance(work.problem, SqlError):
        raise _lost_or(work.problem, connection)
    if work.problem is not None:
        raise work.problem
    return work.results


def _lost_or(error: SqlError, connection: Any) -> SqlError:
    """``error``, or that the connection is lost: between two results FreeTDS has no words for that."""
    if error.numbers:
        return error
    try:
        connection.cursor().execute("SELECT 1").fetchone()
    except _pyodbc().Error:
        return SqlError(CONNECTION_LOST, ())
    return error


class _Work(threading.Thread):
    """A statement on a thread of its own, so that Ctrl-C and ``watch`` are heard while it runs."""

    def __init__(self, cursor: Any, sql: str, failure: type[Exception]) -> None:
        super().__init__(name="datasave-sqlserver", daemon=True)
        self._cursor, self._sql, self._failure = cursor, sql, failure
        self.results: list[list[Row]] = []
        self.problem: BaseException | None = None

    def run(self) -> None:
        try:
            self._cursor.execute(self._sql)
            while True:
                if self._cursor.description:
                    names = [column[0] for column in self._cursor.description]
                    rows = [dict(zip(names, row, strict=True)) for row in self._cursor.fetchall()]
                    self.results.append(rows)
                if not self._cursor.nextset():
                    return
        except self._failure as error:
            self.problem = sql_error(error)
        except BaseException as error:  # noqa: BLE001 - raised again on the thread that waits
            self.problem = error


def _pyodbc() -> Any:
    # Without pooling also because a scratch database that a kept connection is in could not be dropped.
    return manager(
        "ODBC is not on this machine",
        "On Linux install unixODBC (Debian: apt install libodbc2), then Microsoft's driver.",
    )


def _moment(data: bytes) -> datetime:
    """A datetimeoffset as ODBC hands it out (SQL_SS_TIMESTAMPOFFSET_STRUCT), which pyodbc cannot read."""
    *date, nanoseconds, hours, minutes = struct.unpack("<6hI2h", data)
    zone = timezone(timedelta(hours=hours, minutes=minutes))
    return datetime(*date, nanoseconds // 1000, tzinfo=zone)  # type: ignore[misc]
