"""What a database holds, as queries that any session gets the same answer from.

A table is read as one hash a row, computed by the server over all stored columns. The driver is not fit for
the values themselves: it holds a whole result in memory before it hands over a row, ends a text at its first
zero byte, and cannot tell dates of zeros or times of 800 hours; FLOAT comes with six digits.

Within a row, texts and bytes stand in hexadecimal, or as their SHA-256 where they may be long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.records import Finding, Table
from tasks.sources.mariadb.connection import driver, odbc_code
from tasks.sources.shared.odbc import fetch

SHORT = 1024
"""Texts that may have more bytes than this are hashed (SHA-256)."""

_TEXTS = frozenset({"char", "varchar", "binary", "varbinary", "enum", "set"})
_LONG = frozenset(
    f"{size}{kind}" for size in ("tiny", "", "medium", "long") for kind in ("text", "blob")
) | frozenset({"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring"})
_NUMBERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "decimal"})
_FORMS = {
    **dict.fromkeys(_NUMBERS, "{}"),
    **dict.fromkeys(("float", "double"), "CAST({} AS DOUBLE)"),
    **dict.fromkeys(("date", "datetime", "timestamp", "time", "year"), "CAST({} AS CHAR)"),
    **dict.fromkeys(_LONG, "SHA2({}, 256)"),
    **dict.fromkeys(("multipolygon", "geometrycollection"), "SHA2({}, 256)"),
    "bit": "CAST({} AS UNSIGNED)",
}
_OTHER = "SHA2(CAST({} AS CHAR), 256)"  # json of MySQL, uuid, inet6 and what is to come

_HELD = (
    "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE IN ({})"
)
_ROWS = "'BASE TABLE', 'SYSTEM VERSIONED', 'SEQUENCE'"

# Name, catalog table, its column with the schema's name, which columns, which rows.
_OBJECTS = (
    (
        "(columns)",
        "COLUMNS",
        "TABLE_SCHEMA",
        "TABLE_NAME, COLUMN_NAME, ORDINAL_POSITION, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, "
        "COLLATION_NAME, EXTRA, GENERATION_EXPRESSION, COLUMN_COMMENT",
        f"TABLE_NAME IN ({_HELD.format(_ROWS)})",
    ),
    (
        "(foreign keys)",
        "REFERENTIAL_CONSTRAINTS",
        "CONSTRAINT_SCHEMA",
        "TABLE_NAME, CONSTRAINT_NAME, REFERENCED_TABLE_NAME, UPDATE_RULE, DELETE_RULE",
        "TRUE",
    ),
    (
        "(functions)",
        "ROUTINES",
        "ROUTINE_SCHEMA",
        "ROUTINE_NAME, DTD_IDENTIFIER, ROUTINE_DEFINITION, DEFINER, SECURITY_TYPE, SQL_MODE",
        "ROUTINE_TYPE = 'FUNCTION'",
    ),
    (
        "(indexes)",
        "STATISTICS",
        "TABLE_SCHEMA",
        "TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX, COLUMN_NAME, NON_UNIQUE, SUB_PART, INDEX_TYPE",
        "TRUE",
    ),
    (
        "(procedures)",
        "ROUTINES",
        "ROUTINE_SCHEMA",
        "ROUTINE_NAME, ROUTINE_DEFINITION, DEFINER, SECURITY_TYPE, SQL_MODE",
        "ROUTINE_TYPE <> 'FUNCTION'",
    ),
    (
        "(triggers)",
        "TRIGGERS",
        "TRIGGER_SCHEMA",
        "TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER, "
        "ACTION_STATEMENT, DEFINER, SQL_MODE",
        "TRUE",
    ),
    (
        "(views)",
        "VIEWS",
        "TABLE_SCHEMA",
        "TABLE_NAME, VIEW_DEFINITION, CHECK_OPTION, DEFINER, SECURITY_TYPE",
        "TRUE",
    ),
)

# An event that is to run once is left out: loading a dump after its time drops it, as the server does.
_EVENTS = (
    "SELECT EVENT_NAME AS c0, EVENT_DEFINITION AS c1, DEFINER AS c2, INTERVAL_FIELD AS c3 "
    "FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE() AND EVENT_TYPE = 'RECURRING'"
)
# A server that asks for no password shows nobody its events, but its own table of them.
_STORED_EVENTS = (
    "SELECT name AS c0, body_utf8 AS c1, definer AS c2, interval_field AS c3 "
    "FROM mysql.event WHERE db = DATABASE() AND execute_at IS NULL"
)


def quoted(name: str) -> str:
    """A name for SQL, in MariaDB's quotation marks."""
    return "`" + name.replace("`", "``") + "`"


