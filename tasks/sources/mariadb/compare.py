"""A loaded dump held to what its database held in the dump's own snapshot, as findings.

All must be as it was, but for what no dump brings back; that is named. Details hold names and counts only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.records import Finding, Profile, TableProfile
from tasks.sources.mariadb.catalog import (
    data_tables,
    earlier_digests,
    shortened_columns,
)
from tasks.sources.mariadb.connection import quoted
from tasks.sources.mariadb.definitions import (
    VIEW_PARTS,
    Definitions,
    counter_columns,
    definitions,
    hash_of,
)
from tasks.sources.mariadb.errors import NEEDED_ELSEWHERE
from tasks.sources.mariadb.record import CopyRecord, Held
from tasks.sources.shared.odbc import contents, fetch

CHECK = "dump complete"
NOT_IN_A_DUMP = (
    "accounts, passwords and grants, which are the server's: RECOVER.md says how to make them anew"
)

_VIEW = re.compile(
    r"character_set_client += (?P<charset>.*) \*/;\n.*\n"
    r".* collation_connection += (?P<collation>.*) \*/;\n"
    r"/\*!50001 CREATE ALGORITHM=(?P<algorithm>\w+) \*/\n"
    r"/\*!50013 DEFINER=(?P<definer>.+) SQL SECURITY (?P<rights>\w+) \*/\n"
    r"/\*!50001 VIEW (?P<name>`(?:[^`]|``)*`) AS (?P<words>[^\n]*?) \*/"
    r"(?:\n/\*!50002 WITH (?P<option>\w+) CHECK OPTION \*/)?;\n"
)


def hold(connection: Any, before: Definitions) -> Held:
    """What the database holds in the connection's snapshot, with its definitions from before and after."""
    return Held(
        rows=contents(connection, _without_sequences(connection)),
        as_dumped=contents(connection, data_tables(connection, as_dumped=True)),
        definitions=definitions(connection),
        counters_before=before.counters,
    )


def compare(connection: Any, record: CopyRecord) -> list[Finding]:
    """Findings about the database that a dump was loaded into."""
    if record.held is None:
        return _compared(list(_of_earlier(connection, record)), [])
    held, now = record.held, definitions(connection)
    findings = [
        *_rows(connection, held),
        *_objects(held.definitions, now),
        *_counters(connection, held, now),
    ]
    return [*_compared(findings, list(held.rows.tables)), _left_out(held)]


def _compared(findings: list[Finding], tables: list[TableProfile]) -> list[Finding]:
    if any(finding.failed for finding in findings):
        return findings
    detail = f"{len(tables)} tables and what belongs to them, all as they were"
    return [*findings, Finding(check=CHECK, passed=True, detail=detail)]


def _rows(connection: Any, held: Held) -> Iterator[Finding]:
    found = contents(connection, _without_sequences(connection))
    names = [name for name, _ in _differing(held.rows, found)]
    shortened = {table.name: table for table in held.as_dumped.tables if table.name in names}
    listed = [one for one in data_tables(connection, as_dumped=True) if one.name in shortened]
    rounded = {table.name for table in contents(connection, listed).tables if shortened[table.name] == table}
    for name, detail in _differing(held.rows, found):
        if name in rounded:
            yield _shortened(name, shortened_columns(connection, name))
        else:
            yield Finding(check=CHECK, passed=False, detail=detail, table=name)


def _shortened(table: str, columns: list[str]) -> Finding:
    detail = (
        f"its rows came back but for the last digits of {', '.join(columns)}: a dump writes FLOAT with six. "
        "Make such columns DOUBLE, or set `method: physical`"
    )
    return Finding(check="digits of FLOAT", passed=False, unchecked=True, detail=detail, table=table)


def _differing(recorded: Profile, found: Profile) -> Iterator[tuple[str, str]]:
    """Each table that is missing, unknown, or holds other rows than were recorded, and how."""
    before, after = ({table.name: table for table in side.tables} for side in (recorded, found))
    for name in sorted(before.keys() | after.keys()):
        detail = _difference(before.get(name), after.get(name))
        if detail:
            yield name, detail


def _difference(before: TableProfile | None, after: TableProfile | None) -> str:
    if before is None:
        return "it was not in the database when the dump was made"
    if after is None:
        return "it is missing"
    if before.rows != after.rows:
        return f"{after.rows} of {before.rows} rows came back"
    return "" if before.fingerprint == after.fingerprint else "all rows came back, but not as they were"


