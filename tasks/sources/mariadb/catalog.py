"""What a database holds, as queries that any session gets the same answer from.

A table is read as one hash a row, computed by the server over all stored columns; the sum of these is the
table's digest. The driver is not fit for the values themselves: it holds a whole result in memory before it
hands over a row, ends a text at its first zero byte, and cannot tell dates of zeros or times of 800 hours;
FLOAT comes with six digits.

Within a row, texts and bytes stand in hexadecimal, or as their SHA-256 where they may be long.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from tasks.records import Finding, Table
from tasks.sources.mariadb.connection import driver, odbc_code, quoted
from tasks.sources.mariadb.definitions import definitions
from tasks.sources.shared.odbc import fetch

SHORT = 1024
"""Texts that may have more bytes than this are hashed (SHA-256)."""
_UNKNOWN_ENGINE = re.compile(r"Unknown storage engine '(\w+)'")

_TEXTS = frozenset({"char", "varchar", "binary", "varbinary", "enum", "set"})
_LONG = frozenset(
    f"{size}{kind}" for size in ("tiny", "", "medium", "long") for kind in ("text", "blob")
) | frozenset({"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring"})
_NUMBERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "decimal"})
_FLOAT = "float"
_FORMS = {
    **dict.fromkeys(_NUMBERS, "{}"),
    **dict.fromkeys((_FLOAT, "double"), "CAST({} AS DOUBLE)"),
    **dict.fromkeys(("date", "datetime", "timestamp", "time", "year"), "CAST({} AS CHAR)"),
    **dict.fromkeys(_LONG, "SHA2({}, 256)"),
    **dict.fromkeys(("multipolygon", "geometrycollection"), "SHA2({}, 256)"),
    "bit": "CAST({} AS UNSIGNED)",
}
_OTHER = "SHA2(CAST({} AS CHAR), 256)"  # json of MySQL, uuid, inet6 and what is to come
_AS_DUMPED = "CAST({} AS CHAR)"
"""A FLOAT as a dump writes it: with six digits."""

_KEPT = "'BASE TABLE', 'SYSTEM VERSIONED', 'SEQUENCE'"
# An engine that is not loaded cannot be asked for its rows; _check_table names such a table.
_HELD = (
    "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() "  # noqa: S608
    f"AND TABLE_TYPE IN ({_KEPT}) "
    "AND NOT (CREATE_OPTIONS IS NULL AND TABLE_COMMENT LIKE 'Unknown storage engine%')"
)

# Name, catalog table, its column with the schema's name, which columns, which rows.
_OBJECTS = (
    (
        "(columns)",
        "COLUMNS",
        "TABLE_SCHEMA",
        "TABLE_NAME, COLUMN_NAME, ORDINAL_POSITION, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, "
        "COLLATION_NAME, EXTRA, GENERATION_EXPRESSION, COLUMN_COMMENT",
        f"TABLE_NAME IN ({_HELD})",
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

# Events that end of themselves are left out: loading a dump after their time drops them, as the server does.
_EVENTS = (
    "SELECT EVENT_NAME AS c0, EVENT_DEFINITION AS c1, DEFINER AS c2, INTERVAL_FIELD AS c3 "
    "FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE() AND EVENT_TYPE = 'RECURRING'"
)
# A server that asks for no password shows nobody its events, but its own table of them.
_STORED_EVENTS = (
    "SELECT name AS c0, body_utf8 AS c1, definer AS c2, interval_field AS c3 "
    "FROM mysql.event WHERE db = DATABASE() AND execute_at IS NULL"
)
_EVENT_COLUMNS = (
    "name, body_utf8, definer, interval_field, interval_value, starts, status, on_completion, sql_mode, "
    "comment, originator, time_zone, character_set_client, collation_connection, db_collation"
)

WHOLE_SERVER = "@datasave_whole_server"
"""A variable that is set in sessions on a copy of all files: the accounts there are the source's own."""
_ACCOUNTS = (
    "global_priv",
    "db",
    "tables_priv",
    "columns_priv",
    "procs_priv",
    "roles_mapping",
    "proxies_priv",
)
_WHEN_GRANTED = "Timestamp"


class _Column(NamedTuple):
    """A column's quoted name, the SQL of its value, and whether it is a FLOAT."""

    name: str
    value: str
    shortened: bool


def tables_of(connection: Any) -> list[Table]:
    """All tables of the connection's database in name order, and its other objects as queries."""
    tables = [*data_tables(connection), *_objects(connection, earlier=False), _defined(connection)]
    if _has_accounts(connection):
        tables += [_accounts(connection, name) for name in _ACCOUNTS]
    return sorted(tables, key=lambda table: table.name)


