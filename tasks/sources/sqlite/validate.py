"""SQLite's own checks of a finished copy, as findings. Details name tables and counts, never values."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tasks.errors import ValidationError
from tasks.records import Finding, Table
from tasks.sources.base import Connection, quoted
from tasks.sources.sqlite.connection import cause_of, file_of_copy, open_copy, printable
from tasks.sources.sqlite.missing import missing, with_stand_ins

MOST_MESSAGES = 20
"""Messages of the integrity check, and damaged tables, that are listed before the rest is cut off."""

# What quick_check says of rows whose order or computed values it knows only from stand-ins.
_BY_STAND_INS = re.compile(
    r"ok$|row not in PRIMARY KEY order|non-unique entry|CHECK constraint failed|NULL value in|row \d+ missing"
)
_MISMATCH = re.compile("foreign key mismatch")


def check_copy(folder: Path, *, lenient: bool = False) -> list[Finding]:
    """Check the copy in ``folder`` without altering it: it opens, has tables, is whole, refers to itself.

    A copy that cannot even be opened gives one finding that did not pass. ``lenient`` reports rows that
    point to missing rows without failing for them.
    """
    try:
        file = file_of_copy(folder)
        with open_copy(file) as connection:
            opened = _opens(connection, file)
            if not opened.passed:
                return [opened]
            tables = user_tables(connection)
            return [
                opened,
                _has_tables(tables),
                *_integrity(connection, tables, file),
                *_foreign_keys(connection, lenient),
            ]
    except ValidationError as error:
        return [Finding(check="opens", passed=False, detail=error.message)]
    except sqlite3.DatabaseError as error:
        return [Finding(check="opens", passed=False, detail=f"the copy cannot be opened: {cause_of(error)}")]


def user_tables(connection: Connection) -> list[Table]:
    """All ordinary tables, in name order.

    A virtual table is not one: its content lies in its shadow tables, which are, and reading those needs
    none of its code. Of generated columns only the stored ones are listed: the others hold no data, and
    computing them may need functions of the database's own program.
    """
    cursor = connection.cursor()
    cursor.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0 "
        r"AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name"
    )
    names = [_text(name) for (name,) in cursor.fetchall()]
    return [
        Table(name=name, reference=quoted(name), columns=_stored_columns(connection, name)) for name in names
    ]


def _stored_columns(connection: Connection, table: str) -> tuple[str, ...]:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA table_xinfo({quoted(table)})")
    ordinary, stored = 0, 3
    return tuple(quoted(_text(row[1])) for row in cursor.fetchall() if row[6] in (ordinary, stored))


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _opens(connection: sqlite3.Connection, file: Path) -> Finding:
    pages, page_bytes = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
    )
    there, expected = file.stat().st_size, pages * page_bytes
    if there == 0:
        detail = "the copy is empty"
    elif there != expected:
        detail = f"the file has {there:,} bytes where its header says {expected:,}"
    else:
        detail = f"{pages:,} pages of {page_bytes:,} bytes, SQLite {sqlite3.sqlite_version}"
    return Finding(check="opens", passed=there == expected > 0, detail=detail)


def _has_tables(tables: list[Table]) -> Finding:
    # A 0-byte or emptied database passes SQLite's own checks.
    detail = f"{len(tables):,} tables" if tables else "there is not one table in the copy"
    return Finding(check="tables", passed=bool(tables), detail=detail)


def _integrity(connection: sqlite3.Connection, tables: list[Table], file: Path) -> list[Finding]:
    try:
        messages = _messages(connection, f"integrity_check({MOST_MESSAGES + 1})")
    except sqlite3.DatabaseError as error:
        if missing(error):
            return _integrity_without(connection, tables, file)
        messages = [cause_of(error)]
    if messages == ["ok"]:
        return [Finding(check="integrity", passed=True, detail="integrity_check: ok")]
    return _damaged(connection, tables, messages)


def _integrity_without(connection: sqlite3.Connection, tables: list[Table], file: Path) -> list[Finding]:
    """Where collations or functions of a program are unknown: all else is checked, and these are named."""
    with open_copy(file) as other:
        look = partial(_messages, other, f"quick_check({MOST_MESSAGES + 1})")
        try:
            messages = [text for text in with_stand_ins(other, look)[0] if not _BY_STAND_INS.match(text)]
        except sqlite3.DatabaseError as error:
            messages = [cause_of(error)]
    if messages not in ([], ["ok"]):
        return _damaged(connection, tables, messages)
    findings = [found for table in tables if (found := _unchecked(connection, table, file))]
    detail = "quick_check: ok; integrity_check: ok for all tables but those named"
    return [Finding(check="integrity", passed=True, detail=detail), *findings]


def _unchecked(connection: sqlite3.Connection, table: Table, file: Path) -> Finding | None:
    """A finding for a table that a program's own collation or function is needed for."""
    pragma = f"integrity_check({table.reference})"
    try:
        messages = _messages(connection, pragma)
    except sqlite3.DatabaseError as error:
        if not missing(error):
            return Finding(check="integrity", passed=False, detail="the table is damaged", table=table.name)
        with open_copy(file) as other:
            _, names = with_stand_ins(other, partial(_messages, other, pragma))
        detail = (
            f"needs {', '.join(names)} of the database's own program, unknown here: pages and rows were "
            "checked, order and contents of its indexes and computed columns were not. Have the program run "
            "PRAGMA integrity_check"
        )
        return Finding(check="integrity", passed=False, unchecked=True, detail=detail, table=table.name)
    if messages == ["ok"]:
        return None
    return Finding(check="integrity", passed=False, detail="the table is damaged", table=table.name)