def _objects(then: Definitions, now: Definitions) -> Iterator[Finding]:
    at = datetime.now(UTC)
    for name in sorted(then.objects.keys() | now.objects.keys()):
        before, after = then.objects.get(name), now.objects.get(name)
        moment = then.ending.get(name, at)
        over = name in then.ending and (moment is None or moment <= at)
        if before == after or (over and before is not None):
            continue
        detail = "its definition is not as it was"
        if after is None or before is None:
            detail = "it is missing" if after is None else "it was not in the database when the dump was made"
        yield Finding(check=CHECK, passed=False, detail=detail, table=_short(name))


def _counters(connection: Any, held: Held, now: Definitions) -> Iterator[Finding]:
    """Next values: what the dump holds was read at some moment between the two looks at the source."""
    then = held.definitions
    for name, found in now.counters.items():
        if name not in then.counters or name in {*then.cycled, *now.cycled}:
            continue  # one that began anew may stand anywhere
        bounds = (held.counters_before.get(name, then.counters[name]), then.counters[name])
        if min(bounds) <= found <= max(bounds) or found == _past_rows(connection, name):
            continue
        detail = f"its next value is {found}, and was {then.counters[name]}"
        yield Finding(check=CHECK, passed=False, detail=detail, table=_short(name))


def _past_rows(connection: Any, name: str) -> int | None:
    """Where AUTO_INCREMENT of a loaded table stands if its rows alone have set it."""
    column = counter_columns(connection).get(name)
    if column is None:
        return None
    table = quoted(name.removeprefix("table "))
    return int(fetch(connection, f"SELECT IFNULL(MAX({quoted(column)}), 0) + 1 FROM {table}")[0][0])  # noqa: S608


def unmade_view(name: str, code: int, dump: Path, record: CopyRecord) -> Finding:
    """A view that a private server could not make: its words in the dump must be the source's."""
    wanted = record.held.definitions.objects.get(name) if record.held else None
    if hash_of(_view_in(dump, name.removeprefix("view "))) != wanted:
        return Finding(check=CHECK, passed=False, detail="its definition is not as it was", table=name)
    detail = (
        f"it {NEEDED_ELSEWHERE[code]}, so it was not made here; the dump has its definition as it was. What "
        "it needs must be on the server before the dump is loaded there; or set `method: physical`"
    )
    return Finding(check="views", passed=False, unchecked=True, detail=detail, table=name)


def _view_in(dump: Path, name: str) -> list[str]:
    """The parts of a view's definition in a dump, as ``definitions`` takes them from the server."""
    text = dump.read_text("utf-8", "surrogateescape")
    found = _VIEW.search(text.partition(f"-- Final view structure for view {quoted(name)}\n")[2])
    if found is None or found["name"] != quoted(name):
        return []
    parts = found.groupdict("NONE") | {"definer": found["definer"].replace("`", "")}
    return [parts[name] for name in VIEW_PARTS]


def _left_out(held: Held) -> Finding:
    """What a dump does not hold, by name."""
    then = held.definitions
    parts = [NOT_IN_A_DUMP]
    if then.ending:
        names = ", ".join(sorted(map(_short, then.ending)))
        parts.append(f"after their time, events that end of themselves: {names}")
    if then.cycled:
        names = ", ".join(sorted(map(_short, then.cycled)))
        parts.append(f"how far sequences have come that began anew: {names}")
    return Finding(check="not in a dump", passed=True, detail="; ".join(parts))


def _of_earlier(connection: Any, record: CopyRecord) -> Iterator[Finding]:
    """The same for a copy of format 1, which named objects and sequences as tables."""
    recorded = Profile(
        tables=tuple(
            TableProfile(name=name, rows=rows, fingerprint=f"2:{rows}:{int(checksum, 16)}")
            for name, (rows, checksum) in record.contents.items()
        )
    )
    found = contents(connection, earlier_digests(connection))
    named = [table.model_copy(update={"columns": ()}) for table in found.tables]
    for name, detail in _differing(recorded, Profile(tables=tuple(named))):
        yield Finding(check=CHECK, passed=False, detail=detail, table=name)


def _without_sequences(connection: Any) -> list[Any]:
    sequences = {
        str(name)
        for (name,) in fetch(
            connection,
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() "
            "AND TABLE_TYPE = 'SEQUENCE'",
        )
    }
    return [table for table in data_tables(connection) if table.name not in sequences]


def _short(name: str) -> str:
    """An object as a finding names it: a table by its name alone, others with what they are."""
    return name.removeprefix("table ")
