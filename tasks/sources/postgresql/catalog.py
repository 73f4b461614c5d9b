"""What a database consists of: its tables with how each column is read, and all else by its definition.

Definitions hold no OID and nothing that a later major version words otherwise, so that two restores of one
copy agree, on whichever machine. What belongs to an extension is the extension's own and left out.

A fingerprint is computed by the server: the sum of a 64-bit hash of each row's text. The hash is the one that
hash-partitioned tables are built on, so PostgreSQL keeps it the same from version to version; the hash of a
type's own would take -0 for 0 and 1.0 for 1.00. Columns are taken in the order of their names, because a
restored child of an inherited table may have them in another.
"""

# ruff: noqa: S608 - what is put together here comes from this file, or was quoted by PostgreSQL
from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tasks.records import Table
from tasks.sources.shared.odbc import fetch

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

_OWNED = f"""
    SELECT 'relation' AS class, {_RELATION} AS name, c.relowner AS owner, c.relacl AS acl,
        (CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END)::"char" AS kind
    {_OF_RELATION} WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'
        AND {_OWN_RELATION}
    UNION ALL SELECT 'schema', quote_ident(n.nspname), n.nspowner, n.nspacl, 'n'
    FROM pg_namespace n WHERE {_USERS} AND {_own("pg_namespace", "n")}
    UNION ALL SELECT 'function', format('%I.%I(%s)', n.nspname, f.proname,
        pg_get_function_identity_arguments(f.oid)), f.proowner, f.proacl, 'f'
    FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace AND {_USERS} WHERE {_own("pg_proc", "f")}
    UNION ALL SELECT 'type', format('%I.%I', n.nspname, t.typname), t.typowner, t.typacl, 'T'
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace AND {_USERS}
    LEFT JOIN pg_class c ON c.oid = t.typrelid
    WHERE (t.typtype IN ('d', 'e', 'r') OR c.relkind = 'c') AND {_own("pg_type", "t")}
    UNION ALL SELECT 'foreign data wrapper', w.fdwname, w.fdwowner, w.fdwacl, 'F'
    FROM pg_foreign_data_wrapper w WHERE {_own("pg_foreign_data_wrapper", "w")}
    UNION ALL SELECT 'foreign server', s.srvname, s.srvowner, s.srvacl, 'S'
    FROM pg_foreign_server s WHERE {_own("pg_foreign_server", "s")}
    UNION ALL SELECT 'event trigger', v.evtname, v.evtowner, NULL, NULL
    FROM pg_event_trigger v WHERE {_own("pg_event_trigger", "v")}
    UNION ALL SELECT 'publication', p.pubname, p.pubowner, NULL, NULL FROM pg_publication p
    UNION ALL SELECT 'large object', l.oid::text, l.lomowner, l.lomacl, 'L' FROM pg_largeobject_metadata l
    UNION ALL SELECT 'database', NULL, d.datdba, d.datacl, 'd'
    FROM pg_database d WHERE d.datname = current_database()"""

# Version 17 has a right that a GRANT ALL of an earlier one did not mean.
_GRANTED = "a.privilege_type <> 'MAINTAIN'"

OWN_ROLE_SETTING = "datasave.own_role"
"""Names the role that a scratch server has for us, which nobody restores."""