def earlier_tables(connection: Any) -> list[Table]:
    """As profiles of version 1 listed them: a row's hash was the one column."""
    return [_as_earlier(table) for table in earlier_digests(connection)]


def earlier_digests(connection: Any) -> list[Table]:
    """The same with digests: copies of the first format recorded them."""
    tables = [*data_tables(connection, earlier=True), *_objects(connection, earlier=True)]
    return sorted(tables, key=lambda table: table.name)


def data_tables(connection: Any, *, earlier: bool = False, as_dumped: bool = False) -> list[Table]:
    """All tables and sequences, with their history where they keep one (not in profiles of version 1).

    ``as_dumped``: only those with FLOAT columns, and these as a dump writes them.
    """
    held = _columns(connection, "DATABASE()")
    versioned = {} if earlier else _versioned(connection)
    found = []
    for name in [str(row[0]) for row in fetch(connection, _HELD)]:
        columns = [*held.get(name, []), *versioned.get(name, [])]
        if as_dumped and not any(column.shortened for column in columns):
            continue
        values = [
            _AS_DUMPED.format(column.name) if as_dumped and column.shortened else column.value
            for column in columns
        ]
        history = " FOR SYSTEM_TIME ALL" if name in versioned else ""
        found.append(
            Table(
                name=name,
                reference=f"{quoted(name)}{history}",
                columns=tuple(column.name for column in columns),
                digest=_digest(values),
            )
        )
    return found


def shortened_columns(connection: Any, table: str) -> list[str]:
    """Names of a table's FLOAT columns."""
    return [c.name.strip("`") for c in _columns(connection, "DATABASE()").get(table, []) if c.shortened]


def _columns(connection: Any, schema: str) -> dict[str, list[_Column]]:
    """Each table's columns. Virtual ones hold no data; computing them may need functions of the server."""
    found: dict[str, list[_Column]] = {}
    for table, column, kind, size in fetch(
        connection,
        "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, IFNULL(CHARACTER_OCTET_LENGTH, 0) "  # noqa: S608
        f"FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {schema} "
        "AND EXTRA NOT LIKE '%VIRTUAL%' ORDER BY TABLE_NAME, ORDINAL_POSITION",
    ):
        name, type_name = quoted(column), str(kind).lower()
        value = _expression(name, type_name, int(size))
        found.setdefault(table, []).append(_Column(name, value, type_name == _FLOAT))
    return found


def _versioned(connection: Any) -> dict[str, list[_Column]]:
    """Tables that keep their history, each with the two columns of its period where these have no names."""
    rows = fetch(
        connection,
        "SELECT t.TABLE_NAME, SUM(c.GENERATION_EXPRESSION IN ('ROW START', 'ROW END')) "
        "FROM information_schema.TABLES t JOIN information_schema.COLUMNS c "
        "ON c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME "
        "WHERE t.TABLE_SCHEMA = DATABASE() AND t.TABLE_TYPE = 'SYSTEM VERSIONED' GROUP BY t.TABLE_NAME",
    )
    unnamed = [_Column(name, f"CAST({name} AS CHAR)", shortened=False) for name in ("row_start", "row_end")]
    return {str(table): [] if named else unnamed for table, named in rows}


def _expression(column: str, kind: str, size: int) -> str:
    if kind in _TEXTS:
        return f"HEX({column})" if size <= SHORT else f"SHA2({column}, 256)"
    return _FORMS.get(kind, _OTHER).format(column)


def _row_of(values: Sequence[str]) -> str:
    """One hash of a row. No value can hold the mark between them, nor the word for NULL."""
    texts = ", ".join(f"IFNULL({value}, 'NULL')" for value in values) or "''"
    return f"SHA1(CONCAT_WS('|', {texts}))"


def _digest(values: Sequence[str]) -> str:
    """The sum of 64 bits of each row's hash, in decimals: HEX would cut off what is beyond 64 bits."""
    return f"CAST(SUM(CAST(CONV(LEFT({_row_of(values)}, 16), 16, 10) AS UNSIGNED)) AS CHAR)"


def _as_earlier(table: Table) -> Table:
    row = table.digest.split("LEFT(", 1)[1].rsplit(", 16), 16, 10)", 1)[0]
    return table.model_copy(update={"columns": (row,), "digest": ""})


