"""What a database consists of: its tables with how each column is read, and all else by its definition.

Definitions hold no OID and nothing that a later major version words otherwise, so that two restores of one
copy agree, on whichever machine. What belongs to an extension is the extension's own and left out.

Columns are read as text, which is the same whatever driver and Python make of a type: NaN, infinite dates,
arrays, jsonb. What may be long is hashed by the server, so that a scanned document of megabytes is read, but
never carried over.
"""

# ruff: noqa: S608 - what is put together here comes from this file, or was quoted by PostgreSQL
from __future__ import annotations

from typing import Any

from tasks.records import Table

_USERS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"


def _own(catalog: str, row: str) -> str:
    """A condition: the object is part of no extension, and not made by PostgreSQL for another object."""
    return (
        f"NOT EXISTS (SELECT FROM pg_depend m WHERE m.classid = '{catalog}'::regclass "
        f"AND m.objid = {row}.oid AND m.deptype IN ('e', 'i') "
        "AND m.refclassid IN ('pg_extension'::regclass, 'pg_type'::regclass))"
    )


_RELATION = "format('%I.%I', n.nspname, c.relname)"
_OF_RELATION = f"FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND {_USERS}"
_OWN_RELATION = _own("pg_class", "c")


def _views(kind: str) -> str:
    """What views show and where from. Not their text: later versions write the same query otherwise."""
    return f"""
        SELECT {_RELATION} AS name,
            (SELECT string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', '
                ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0)
            || ' FROM ' ||
            (SELECT coalesce(string_agg(DISTINCT u.relname::text, ', '), '') FROM pg_rewrite r
                JOIN pg_depend p ON p.classid = 'pg_rewrite'::regclass AND p.objid = r.oid
                    AND p.refclassid = 'pg_class'::regclass AND p.refobjid <> c.oid
                JOIN pg_class u ON u.oid = p.refobjid WHERE r.ev_class = c.oid) AS definition
        {_OF_RELATION} WHERE c.relkind = '{kind}' AND c.relpersistence <> 't' AND {_OWN_RELATION}"""


