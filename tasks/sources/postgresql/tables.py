"""The tables of an open copy, and how each column is read: as text, exactly, and never very long.

Text is the same whatever driver and Python make of a type: NaN, infinite dates, arrays, jsonb. What may be
long is hashed by the server, so that a scanned document of megabytes is read, but never carried over.
"""

from __future__ import annotations

from typing import Any

from tasks.records import Table
from tasks.sources.postgresql.catalog import LARGE_OBJECTS, OBJECTS, rows_of, table_query

# How values look as text; else a setting of the database or role would change a fingerprint.
PINNED = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmlbinary": "base64",
}
METHOD_SETTING = "datasave.method"
LONGEST_PLAIN = 1000

# Types without inner length: their text is short.
_PLAIN = frozenset(
    {"bool", "int2", "int4", "int8", "float4", "float8", "numeric", "money", "date", "time", "timetz"}
    | {"timestamp", "timestamptz", "interval", "uuid", "oid", "inet", "cidr", "macaddr", "macaddr8", "char"}
    | {"name", "pg_lsn", "xid", "xid8", "tid", "point", "lseg", "box", "circle", "line"}
)
_TEXTS = frozenset({"text", "varchar", "bpchar"})


def user_tables(connection: Any) -> list[Table]:
    """See Source.tables. Names are ``schema.table``.

    Partitions are tables, what they are partitions of is not: their rows would count twice. Unlogged
    tables come back empty from a physical copy, materialized views are computed anew by a logical one: each
    is told only where it is really there, which ``METHOD_SETTING`` of the connection says. Foreign tables
    never are: reading one would reach out to another server.
    """
    for name, value in PINNED.items():
        connection.cursor().execute(f"SET {name} = '{value}'")
    method, encoding = rows_of(
        connection, f"SELECT current_setting('{METHOD_SETTING}', true), current_setting('server_encoding')"
    )[0]
    kinds = "r,m" if method == "physical" else "r"
    unlogged = method == "logical"
    columns = _columns(connection, encoding)
    tables = [
        Table(name=name, reference=f"ONLY {name}", columns=columns.get(oid, ("'row'",)))
        for name, _, persistence, oid in rows_of(connection, table_query(kinds))
        if persistence == "p" or unlogged
    ]
    return sorted([*_pseudo_tables(encoding), *tables], key=lambda table: table.name)


def _pseudo_tables(encoding: str) -> list[Table]:
    objects = [
        Table(
            name=f"({kind})",
            reference=f"({' '.join(query.split())}) AS objects",
            columns=(_expression("name", "text", encoding), _expression("definition", "text", encoding)),
        )
        for kind, query in OBJECTS.items()
    ]
    pages = Table(
        name="(large objects)",
        reference=f"({LARGE_OBJECTS}) AS pages",
        columns=("name", "page", _expression("data", "bytea", encoding)),
    )
    return [*objects, pages]


def _columns(connection: Any, encoding: str) -> dict[int, tuple[str, ...]]:
    """Each relation's columns as SQL expressions. Computed ones that are not stored hold no data."""
    found: dict[int, list[str]] = {}
    sql = """
        SELECT a.attrelid, quote_ident(a.attname), coalesce(b.typname, t.typname)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'm')
        JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype
        WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'
        ORDER BY a.attrelid, a.attnum"""
    for oid, column, type_name in rows_of(connection, sql):
        found.setdefault(oid, []).append(_expression(column, type_name, encoding))
    return {oid: tuple(columns) for oid, columns in found.items()}


def _expression(column: str, type_name: str, encoding: str) -> str:
    """SQL for a column's value as a text, or as the text's sha256 where it may be long."""
    if type_name in _PLAIN:
        return f"({column})::text"
    if type_name == "bytea":
        # As text a bytea takes twice its length, and PostgreSQL's limit is one gigabyte.
        return (
            f"CASE WHEN octet_length({column}) > {LONGEST_PLAIN} THEN encode(sha256({column}), 'hex') "
            f"ELSE encode({column}, 'hex') END"
        )
    # In the database's own encoding: nothing is converted, so nothing is lost or refused.
    text = f"({column})::text"
    hashed = f"encode(sha256(convert_to({text}, '{encoding}')), 'hex')"
    # SQL_ASCII means bytes of any encoding, which a driver can't be relied on to hand over whole.
    if type_name in _TEXTS and encoding != "SQL_ASCII":
        return f"CASE WHEN octet_length({column}) > {LONGEST_PLAIN} THEN {hashed} ELSE {text} END"
    return hashed