def _damaged(connection: sqlite3.Connection, tables: list[Table], messages: list[str]) -> list[Finding]:
    more = " and more" if len(messages) > MOST_MESSAGES else ""
    listed = "; ".join(printable(message) for message in messages[:MOST_MESSAGES])
    general = Finding(
        check="integrity", passed=False, detail=f"integrity_check: {listed or 'no answer'}{more}"
    )
    # Older versions of SQLite don't name the table in every message: ask table by table.
    damaged = [table.name for table in tables if _integrity_messages(connection, table.reference) != ["ok"]]
    return [general, *_by_table("integrity", {name: "the table is damaged" for name in damaged})]


def _integrity_messages(connection: sqlite3.Connection, argument: str) -> list[str]:
    try:
        return _messages(connection, f"integrity_check({argument})")
    except sqlite3.DatabaseError as error:
        return ["ok"] if missing(error) else [cause_of(error)]


def _messages(connection: sqlite3.Connection, pragma: str) -> list[str]:
    rows = connection.execute(f"PRAGMA {pragma}").fetchall()
    return [line for (text,) in rows for line in _text(text).splitlines() if line]


def _foreign_keys(connection: sqlite3.Connection, lenient: bool) -> list[Finding]:
    rows, unchecked = [], {}
    for table in _referring(connection):
        try:
            rows += connection.execute(
                'SELECT "table", parent, count(*) FROM pragma_foreign_key_check(?) GROUP BY "table", parent',
                [table],
            ).fetchall()
        except sqlite3.DatabaseError as error:
            if not (missing(error) or _MISMATCH.match(str(error))):
                detail = f"cannot be checked: {cause_of(error)}"
                return [Finding(check="foreign keys", passed=False, detail=detail)]
            unchecked[table] = printable(str(error))
    violations = _violations(rows, lenient) if rows else []
    findings = [*violations, *_not_checkable(unchecked, lenient)]
    return findings or [Finding(check="foreign keys", passed=True, detail="foreign_key_check: no violation")]


def _referring(connection: sqlite3.Connection) -> list[str]:
    """Names of the tables that refer to others."""
    rows = connection.execute(
        "SELECT DISTINCT m.name FROM sqlite_master m, pragma_foreign_key_list(m.name) WHERE m.type = 'table'"
    )
    return [_text(name) for (name,) in rows]


def _not_checkable(causes: dict[str, str], lenient: bool) -> list[Finding]:
    """Foreign keys that SQLite cannot check: they point to a column that may hold a value twice, say."""
    if lenient and causes:
        told = "; ".join(f"{table}: {cause}" for table, cause in list(causes.items())[:MOST_MESSAGES])
        return [Finding(check="foreign keys", passed=True, detail=f"as in the source, not checked: {told}")]
    return [
        Finding(
            check="foreign keys",
            passed=False,
            unchecked=True,
            detail=f"{cause}: SQLite cannot check it. Make the column it points to UNIQUE, or set "
            "`foreign_keys: report` under `source` in the plan",
            table=table,
        )
        for table, cause in causes.items()
    ]


def _violations(rows: Sequence[Sequence[Any]], lenient: bool) -> list[Finding]:
    details: dict[str, str] = {}
    for child, parent, count in rows:
        words = f"{count:,} rows point to missing rows of {printable(_text(parent), 60)}"
        name = _text(child)
        details[name] = f"{details[name]}; {words}" if name in details else words
    if lenient:
        told = "; ".join(f"{table}: {words}" for table, words in list(details.items())[:MOST_MESSAGES])
        return [Finding(check="foreign keys", passed=True, detail=f"as in the source: {told}")]
    way_out = "if this is old and known, set `foreign_keys: report` under `source` in the plan"
    return _by_table("foreign keys", {table: f"{words} ({way_out})" for table, words in details.items()})


def _by_table(check: str, details: dict[str, str]) -> list[Finding]:
    """A failed finding for each table, the first ``MOST_MESSAGES``; the last one counts the rest."""
    findings = [
        Finding(check=check, passed=False, detail=detail, table=table) for table, detail in details.items()
    ]
    rest = len(findings) - MOST_MESSAGES
    if rest <= 0:
        return findings
    cut = Finding(check=check, passed=False, detail=f"{rest:,} more tables are affected")
    return [*findings[:MOST_MESSAGES], cut]
