"""Tables as profiles of version 1 listed them: every value is carried over, as a text or a hash of one.

Only for comparing with backups that were made before the server computed fingerprints (catalog.py). What
may be long is hashed by the server, so that a scanned document of megabytes is read, but never carried over.
"""

from __future__ import annotations

from typing import Any

from tasks.records import Table
from tasks.sources.postgresql.catalog import (
    LONGEST_PLAIN,
    OBJECTS,
    PLAIN,
    TEXTS,
    pin,
    stored_tables,
)
from tasks.sources.shared.odbc import fetch

_LARGE_OBJECTS = "SELECT loid::text AS name, pageno::text AS page, data FROM pg_largeobject"


def earlier_tables(connection: Any) -> list[Table]:
    """See SupportsEarlierProfiles, and catalog.user_tables for what counts as a table."""
    pin(connection)
    encoding = fetch(connection, "SHOW server_encoding")[0][0]
    columns = _columns(connection, encoding)
    tables = [
        Table(name=name, reference=f"ONLY {name}", columns=columns.get(oid, ("'row'",)))
        for name, oid in stored_tables(connection)
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
        reference=f"({_LARGE_OBJECTS}) AS pages",
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
    for oid, column, type_name in fetch(connection, sql):
        found.setdefault(oid, []).append(_expression(column, type_name, encoding))
    return {oid: tuple(columns) for oid, columns in found.items()}


def _expression(column: str, type_name: str, encoding: str) -> str:
    """SQL for a column's value as a text, or as the text's sha256 where it may be long."""
    if type_name in PLAIN:
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
    if type_name in TEXTS and encoding != "SQL_ASCII":
        return f"CASE WHEN octet_length({column}) > {LONGEST_PLAIN} THEN {hashed} ELSE {text} END"
    return hashed