OBJECTS = {
    "columns": f"""
        SELECT format('%s.%I', {_RELATION}, a.attname) AS name,
            concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END,
                nullif(a.attidentity, ''), nullif(a.attgenerated, ''),
                pg_get_expr(d.adbin, d.adrelid)) AS definition
        {_OF_RELATION}
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't' AND {_OWN_RELATION}""",
    "views": _views("v"),
    "materialized views": _views("m"),
    "sequences": f"""
        SELECT {_RELATION} AS name, concat_ws(' ', format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement,
            s.seqmin, s.seqmax, s.seqcycle, pg_sequence_last_value(c.oid)) AS definition
        {_OF_RELATION} JOIN pg_sequence s ON s.seqrelid = c.oid
        WHERE c.relpersistence <> 't' AND {_OWN_RELATION}""",
    "indexes": f"""
        SELECT {_RELATION} AS name, pg_get_indexdef(c.oid) AS definition
        {_OF_RELATION} JOIN pg_index i ON i.indexrelid = c.oid AND (i.indisvalid OR c.relkind = 'I')
        JOIN pg_class t ON t.oid = i.indrelid AND t.relpersistence <> 't' WHERE {_own("pg_class", "t")}""",
    # Versions differ in which internal copies a foreign key has, and in whether NOT NULL is a constraint.
    "constraints": f"""
        SELECT format('%I.%I.%I', n.nspname, coalesce(c.relname, t.typname), o.conname) AS name,
            pg_get_constraintdef(o.oid) AS definition
        FROM pg_constraint o JOIN pg_namespace n ON n.oid = o.connamespace AND {_USERS}
        LEFT JOIN pg_class c ON c.oid = o.conrelid LEFT JOIN pg_type t ON t.oid = o.contypid
        WHERE o.contype IN ('c', 'f', 'p', 'u', 'x') AND o.conparentid = 0
            AND coalesce(c.relpersistence <> 't', true)
            AND NOT EXISTS (SELECT FROM pg_depend m WHERE m.deptype = 'e' AND m.objid IN (c.oid, t.oid))""",
    "triggers": f"""
        SELECT format('%s.%I', {_RELATION}, g.tgname) AS name,
            concat_ws(' ', pg_get_triggerdef(g.oid), g.tgenabled) AS definition
        {_OF_RELATION} JOIN pg_trigger g ON g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgparentid = 0
        WHERE c.relpersistence <> 't' AND {_OWN_RELATION}""",
    "functions": f"""
        SELECT format('%I.%I(%s)', n.nspname, f.proname, pg_get_function_identity_arguments(f.oid)) AS name,
            concat_ws(' ', pg_get_function_result(f.oid), f.prokind, f.provolatile, f.prosecdef, f.prosrc)
                AS definition
        FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace AND {_USERS}
        WHERE {_own("pg_proc", "f")}""",
    "types": f"""
        SELECT format('%I.%I', n.nspname, t.typname) AS name, concat_ws(' ', t.typtype, t.typnotnull,
            format_type(nullif(t.typbasetype, 0), t.typtypmod), (SELECT string_agg(e.enumlabel, ','
                ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid)) AS definition
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace AND {_USERS}
        LEFT JOIN pg_class c ON c.oid = t.typrelid
        WHERE (t.typtype IN ('d', 'e', 'r') OR c.relkind = 'c') AND {_own("pg_type", "t")}""",
    "policies": f"""
        SELECT format('%s.%I', {_RELATION}, p.polname) AS name,
            concat_ws(' ', p.polcmd, p.polpermissive, c.relrowsecurity, c.relforcerowsecurity,
                pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)) AS definition
        {_OF_RELATION} JOIN pg_policy p ON p.polrelid = c.oid WHERE {_OWN_RELATION}""",
    "rules": f"""
        SELECT format('%s.%I', {_RELATION}, r.rulename) AS name, concat_ws(' ', r.ev_type, r.ev_enabled)
            AS definition
        {_OF_RELATION} JOIN pg_rewrite r ON r.ev_class = c.oid AND r.rulename <> '_RETURN'
        WHERE {_OWN_RELATION}""",
    "partitioned tables": f"""
        SELECT {_RELATION} AS name, pg_get_partkeydef(c.oid) AS definition
        {_OF_RELATION} WHERE c.relkind = 'p' AND c.relpersistence <> 't' AND {_OWN_RELATION}""",
    "foreign tables": f"""
        SELECT {_RELATION} AS name, s.srvname::text AS definition
        {_OF_RELATION} JOIN pg_foreign_table f ON f.ftrelid = c.oid
        JOIN pg_foreign_server s ON s.oid = f.ftserver WHERE {_OWN_RELATION}""",
    "schemas": f"""
        SELECT n.nspname::text AS name, '' AS definition
        FROM pg_namespace n WHERE {_USERS} AND {_own("pg_namespace", "n")}""",
    # Checking a clone may add amcheck, which holds nothing.
    "extensions": """
        SELECT extname::text AS name, '' AS definition FROM pg_extension WHERE extname <> 'amcheck'""",
    "event triggers": f"""
        SELECT v.evtname::text AS name, concat_ws(' ', v.evtevent, v.evtenabled) AS definition
        FROM pg_event_trigger v WHERE {_own("pg_event_trigger", "v")}""",
    "publications": "SELECT pubname::text AS name, puballtables::text AS definition FROM pg_publication",
}
"""A query for each class of objects; it gives the columns ``name`` and ``definition``."""

LARGE_OBJECTS = "SELECT loid::text AS name, pageno::text AS page, data FROM pg_largeobject"
"""Their contents, in pages. Their OIDs are part of the data: tables refer to them by number."""

_TABLES = f"""
    SELECT {_RELATION} AS name, c.relkind, c.relpersistence, c.oid
    {_OF_RELATION} WHERE c.relkind = ANY (string_to_array('{{kinds}}', ',')::"char"[])
        AND c.relpersistence <> 't' AND c.relispopulated AND {_OWN_RELATION} ORDER BY name"""


def table_query(kinds: str) -> str:
    """SQL for the user's relations of these kinds (``r``, ``p``, ``m``, with commas): name, kind,
    persistence, OID. The name is quoted where it must be, ready for SQL.
    """
    return _TABLES.replace("{kinds}", kinds)


def rows_of(connection: Any, sql: str) -> list[Any]:
    """All rows of a small result."""
    cursor = connection.cursor()
    try:
        cursor.execute(sql)
        return list(cursor.fetchall())
    finally:
        cursor.close()


def count_rows(connection: Any, table: str) -> int:
    """Rows of a table whose name is quoted already."""
    return int(rows_of(connection, f"SELECT count(*) FROM ONLY {table}")[0][0])


def object_names(connection: Any) -> dict[str, tuple[str, ...]]:
    """The names of all objects, by class; of large objects their numbers."""
    queries = {**OBJECTS, "large objects": "SELECT oid::text AS name FROM pg_largeobject_metadata"}
    found = {
        # PostgreSQL computes no definition that nobody asks for; some would need more rights.
        kind: rows_of(connection, f"SELECT name FROM ({sql}) AS objects")
        for kind, sql in queries.items()
    }
    return {kind: tuple(sorted(str(row[0]) for row in rows)) for kind, rows in found.items()}


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
    is listed only where it is really there, which ``METHOD_SETTING`` of the connection says. Foreign tables
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
