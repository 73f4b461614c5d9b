"""How a database's objects are defined, in the server's own words, and how far its counters have come.

What SHOW CREATE says is what a dump carries: columns, keys, CHECKs, partitions, engine, options, comments,
collations, definers, modes, schedules. Of each object only a hash is kept; names are kept to name it.

Three things don't come back as they were, and are held to limits instead: the next value of AUTO_INCREMENT
and of sequences, which heed no snapshot and move on while a dump runs; and events that end of themselves,
which a server drops when it is told of them after their time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from pydantic import Field

from tasks.records import Record
from tasks.sources.mariadb.connection import driver, odbc_code, quoted
from tasks.sources.shared.odbc import fetch

_COUNTER = re.compile(r"^(\) ENGINE=\w+)(?: AUTO_INCREMENT=(\d+))?", re.MULTILINE)
# A column in the format of before 10.0 is loaded in today's, and holds the same.
_OLD_FORMAT = " /* mariadb-5.3 */"

_CREATED = "Created"
"""A trigger's date of birth, which no dump brings back."""

_LISTED = (
    "SELECT CASE TABLE_TYPE WHEN 'SEQUENCE' THEN TABLE_TYPE ELSE 'TABLE' END, TABLE_NAME, 0 "
    "FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE <> 'VIEW'",
    "SELECT ROUTINE_TYPE, ROUTINE_NAME, 0 FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()",
    "SELECT 'TRIGGER', TRIGGER_NAME, ACTION_ORDER FROM information_schema.TRIGGERS "
    "WHERE TRIGGER_SCHEMA = DATABASE()",
    "SELECT 'EVENT', EVENT_NAME, 0 FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE()",
)
# In the words that a dump has for a view; SHOW CREATE leaves out the name of the database.
_VIEWS = (
    "SELECT TABLE_NAME, VIEW_DEFINITION, CHECK_OPTION, DEFINER, SECURITY_TYPE, CHARACTER_SET_CLIENT, "
    "COLLATION_CONNECTION FROM information_schema.VIEWS WHERE TABLE_SCHEMA = DATABASE()"
)
VIEW_PARTS = ("words", "option", "definer", "rights", "charset", "collation", "algorithm")
_ENDING = (
    "SELECT EVENT_NAME, DATE_FORMAT(CONVERT_TZ(COALESCE(EXECUTE_AT, ENDS), TIME_ZONE, '+00:00'), "
    "'%Y-%m-%dT%H:%i:%s+00:00') FROM information_schema.EVENTS "
    "WHERE EVENT_SCHEMA = DATABASE() AND COALESCE(EXECUTE_AT, ENDS) IS NOT NULL"
)


class Definitions(Record):
    """The objects of a database at one moment.

    ``objects`` gives each ("table visits") the hash of its definition. ``counters`` gives each table with
    AUTO_INCREMENT, and each sequence, its next value. ``cycled`` are the sequences that began anew.
    ``ending`` gives events their last moment, None where this server cannot tell it.
    """

    objects: dict[str, str]
    counters: dict[str, int]
    cycled: tuple[str, ...] = ()
    ending: dict[str, datetime | None] = Field(default_factory=dict)


def definitions(connection: Any) -> Definitions:
    """All of the connection's database, read in a session that was pinned (catalog.py)."""
    objects = {
        "database": hash_of(fetch(connection, "SHOW CREATE DATABASE " + quoted(_database(connection)))[0])
    }
    counting = counter_columns(connection)
    counters: dict[str, int] = {}
    for kind, name, order in (row for sql in _LISTED for row in fetch(connection, sql)):
        texts = _shown(connection, str(kind), str(name))
        if kind == "TABLE":
            texts, counter = _without_counter(texts)
            if f"table {name}" in counting:
                counters[f"table {name}"] = counter
        objects[f"{kind.lower()} {name}"] = hash_of([*texts, str(order)])
    for name, *texts in fetch(connection, _VIEWS):
        algorithm = re.search(r" ALGORITHM=(\w+) ", " ".join(_shown(connection, "VIEW", name)))
        objects[f"view {name}"] = hash_of([*texts, algorithm[1] if algorithm else ""])
    sequences = list(_sequences(connection, [one for one in objects if one.startswith("sequence ")]))
    counters |= {name: value for name, value, _ in sequences}
    return Definitions(
        objects=objects,
        counters=counters,
        cycled=tuple(name for name, _, cycles in sequences if cycles),
        ending={f"event {name}": _moment(at) for name, at in fetch(connection, _ENDING)},
    )


def counter_columns(connection: Any) -> dict[str, str]:
    """The column of each table that AUTO_INCREMENT fills."""
    rows = fetch(
        connection,
        "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() "
        "AND EXTRA LIKE '%auto_increment%'",
    )
    return {f"table {table}": str(column) for table, column in rows}


def _database(connection: Any) -> str:
    return str(fetch(connection, "SELECT DATABASE()")[0][0])


def _shown(connection: Any, kind: str, name: str) -> list[str]:
    """All that SHOW CREATE says of an object; where the server cannot say it, the number of its error."""
    cursor = connection.cursor()
    try:
        cursor.execute(f"SHOW CREATE {kind} {quoted(name)}")
        row = cursor.fetchone()
        named = zip(cursor.description, row, strict=True)
        return [str(value).strip() for column, value in named if column[0] != _CREATED]
    except driver().Error as error:
        return [f"error {odbc_code(error)}"]
    finally:
        cursor.close()


def _without_counter(texts: list[str]) -> tuple[list[str], int]:
    """A table's definition without its next AUTO_INCREMENT, and that: 1 is not written."""
    text = texts[-1].replace(_OLD_FORMAT, "")
    found = list(_COUNTER.finditer(text))
    if not found:
        return texts, 1
    last = found[-1]
    return [*texts[:-1], text[: last.start()] + last[1] + text[last.end() :]], int(last[2] or 1)


def _sequences(connection: Any, names: list[str]) -> Iterator[tuple[str, int, int]]:
    for name in names:
        table = quoted(name.removeprefix("sequence "))
        sql = f"SELECT next_not_cached_value, cycle_count FROM {table}"  # noqa: S608 - quoted
        value, cycles = fetch(connection, sql)[0]
        yield name, int(value), int(cycles)


def hash_of(texts: Iterable[object]) -> str:
    """The hash of a definition's parts."""
    return sha256("\0".join(map(str, texts)).encode("utf-8", "surrogatepass")).hexdigest()


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
