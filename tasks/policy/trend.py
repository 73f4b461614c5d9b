"""Whether a backup looks like the ones before it: what slow damage, ransomware and slips of the hand change.

A pure function of two snapshots. A database that opens and passes every check can still have lost a third
of its ledger; if retention went on, a month later no backup from before would be left.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import Field

from tasks.options import Alarm
from tasks.records import Record, TableProfile

# A table of a handful of rows loses a third of them any day: counting starts above this.
FEW_ROWS = 20
# Small archives are mostly headers; their ratio says nothing.
SMALL_BYTES = 1_000_000
TOLERANCE = timedelta(hours=1)
NAMED = 3


class Snapshot(Record):
    """What one run saw of a source: sizes in bytes, rows by table. ``trouble``: why it isn't trusted."""

    sequence: int
    taken: datetime
    copy_bytes: int
    archive_bytes: int
    tables: tuple[TableProfile, ...]
    trouble: tuple[str, ...] = Field(default=())


def suspicions(before: Snapshot, now: Snapshot, alarm: Alarm) -> tuple[str, ...]:
    """What speaks against trusting ``now``, in words, compared with the last trusted ``before``."""
    found = [*_rows(before, now, alarm.rows_lost), *_packing(before, now, alarm.packs_worse)]
    if now.taken < before.taken - TOLERANCE:
        found.append(
            f"the clock went back: this backup is dated {now.taken:%Y-%m-%d %H:%M}, "
            f"number {before.sequence} {before.taken:%Y-%m-%d %H:%M}"
        )
    return tuple(found)


def _rows(before: Snapshot, now: Snapshot, most_lost: int) -> list[str]:
    held = {table.name: table.rows for table in now.tables}
    found = []
    for table in before.tables:
        rows = held.get(table.name)
        if rows is None:
            found.append(f"table {table.name} is gone ({table.rows:,} rows in number {before.sequence})")
        elif table.rows > FEW_ROWS and rows < table.rows * (100 - most_lost) / 100:
            percent = 100 * (table.rows - rows) / table.rows
            found.append(
                f"table {table.name} lost {percent:.0f} % of its rows since number {before.sequence} "
                f"({table.rows:,} then, {rows:,} now)"
            )
    left = len(found) - NAMED
    return [*found[:NAMED], f"and {left} more tables"] if left > 0 else found


def _packing(before: Snapshot, now: Snapshot, most_worse: int) -> list[str]:
    """Encrypted or random data does not shrink: an archive that suddenly packs badly is a sign of it."""
    if min(before.archive_bytes, now.archive_bytes) < SMALL_BYTES or not before.copy_bytes:
        return []
    then = before.archive_bytes / before.copy_bytes
    packed = now.archive_bytes / max(now.copy_bytes, 1)
    if packed <= then * (100 + most_worse) / 100:
        return []
    return [
        f"the data packs much worse than in number {before.sequence} "
        f"({then:.0%} of its size then, {packed:.0%} now), as encrypted data does"
    ]