def _objects(connection: Any, *, earlier: bool) -> list[Table]:
    found = []
    for name, catalog, schema, columns, which in _OBJECTS:
        names = columns.split(", ")
        listed = ", ".join(f"{column} AS c{place}" for place, column in enumerate(names))
        query = (
            f"SELECT {listed} FROM information_schema.{catalog} "  # noqa: S608 - words of this module
            f"WHERE {schema} = DATABASE() AND {which}"
        )
        found.append(_as_table(name, query, len(names)))
    return [*found, _events(connection, earlier=earlier)]


def _as_table(name: str, query: str, columns: int) -> Table:
    hashed = [f"SHA2(TRIM(CONVERT(c{place} USING utf8mb4)), 256)" for place in range(columns)]
    return Table(name=name, reference=f"({query}) AS held", columns=(), digest=_digest(hashed))


def _events(connection: Any, *, earlier: bool) -> Table:
    try:
        fetch(connection, "SELECT 1 FROM mysql.event LIMIT 0")
    except driver().Error:
        return _as_table("(events)", _EVENTS, 4)
    if earlier:
        return _as_table("(events)", _STORED_EVENTS, 4)
    names = _EVENT_COLUMNS.split(", ")
    listed = ", ".join(f"{column} AS c{place}" for place, column in enumerate(names))
    lasting = "db = DATABASE() AND execute_at IS NULL AND ends IS NULL"
    query = f"SELECT {listed} FROM mysql.event WHERE {lasting}"  # noqa: S608 - words of this module
    return _as_table("(events)", query, len(names))


def _defined(connection: Any) -> Table:
    """What the objects' definitions and counters are, as a table with a row for each."""
    seen = definitions(connection)
    # Not every server shows its events so; they are a table of their own.
    lasting = {name: text for name, text in seen.objects.items() if not name.startswith("event ")}
    rows = [f"{name}: {text} {seen.counters.get(name, '')}" for name, text in lasting.items()]
    listed = json.dumps(rows).replace("\\", "\\\\").replace("'", "\\'")
    reference = f"JSON_TABLE('{listed}', '$[*]' COLUMNS (held LONGTEXT PATH '$')) AS held"
    return Table(name="(definitions)", reference=reference, columns=(), digest=_digest(("SHA2(held, 256)",)))


def _has_accounts(connection: Any) -> bool:
    return fetch(connection, f"SELECT {WHOLE_SERVER}")[0][0] is not None


def _accounts(connection: Any, name: str) -> Table:
    columns = [c for c in _columns(connection, "'mysql'").get(name, []) if c.name.strip("`") != _WHEN_GRANTED]
    digest = _digest([column.value for column in columns])
    return Table(name=f"(mysql.{name})", reference=f"mysql.{quoted(name)}", columns=(), digest=digest)


def check_tables(connection: Any) -> list[Finding]:
    """CHECK TABLE … EXTENDED of every table of the server: what mariadb-check does, one finding a fault."""
    names = fetch(
        connection,
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA NOT IN "  # noqa: S608
        f"('information_schema', 'performance_schema', 'sys') AND TABLE_TYPE IN ({_KEPT}) "
        "ORDER BY TABLE_SCHEMA, TABLE_NAME",
    )
    findings = [fault for schema, name in names for fault in _check_table(connection, schema, name)]
    if not any(finding.failed for finding in findings):
        detail = f"{len(names) - len(findings)} tables checked"
        findings.append(Finding(check="tables", passed=True, detail=detail))
    return findings


def _check_table(connection: Any, schema: str, name: str) -> list[Finding]:
    try:
        rows = fetch(connection, f"CHECK TABLE {quoted(schema)}.{quoted(name)} EXTENDED")
        # The texts may quote keys: only that there was an error is handed on.
        bad = any(str(row[2]).lower() in ("error", "warning") for row in rows)
        unknown = [match for row in rows if (match := _UNKNOWN_ENGINE.match(str(row[3])))]
        detail = "the engine finds it damaged" if bad else ""
    except driver().Error as error:
        unknown, detail = [], f"the engine fails on it (error {odbc_code(error)})"
    table = f"{schema}.{name}"
    if unknown:
        detail = (
            f"its storage engine {unknown[0][1]} is a plugin, which the private server over a copy does not "
            "load: its file was copied whole, its rows were not read. Make it InnoDB to have it checked"
        )
        return [Finding(check="tables", passed=False, unchecked=True, detail=detail, table=table)]
    return [Finding(check="tables", passed=False, detail=detail, table=table)] if detail else []
