"""Collations and functions that a database needs of its own program, and that are unknown here.

Stand-ins let SQLite read on: every page and row can be looked at without them, what depends on their order
or value cannot.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

MOST = 200
"""Names that one database may miss; a damaged schema could name new ones for ever."""

_MISSING = re.compile(r"(no such collation sequence|unknown function|no such function): ([^\n]+?)(?:\(\))?$")


def missing(error: sqlite3.Error) -> str:
    """What was missing, as "collation GERMAN" or "function shout"; "" where the error is another one."""
    found = _MISSING.match(str(error))
    if found is None:
        return ""
    return f"{'collation' if 'collation' in found[1] else 'function'} {found[2]}"


def with_stand_ins(connection: sqlite3.Connection, look: Callable[[], T]) -> tuple[T, list[str]]:
    """What ``look`` gives, and what was missing for it. Raises sqlite3.Error as ``look`` does otherwise."""
    named: list[str] = []
    while True:
        try:
            return look(), named
        except sqlite3.DatabaseError as error:
            name = missing(error)
            if not name or name in named or len(named) == MOST:
                raise
            named.append(name)
            stand_in(connection, name)


def stand_in(connection: sqlite3.Connection, named: str) -> None:
    """Have something in the place of what ``missing`` named: another order, or no value."""
    kind, _, name = named.partition(" ")
    if kind == "collation":
        connection.create_collation(name, lambda one, other: (one > other) - (one < other))
    else:
        connection.create_function(name, -1, lambda *_: None, deterministic=True)