def tables_of(connection: Any) -> list[Table]:
    """All tables of the connection's database in name order, and its other objects as queries."""
    names = [str(name) for (name,) in fetch(connection, _HELD.format(_ROWS))]
    held: dict[str, list[str]] = {name: [] for name in names}
    for table, column, kind, size in fetch(
        connection,
        "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, IFNULL(CHARACTER_OCTET_LENGTH, 0) "
        "FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() "
        # Virtual columns hold no data, and computing them may need functions of the server.
        "AND EXTRA NOT LIKE '%VIRTUAL%' ORDER BY TABLE_NAME, ORDINAL_POSITION",
    ):
        if table in held:
            held[table].append(_expression(quoted(column), str(kind).lower(), int(size)))
    found = [
        Table(name=name, reference=quoted(name), columns=(_row_of(columns),))
        for name, columns in held.items()
    ]
    return sorted([*_objects(connection), *found], key=lambda table: table.name)


def contents(connection: Any, tables: Sequence[Table]) -> dict[str, tuple[int, str]]:
    """Row count and checksum of each table, computed by the server; the order of rows does not matter."""
    found = {}
    for table in tables:
        row = f"CAST(CONV(LEFT({table.columns[0]}, 16), 16, 10) AS UNSIGNED)"
        sql = f"SELECT COUNT(*), IFNULL(SUM({row}), 0) FROM {table.reference}"  # noqa: S608 - quoted names
        count, checksum = fetch(connection, sql)[0]
        found[table.name] = (int(count), format(int(checksum), "x"))
    return found


def differences(recorded: dict[str, tuple[int, str]], found: dict[str, tuple[int, str]]) -> list[Finding]:
    """One finding for each table that is missing, unknown, or holds other than what was recorded."""
    findings = []
    for name in sorted({*recorded, *found}):
        before, after = recorded.get(name), found.get(name)
        if before == after:
            continue
        if after is None:
            detail = "it is missing"
        elif before is None:
            detail = "it was not in the database when the dump was made"
        elif before[0] != after[0]:
            detail = f"{after[0]} of {before[0]} rows came back"
        else:
            detail = (
                "all rows came back, but not as they were; a dump shortens FLOAT to six digits: make such "
                "columns DOUBLE, or use `method: physical`"
            )
        findings.append(Finding(check="dump complete", passed=False, detail=detail, table=name))
    return findings


def check_tables(connection: Any) -> list[Finding]:
    """CHECK TABLE … EXTENDED of every table of the server: what mariadb-check does, one finding a fault."""
    names = fetch(
        connection,
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA NOT IN "  # noqa: S608
        f"('information_schema', 'performance_schema', 'sys') AND TABLE_TYPE IN ({_ROWS}) "
        "ORDER BY TABLE_SCHEMA, TABLE_NAME",
    )
    findings = [fault for schema, name in names for fault in _check_table(connection, schema, name)]
    if not findings:
        findings.append(Finding(check="tables", passed=True, detail=f"{len(names)} tables checked"))
    return findings


def _check_table(connection: Any, schema: str, name: str) -> list[Finding]:
    try:
        rows = fetch(connection, f"CHECK TABLE {quoted(schema)}.{quoted(name)} EXTENDED")
        # The texts may quote keys: only that there was an error is handed on.
        bad = any(str(row[2]).lower() in ("error", "warning") for row in rows)
        detail = "the engine finds it damaged" if bad else ""
    except driver().Error as error:
        detail = f"the engine fails on it (error {odbc_code(error)})"
    if not detail:
        return []
    return [Finding(check="tables", passed=False, detail=detail, table=f"{schema}.{name}")]


def _expression(column: str, kind: str, size: int) -> str:
    if kind in _TEXTS:
        return f"HEX({column})" if size <= SHORT else f"SHA2({column}, 256)"
    return _FORMS.get(kind, _OTHER).format(column)


def _row_of(values: Sequence[str]) -> str:
    """One hash of a row. No value can hold the mark between them, nor the word for NULL."""
    texts = ", ".join(f"IFNULL({value}, 'NULL')" for value in values) or "''"
    return f"SHA1(CONCAT_WS('|', {texts}))"


def _objects(connection: Any) -> list[Table]:
    found = []
    for name, catalog, schema, columns, which in _OBJECTS:
        names = columns.split(", ")
        listed = ", ".join(f"{column} AS c{place}" for place, column in enumerate(names))
        query = (
            f"SELECT {listed} FROM information_schema.{catalog} "  # noqa: S608 - words of this module
            f"WHERE {schema} = DATABASE() AND {which}"
        )
        found.append(_as_table(name, query, len(names)))
    found.append(_as_table("(events)", _events_of(connection), 4))
    return found


def _as_table(name: str, query: str, columns: int) -> Table:
    hashed = [f"SHA2(TRIM(CONVERT(c{place} USING utf8mb4)), 256)" for place in range(columns)]
    return Table(name=name, reference=f"({query}) AS held", columns=(_row_of(hashed),))


def _events_of(connection: Any) -> str:
    try:
        fetch(connection, "SELECT 1 FROM mysql.event LIMIT 0")
    except driver().Error:
        return _EVENTS
    return _STORED_EVENTS