FACTS = {
    "database": """
        SELECT fact.name, fact.definition FROM pg_database d CROSS JOIN LATERAL (VALUES
            ('comment', shobj_description(d.oid, 'pg_database')), ('template', d.datistemplate::text),
            ('connection limit', d.datconnlimit::text), ('encoding', pg_encoding_to_char(d.encoding))
        ) AS fact(name, definition) WHERE d.datname = current_database()
        UNION ALL SELECT concat_ws(' ', 'settings', r.rolname),
            (SELECT string_agg(one, ', ' ORDER BY one) FROM unnest(s.setconfig) AS one)
        FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
            AND d.datname = current_database() LEFT JOIN pg_roles r ON r.oid = s.setrole""",
    # Up to version 14 the public schema is the server's and all may use it, later it is the database owner's.
    "owners": f"""
        SELECT concat_ws(' ', class, name) AS name, pg_get_userbyid(owner)::text AS definition
        FROM ({_OWNED}) AS owned WHERE (class, name) IS DISTINCT FROM ('schema', 'public')""",
    "grants": f"""
        SELECT concat_ws(' ', o.class, o.name, coalesce(g.rolname, 'PUBLIC'), a.privilege_type) AS name,
            a.is_grantable::text AS definition
        FROM ({_OWNED}) AS o CROSS JOIN aclexplode(coalesce(o.acl, acldefault(o.kind, o.owner))) AS a
        LEFT JOIN pg_roles g ON g.oid = a.grantee WHERE a.grantee <> o.owner AND {_GRANTED}
            AND (o.class, o.name, a.grantee) IS DISTINCT FROM ('schema', 'public', 0)
        UNION ALL SELECT concat_ws(' ', 'column', {_RELATION}, quote_ident(c.attname),
            coalesce(g.rolname, 'PUBLIC'), a.privilege_type), a.is_grantable::text
        FROM (SELECT c.oid, c.relname, c.relnamespace, t.attname, t.attacl FROM pg_class c
            JOIN pg_attribute t ON t.attrelid = c.oid AND NOT t.attisdropped WHERE {_OWN_RELATION}) AS c
        JOIN pg_namespace n ON n.oid = c.relnamespace AND {_USERS}
        CROSS JOIN aclexplode(c.attacl) AS a LEFT JOIN pg_roles g ON g.oid = a.grantee""",
    "default privileges": f"""
        SELECT concat_ws(' ', pg_get_userbyid(d.defaclrole), n.nspname, d.defaclobjtype,
            coalesce(g.rolname, 'PUBLIC'), a.privilege_type) AS name, a.is_grantable::text AS definition
        FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
        LEFT JOIN LATERAL aclexplode(d.defaclacl) AS a ON {_GRANTED}
        LEFT JOIN pg_roles g ON g.oid = a.grantee""",
    "comments": """
        SELECT concat_ws(' ', i.type, i.identity) AS name, d.description AS definition
        FROM pg_description d CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) AS i
        WHERE d.objoid >= 16384
            AND d.classoid NOT IN ('pg_extension'::regclass, 'pg_subscription'::regclass)
            AND NOT EXISTS (SELECT FROM pg_depend m WHERE m.classid = d.classoid AND m.objid = d.objoid
                AND m.deptype = 'e')""",
    "roles": f"""
        SELECT r.rolname::text AS name, concat_ws(' ', r.rolsuper, r.rolinherit, r.rolcreaterole,
            r.rolcreatedb, r.rolcanlogin, r.rolreplication, r.rolbypassrls, r.rolconnlimit, r.rolvaliduntil,
            (SELECT string_agg(one, ', ' ORDER BY one) FROM pg_db_role_setting s, unnest(s.setconfig) AS one
                WHERE s.setrole = r.oid AND s.setdatabase = 0),
            (SELECT string_agg(concat(pg_get_userbyid(m.roleid), m.admin_option), ', '
                ORDER BY pg_get_userbyid(m.roleid)) FROM pg_auth_members m WHERE m.member = r.oid),
            shobj_description(r.oid, 'pg_authid')) AS definition
        FROM pg_roles r WHERE r.rolname !~ '^pg_'
            AND r.rolname IS DISTINCT FROM current_setting('{OWN_ROLE_SETTING}', true)""",
}
"""As OBJECTS, about what belongs to objects and to the database itself. A restore brings all of it back
letter by letter, so it can be held to the source: a definition comes back as PostgreSQL words it anew.
"""

# In pieces of a megabyte: one object may be larger than memory. By its OID, which is part of the data:
# tables refer to it by number. Where nothing was written yet there are zeros, in a restored one on disk.
_LARGE_OBJECTS = """
    SELECT sized.oid::text AS name, piece::text AS page, lo_get(sized.oid, piece * 1048576, 1048576) AS data
    FROM (SELECT opened.oid, lo_lseek64(opened.fd, 0, 2) + lo_close(opened.fd) AS bytes
        FROM (SELECT oid, lo_open(oid, 262144) AS fd FROM pg_largeobject_metadata OFFSET 0) AS opened OFFSET 0
        ) AS sized
    CROSS JOIN LATERAL generate_series(0, greatest(sized.bytes - 1, 0) / 1048576) AS piece"""

_TABLES = f"""
    SELECT {_RELATION} AS name, c.relkind, c.relpersistence, c.oid
    {_OF_RELATION} WHERE c.relkind = ANY (string_to_array('{{kinds}}', ',')::"char"[])
        AND c.relpersistence <> 't' AND c.relispopulated AND {_OWN_RELATION} ORDER BY name"""


def table_query(kinds: str) -> str:
    """SQL for the user's relations of these kinds (``r``, ``p``, ``m``, with commas): name, kind,
    persistence, OID. The name is quoted where it must be, ready for SQL.
    """
    return _TABLES.replace("{kinds}", kinds)


def count_rows(connection: Any, table: str) -> int:
    """Rows of a table whose name is quoted already."""
    return int(fetch(connection, f"SELECT count(*) FROM ONLY {table}")[0][0])


