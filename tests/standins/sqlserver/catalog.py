"""The ``sys`` views, filled from what an SQLite file holds, and the built-in functions that queries use."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.standins.sqlserver.storage import PAGE, Database

if TYPE_CHECKING:
    from tests.standins.sqlserver.server import Session

_VIEWS = {
    "databases": "name, database_id, state_desc, recovery_model_desc, is_read_only, is_encrypted, "
    "source_database_id, create_date",
    "master_files": "database_id, file_id, type, name, physical_name, size",
    "database_files": "file_id, type, name, physical_name, size, differential_base_guid",
    "dm_exec_requests": "session_id, command, percent_complete",
    "schemas": "schema_id, name",
    "types": "system_type_id, user_type_id, name",
    "objects": "object_id, schema_id, parent_object_id, name, type, is_ms_shipped",
    "tables": "object_id, schema_id, name, is_ms_shipped",
    "columns": "object_id, column_id, name, system_type_id, user_type_id",
    "sql_modules": "object_id, definition",
    "triggers": "object_id, parent_id, parent_class, name, is_disabled, is_ms_shipped",
    "indexes": "object_id, index_id, name, type_desc, is_unique",
    "index_columns": "object_id, index_id, index_column_id, column_id, key_ordinal, is_included_column",
}
# A clr type has a number of its own and no name under it: only under its user_type_id.
_TYPES = {
    "image": 34, "text": 35, "uniqueidentifier": 36, "date": 40, "time": 41, "datetime2": 42,
    "datetimeoffset": 43, "tinyint": 48, "smallint": 52, "int": 56, "datetime": 61, "float": 62,
    "sql_variant": 98, "ntext": 99, "bit": 104, "decimal": 106, "numeric": 108, "bigint": 127,
    "varbinary": 165, "varchar": 167, "binary": 173, "char": 175, "timestamp": 189, "nvarchar": 231,
    "nchar": 239, "xml": 241,
}  # fmt: skip
_CLR = {"hierarchyid": 128, "geometry": 129, "geography": 130}
# Without the blank that fills char(2) up: SQLite would not overlook it in a comparison.
_MODULE_TYPES = {"PROCEDURE": "P", "TRIGGER": "TR", "VIEW": "V", "FUNCTION": "FN"}
_SYSTEM = ("master", "tempdb", "model", "msdb")


def fill(session: Session, asked: str) -> None:
    """Make the ``sys`` views that the text of a batch mentions."""
    connection = session.connection
    named = {name for name in _VIEWS if re.search(rf"\bsys\W+{name}\b", asked, re.IGNORECASE)}
    if not named:
        return
    rows = _server_rows(session)
    if session.open_database is not None:
        rows |= _database_rows(connection, session.open_database)
    for name in named:
        connection.execute(f"DROP TABLE IF EXISTS sys.{name}")
        connection.execute(f"CREATE TABLE sys.{name} ({_VIEWS[name]})")
        marks = ", ".join("?" for _ in _VIEWS[name].split(","))
        connection.executemany(f"INSERT INTO sys.{name} VALUES ({marks})", rows.get(name, []))


def _server_rows(session: Session) -> dict[str, list[Sequence[Any]]]:
    server = session.server
    databases: list[Sequence[Any]] = [
        (name, number, "ONLINE", "SIMPLE", 0, 0, None, "2024-01-01") for number, name in enumerate(_SYSTEM, 1)
    ]
    files: list[Sequence[Any]] = []
    for database in server.listed():
        created = database.created.isoformat(" ", "milliseconds")
        state = (database.state, database.recovery, int(database.read_only), int(database.encrypted))
        databases.append((database.name, database.id, *state, database.snapshot_of, created))
        # sys.master_files shows nothing without VIEW ANY DEFINITION or CREATE ANY DATABASE.
        if session.may("CREATE ANY DATABASE"):
            files += [(database.id, *row) for row in _files(session, database)]
    requests = [
        (number, command, 0.0 if server.knobs.hide_percent else percent)
        for number, command, percent in server.requests()
        if number == session.number or session.may("VIEW SERVER STATE")
    ]
    return {"databases": databases, "master_files": files, "dm_exec_requests": requests}


def _files(session: Session, database: Database) -> list[Sequence[Any]]:
    return [
        (number, "DL".index(kind), name, session.server.seen_by_server(path), _size(path) // 8192)
        for number, name, path, kind in database.files()
    ]


def _size(path: Any) -> int:
    return int(path.stat().st_size) if path.exists() else 0


def _database_rows(connection: sqlite3.Connection, database: Database) -> dict[str, list[Sequence[Any]]]:
    rows: dict[str, list[Sequence[Any]]] = {name: [] for name in _VIEWS}
    schemas = {"dbo": 1}
    names = [
        name for (name,) in connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")
    ]
    number = 1000
    for whole in sorted(name for name in names if "." in name):
        schema, name = whole.split(".", 1)
        schema_id = schemas.setdefault(schema, len(schemas) + 4)
        number += 100
        rows["tables"].append((number, schema_id, name, 0))
        rows["objects"].append((number, schema_id, 0, name, "U", 0))
        _table_rows(connection, whole, number, rows)
    parents = {row[2]: row[0] for row in rows["tables"]}
    modules = "SELECT kind, schema, name, parent, definition FROM main._modules ORDER BY schema, name"
    for kind, schema, name, parent, definition in connection.execute(modules):
        number += 1
        schema_id = schemas.setdefault(schema, len(schemas) + 4)
        rows["objects"].append((number, schema_id, parents.get(parent, 0), name, _MODULE_TYPES[kind], 0))
        rows["sql_modules"].append((number, definition))
        if kind == "TRIGGER":
            rows["triggers"].append((number, parents.get(parent, 0), 1, name, 0, 0))
    rows["schemas"] = [(number, name) for name, number in schemas.items()]
    rows["types"] = [(number, number, name) for name, number in _TYPES.items()]
    rows["types"] += [(240, number, name) for name, number in _CLR.items()]
    rows["database_files"] = [
        (number, "DL".index(kind), name, str(path), _size(path) // 8192, database.differential_base)
        for number, name, path, kind in database.files()
    ]
    del rows["databases"], rows["master_files"], rows["dm_exec_requests"]
    return rows


def _table_rows(connection: sqlite3.Connection, whole: str, number: int, rows: dict[str, Any]) -> None:
    places = {}
    for place, name, declared, *_ in connection.execute("SELECT * FROM pragma_table_info(?)", (whole,)):
        base = {"integer": "int", "rowversion": "timestamp"}.get(_base(declared), _base(declared))
        places[name] = place + 1
        system, user = (240, _CLR[base]) if base in _CLR else (_TYPES[base], _TYPES[base])
        rows["columns"].append((number, place + 1, name, system, user))
    listed = connection.execute('SELECT seq, name, "unique" FROM pragma_index_list(?)', (whole,)).fetchall()
    for order, index, unique in listed:
        rows["indexes"].append((number, order + 2, index, "NONCLUSTERED", unique))
        for key, name in connection.execute("SELECT seqno, name FROM pragma_index_info(?)", (index,)):
            rows["index_columns"].append((number, order + 2, key + 1, places[name], key + 1, 0))


def _base(declared: str) -> str:
    return re.split(r"\W", declared.lower(), maxsplit=1)[0]


def functions(session: Session) -> dict[str, tuple[int, Callable[..., Any]]]:
    """Name, number of arguments and body of each built-in function."""
    return {
        "SERVERPROPERTY": (1, session.server.property),
        "HAS_PERMS_BY_NAME": (3, session.permission),
        "HAS_DBACCESS": (1, session.access),
        "IS_SRVROLEMEMBER": (1, lambda role: int(session.login.sysadmin) if role == "sysadmin" else 0),
        "DB_NAME": (0, lambda: session.database),
        "DB_ID": (1, session.server.id_of),
        "SUSER_SNAME": (0, lambda: session.login.name),
        "FILEPROPERTY": (2, lambda name, _property: _used(session, name)),
        "GETDATE": (0, lambda: datetime.now().isoformat(" ", "milliseconds")),
        "DATEDIFF": (3, _difference),
        "spid": (0, lambda: session.number),
    }


def _used(session: Session, name: str) -> int | None:
    """Used pages of 8 KiB of a file of this database."""
    database = session.open_database
    if database is None or name != database.name:
        return 1
    pages = session.connection.execute("PRAGMA main.page_count").fetchone()[0]
    return int(pages) * PAGE // 8192


def _difference(unit: str, earlier: str, later: str) -> int:
    seconds = (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
    return int(seconds / {"second": 1, "minute": 60, "hour": 3600, "day": 86400}[unit])
