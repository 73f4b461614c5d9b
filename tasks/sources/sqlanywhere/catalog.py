"""What must come back of a database, from SQL Anywhere's own catalogue, which every account may read.

The names of views and columns are those of SAP's reference; ``datasave doctor --conformance`` looks whether
they hold on a real engine.
"""

from __future__ import annotations

from typing import Any

from tasks.records import Table
from tasks.sources.base import quoted

# Accounts whose objects belong to the engine. By name: the number 1 is DBA's, who owns the tables of many
# databases.
_ENGINES_OWN = "'SYS', 'PUBLIC', 'dbo', 'rs_systabgroup', 'SA_DEBUG', 'diagnostics'"
_TABLES = (
    "SELECT u.user_name, t.table_name, c.column_name FROM SYS.SYSTAB t "  # noqa: S608 - constants
    "JOIN SYS.SYSUSER u ON u.user_id = t.creator JOIN SYS.SYSTABCOL c ON c.table_id = t.table_id "
    f"WHERE t.table_type_str = 'BASE' AND u.user_name NOT IN ({_ENGINES_OWN}) ORDER BY 1, 2, c.column_id"
)

# What a database holds besides rows, each as (columns, query). SQL Anywhere wants a derived table named.
_DEFINITIONS = {
    "(procedures)": (
        ("proc_name", "proc_defn"),
        "SELECT p.proc_name, p.proc_defn FROM SYS.SYSPROCEDURE p "  # noqa: S608 - constants
        f"JOIN SYS.SYSUSER u ON u.user_id = p.creator WHERE u.user_name NOT IN ({_ENGINES_OWN})",
    ),
    "(triggers)": (
        ("table_name", "trigger_name", "trigger_defn"),
        "SELECT t.table_name, g.trigger_name, g.trigger_defn FROM SYS.SYSTRIGGER g "  # noqa: S608 - constants
        "JOIN SYS.SYSTAB t ON t.table_id = g.table_id JOIN SYS.SYSUSER u ON u.user_id = t.creator "
        f"WHERE u.user_name NOT IN ({_ENGINES_OWN})",
    ),
    "(views)": (
        ("table_name", "view_def"),
        "SELECT t.table_name, v.view_def FROM SYS.SYSVIEW v "  # noqa: S608 - constants
        "JOIN SYS.SYSTAB t ON t.object_id = v.view_object_id JOIN SYS.SYSUSER u ON u.user_id = t.creator "
        f"WHERE u.user_name NOT IN ({_ENGINES_OWN})",
    ),
}


def base_tables(connection: Any) -> list[Table]:
    """All ordinary tables as "owner.table", in name order, with their columns in the table's order."""
    cursor = connection.cursor()
    cursor.execute(_TABLES)
    columns: dict[tuple[str, str], list[str]] = {}
    for owner, table, column in cursor.fetchall():
        columns.setdefault((str(owner), str(table)), []).append(quoted(str(column)))
    cursor.close()
    tables = [
        Table(name=f"{owner}.{table}", reference=f"{quoted(owner)}.{quoted(table)}", columns=tuple(names))
        for (owner, table), names in columns.items()
    ]
    return sorted(tables, key=lambda table: table.name)


def definitions() -> list[Table]:
    """Procedures, triggers and views, as tables of their definitions, in name order."""
    return [
        Table(name=name, reference=f"({query}) AS definitions", columns=tuple(quoted(c) for c in columns))
        for name, (columns, query) in sorted(_DEFINITIONS.items())
    ]
