"""What runs saw of a source, as facts: of its tables only what changed since the entry before.

Of hundreds of tables a night changes some dozens, and each entry is kept for years.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tasks.journal.lines import Entry
from tasks.options import Json
from tasks.policy.trend_rules import Snapshot
from tasks.records import TableProfile


def trend_facts(
    source: str, snapshot: Snapshot, since: int | None = None, before: Snapshot | None = None
) -> Json:
    """The facts of an entry. ``since`` is the number of the entry that told of ``before``; None: of none."""
    known = {table.name: table for table in before.tables} if before else {}
    held = {table.name for table in snapshot.tables}
    changed = [table for table in snapshot.tables if known.get(table.name) != table]
    return {
        "source": source,
        **snapshot.model_dump(mode="json", exclude={"tables"}),
        "since": since,
        "tables": {table.name: _written(table, known.get(table.name)) for table in changed},
        "gone": [name for name in known if name not in held],
    }


def snapshots(entries: Iterable[Entry]) -> Iterator[tuple[Entry, Snapshot]]:
    """One source's entries of that kind and what they say, oldest first.

    An entry whose one before is lost says too little: it and those that build on it are left out.
    """
    last, tables = 0, dict[str, TableProfile]()
    for entry in entries:
        facts = {name: fact for name, fact in entry.facts.items() if name != "source"}
        since, changed, gone = facts.pop("since"), facts.pop("tables"), facts.pop("gone")
        if since not in (None, last):
            continue
        last, kept = entry.number, tables if since else {}
        read = {name: _read(name, written, kept.get(name)) for name, written in changed.items()}
        tables = {name: table for name, table in {**kept, **read}.items() if name not in gone}
        in_order = tuple(tables[name] for name in sorted(tables))
        yield entry, Snapshot.model_validate({**facts, "tables": in_order})


def _written(table: TableProfile, before: TableProfile | None) -> list[Any]:
    found: list[Any] = [table.rows, table.fingerprint]
    same = before is not None and before.columns == table.columns
    return found if same else [*found, list(table.columns)]


def _read(name: str, written: list[Any], before: TableProfile | None) -> TableProfile:
    rows, fingerprint, *columns = written
    kept = tuple(columns[0]) if columns else before.columns if before else ()
    return TableProfile(name=name, rows=rows, fingerprint=fingerprint, columns=kept)
