"""The driver manager, for the adapters that speak ODBC."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from tasks.errors import SourceError
from tasks.records import Profile, Table, TableProfile


def manager(missing: str, hint: str) -> Any:
    """The module pyodbc, set not to keep connections: a kept one outlives the scratch engine it leads to.

    Raises SourceError, with these two texts, where the system has no ODBC.
    """
    try:
        import pyodbc
    except ImportError as error:
        raise SourceError(missing, hint=hint) from error
    pyodbc.pooling = False
    return pyodbc


def sqlstate(error: Exception) -> str:
    """The five letters that ODBC gives an error; empty where it has none."""
    state = str(error.args[0]) if error.args else ""
    return state if re.fullmatch(r"[0-9A-Z]{5}", state) else ""


def fetch(connection: Any, sql: str, *values: object) -> list[Any]:
    """All rows that ``sql`` gives; none for a statement without rows."""
    cursor = connection.cursor()
    try:
        cursor.execute(sql, *values)
        return list(cursor.fetchall()) if cursor.description else []
    finally:
        cursor.close()


def contents(connection: Any, tables: Iterable[Table]) -> Profile:
    """Row counts and fingerprints of tables, computed by the server. Raises the driver's own error."""
    measured = [
        TableProfile.digested(table, int(rows), digest)
        for table in tables
        for rows, digest in fetch(connection, table.query)
    ]
    return Profile(tables=tuple(measured))
