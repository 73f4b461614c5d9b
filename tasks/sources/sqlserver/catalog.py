"""What a SQL Server database holds: its tables, read so that every value compares, and its other objects."""

from __future__ import annotations

from typing import Any

from tasks.records import Table
from tasks.sources.sqlserver.connection import bracketed, query

# As texts: what ODBC cannot read, or would cut (datetime2 and time hold 100 ns, Python a microsecond).
_AS_TEXT = {"xml", "datetime2", "datetimeoffset", "time", "json", "vector", "text", "ntext"}
_AS_BYTES = {"image": "varbinary(max)", "sql_variant": "varbinary(8000)", "timestamp": "binary(8)"}

_COLUMNS = """
SELECT s.name AS [schema], t.name AS [table], c.name AS [column], b.name AS [type]
FROM sys.tables AS t
JOIN sys.schemas AS s ON s.schema_id = t.schema_id
JOIN sys.columns AS c ON c.object_id = t.object_id
LEFT JOIN sys.types AS b ON b.user_type_id = c.system_type_id
WHERE t.is_ms_shipped = 0
ORDER BY s.name, t.name, c.column_id
"""

_MODULES = """
(SELECT s.name AS [schema], o.name AS [name], m.definition AS [definition]
FROM sys.objects AS o
JOIN sys.schemas AS s ON s.schema_id = o.schema_id
LEFT JOIN sys.sql_modules AS m ON m.object_id = o.object_id
WHERE o.is_ms_shipped = 0 AND o.type IN ({types})) AS [objects]
"""

_TRIGGERS = """
(SELECT p.name AS [table], r.name AS [name], r.is_disabled AS [is_disabled], m.definition AS [definition]
FROM sys.triggers AS r
LEFT JOIN sys.objects AS p ON p.object_id = r.parent_id
LEFT JOIN sys.sql_modules AS m ON m.object_id = r.object_id
WHERE r.is_ms_shipped = 0) AS [objects]
"""

_INDEXES = """
(SELECT s.name AS [schema], t.name AS [table], i.name AS [name], i.type_desc AS [type_desc],
i.is_unique AS [is_unique], c.name AS [column], k.key_ordinal AS [key_ordinal]
FROM sys.indexes AS i
JOIN sys.tables AS t ON t.object_id = i.object_id
JOIN sys.schemas AS s ON s.schema_id = t.schema_id
JOIN sys.index_columns AS k ON k.object_id = i.object_id AND k.index_id = i.index_id
JOIN sys.columns AS c ON c.object_id = k.object_id AND c.column_id = k.column_id
WHERE t.is_ms_shipped = 0) AS [objects]
"""

_MODULE_COLUMNS = ("[schema]", "[name]", "[definition]")
_TYPES_OF = {
    "(procedures)": "N'P', N'PC', N'X'",
    "(functions)": "N'FN', N'IF', N'TF', N'FS', N'FT', N'AF'",
    "(views)": "N'V'",
}


def user_tables(connection: Any) -> list[Table]:
    """All tables of users, and as tables what else must come back; in name order. Raises SqlError."""
    selected: dict[tuple[str, str], list[str]] = {}
    for row in query(connection, _COLUMNS):
        columns = selected.setdefault((row["schema"], row["table"]), [])
        columns.append(_column(row["column"], row["type"]))
    tables = [
        Table(
            name=f"{schema}.{name}",
            reference=f"{bracketed(schema)}.{bracketed(name)}",
            columns=tuple(columns),
        )
        for (schema, name), columns in selected.items()
    ]
    return sorted([*tables, *_other_objects()], key=lambda table: table.name)


def _column(name: str, base: str | None) -> str:
    """The column as it is read. A type without a base in sys.types is one of the .NET runtime's."""
    quoted = bracketed(name)
    if base is None:
        return f"CAST({quoted} AS varbinary(max))"
    if base in _AS_TEXT:
        return f"CAST({quoted} AS nvarchar(max))"
    return f"CAST({quoted} AS {_AS_BYTES[base]})" if base in _AS_BYTES else quoted


def _other_objects() -> list[Table]:
    tables = [
        Table(name=name, reference=_one_line(_MODULES.format(types=types)), columns=_MODULE_COLUMNS)
        for name, types in _TYPES_OF.items()
    ]
    triggers = ("[table]", "[name]", "[is_disabled]", "[definition]")
    indexes = ("[schema]", "[table]", "[name]", "[type_desc]", "[is_unique]", "[column]", "[key_ordinal]")
    return [
        *tables,
        Table(name="(triggers)", reference=_one_line(_TRIGGERS), columns=triggers),
        Table(name="(indexes)", reference=_one_line(_INDEXES), columns=indexes),
    ]


def _one_line(sql: str) -> str:
    return " ".join(sql.split())