def object_names(connection: Any) -> dict[str, tuple[str, ...]]:
    """The names of all objects, by class; of large objects their numbers."""
    queries = {**OBJECTS, "large objects": "SELECT oid::text AS name FROM pg_largeobject_metadata"}
    found = {
        # PostgreSQL computes no definition that nobody asks for; some would need more rights.
        kind: fetch(connection, f"SELECT name FROM ({sql}) AS objects")
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
# Names are written out in full, by whatever path the database's own sessions find them.
_NO_PATH = {"search_path": "", "row_security": "off"}
METHOD_SETTING = "datasave.method"
LONGEST_PLAIN = 1000
LONGEST_TEXT = 100_000
_MODULUS = 2**63 - 1

# Types without inner length: their text is short.
PLAIN = frozenset(
    {"bool", "int2", "int4", "int8", "float4", "float8", "numeric", "money", "date", "time", "timetz"}
    | {"timestamp", "timestamptz", "interval", "uuid", "oid", "inet", "cidr", "macaddr", "macaddr8", "char"}
    | {"name", "pg_lsn", "xid", "xid8", "tid", "point", "lseg", "box", "circle", "line"}
)
TEXTS = frozenset({"text", "varchar", "bpchar"})


def pin(connection: Any, settings: dict[str, str] = PINNED) -> None:
    """Set how values look as text, for the rest of the session."""
    for name, value in settings.items():
        connection.cursor().execute(f"SET {name} = '{value}'")


def user_tables(connection: Any) -> list[Table]:
    """See Source.tables. Names are ``schema.table``. The session finds no name without its schema afterwards.

    Partitions are tables, what they are partitions of is not: their rows would count twice. Unlogged
    tables come back empty from a physical copy, materialized views are computed anew by a logical one: each
    is listed only where it is really there, which ``METHOD_SETTING`` of the connection says. Foreign tables
    never are: reading one would reach out to another server.
    """
    pin(connection, {**PINNED, **_NO_PATH})
    columns = _columns(connection)
    tables = [
        Table(
            name=name,
            reference=f"ONLY {name}",
            columns=tuple(column for column, _ in columns.get(oid, ())),
            digest=_digest(_value(column, kind) for column, kind in columns.get(oid, ())),
        )
        for name, oid in stored_tables(connection)
    ]
    return sorted([*_pseudo_tables(), *tables], key=lambda table: table.name)


def stored_tables(connection: Any) -> list[tuple[str, int]]:
    """Name and OID of each relation whose rows the copy really holds."""
    method = fetch(connection, f"SELECT current_setting('{METHOD_SETTING}', true)")[0][0]
    kinds = "r,m" if method == "physical" else "r"
    return [
        (name, oid)
        for name, _, persistence, oid in fetch(connection, table_query(kinds))
        if persistence == "p" or method == "logical"
    ]


def as_at_source(tables: Iterable[Table]) -> list[Table]:
    """Those of ``tables`` that a restored dump holds letter by letter as its source did."""
    worded_anew = {f"({kind})" for kind in OBJECTS}
    return [table for table in tables if table.name not in worded_anew]


def sequence_values(connection: Any) -> dict[str, str]:
    """Each sequence's last value and whether it was given out, as ``42 true``. They heed no snapshot."""
    names = [str(name) for name, *_ in fetch(connection, table_query("S"))]
    found: dict[str, str] = {}
    for first in range(0, len(names), 200):
        some = names[first : first + 200]
        asked = (f"SELECT {literal(name)}, last_value, is_called FROM {name}" for name in some)
        for name, value, called in fetch(connection, " UNION ALL ".join(asked)):
            found[name] = f"{value} {'true' if str(called) in {'1', 'True'} else 'false'}"
    return found


def literal(text: str) -> str:
    """``text`` as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _pseudo_tables() -> Iterator[Table]:
    for kind, query in {**OBJECTS, **FACTS}.items():
        yield Table(
            name=f"({kind})",
            reference=f"({' '.join(query.split())}) AS objects",
            columns=(),
            digest=_digest(("name", "definition")),
        )
    yield Table(
        name="(large objects)",
        reference=f"({' '.join(_LARGE_OBJECTS.split())}) AS pieces",
        columns=(),
        digest=_digest(("name", "page", _value("data", "bytea"))),
    )


def _columns(connection: Any) -> dict[int, list[tuple[str, str]]]:
    """Each relation's columns with their types' names, "" for a type of a user's or an extension's.

    Computed columns that are not stored hold no data.
    """
    found: dict[int, list[tuple[str, str]]] = {}
    sql = """
        SELECT a.attrelid, quote_ident(a.attname),
            CASE t.typnamespace WHEN 'pg_catalog'::regnamespace THEN t.typname ELSE '' END
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'm')
        JOIN pg_type y ON y.oid = a.atttypid
        JOIN pg_type t ON t.oid = CASE y.typtype WHEN 'd' THEN y.typbasetype ELSE y.oid END
        WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'
        ORDER BY a.attrelid, a.attname COLLATE "C" """
    for oid, column, kind in fetch(connection, sql):
        found.setdefault(oid, []).append((column, kind))
    return found


def _digest(values: Iterable[str]) -> str:
    """An aggregate over rows of these values (SQL); see this module's docstring."""
    return f"to_hex((sum({_hash(values)}) % {_MODULUS})::bigint)"


def _hash(values: Iterable[str]) -> str:
    return f'hashtextextended(ROW({", ".join(values)})::text COLLATE "C", 0)'


def _value(column: str, kind: str) -> str:
    """SQL for a column's value within a row: itself, or a hash where the row's text might grow too long.

    A row turns its columns into text by the types' own output functions, never by a cast of the user's.
    """
    if kind in PLAIN:
        return column
    if kind == "bytea":
        return f"CASE WHEN octet_length({column}) > {LONGEST_PLAIN} THEN sha256({column}) ELSE {column} END"
    hashed = _hash([column])
    if kind in TEXTS:
        return f"CASE WHEN octet_length({column}) > {LONGEST_TEXT} THEN ({hashed})::text ELSE {column} END"
    return hashed
