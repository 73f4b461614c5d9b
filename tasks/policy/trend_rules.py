"""Whether a backup looks like the ones before it: signs of slow damage, of ransomware, of mistakes.

Pure functions of what runs saw. A database that opens and passes every check can still have lost a third
of its ledger, or hold noise in every row; if retention went on, a month later no backup from before would
be left. Losses are counted over a month, so that a little every night shows as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from pydantic import Field

from tasks.options import Alarm
from tasks.policy.file_signs import FileSigns, compare_files
from tasks.records import Record, TableProfile

# A table of a handful of rows loses a third of them any day: counting starts above this.
FEW_ROWS = 20
# The smallest archives are mostly headers; their ratio says nothing.
SMALL_BYTES = 100_000
TOLERANCE = timedelta(hours=1)
WINDOW = timedelta(days=30)
# Offices close for some weeks. A clock that jumps ahead mostly does so by a year or more.
LONGEST_PAUSE = timedelta(days=60)
NAMED = 3
# Of fewer tables all may well change in a night with no row more or less.
FEW_TABLES = 3
SAME_COUNTS = 0.9


class Snapshot(Record):
    """What one run saw of a source: sizes in bytes, rows by table, signs of its files.

    ``anomalies`` says why it isn't trusted, ``marks`` the same in the words that a manifest may show.
    """

    sequence: int
    taken: datetime
    copy_bytes: int
    archive_bytes: int
    tables: tuple[TableProfile, ...]
    files: FileSigns | None = None
    anomalies: tuple[str, ...] = Field(default=(), alias="trouble")
    marks: tuple[str, ...] = ()


class Anomaly(NamedTuple):
    """One sign of damage. ``sign`` names no table and no count: it may be read off premises."""

    sign: str
    detail: str


def anomalies(
    trusted: Sequence[Snapshot], now: Snapshot, alarm: Alarm, accepted: int = 0
) -> tuple[Anomaly, ...]:
    """The signs of damage in ``now``, compared with the ``trusted`` runs before it, oldest first.

    Runs before number ``accepted`` are no yardstick any more: someone said that the change was meant.
    """
    if not trusted:
        return ()
    last = trusted[-1]
    recent = [old for old in trusted if old.sequence >= accepted and old.taken >= last.taken - WINDOW]
    yardsticks = recent or [last]
    found = [
        *_tables(last, now),
        *_rows(yardsticks, now, alarm.rows_lost),
        *_columns(last, now),
        *_contents(trusted, now),
        *_packing(yardsticks, now, alarm.packs_worse),
    ]
    if now.files:
        signs = compare_files([old.files for old in yardsticks if old.files], now.files)
        found += [Anomaly(sign, detail) for sign, detail in signs]
    if now.taken < last.taken - TOLERANCE:
        found.append(
            Anomaly(
                "clock",
                f"the clock went back: this backup is dated {now.taken:%Y-%m-%d %H:%M}, "
                f"number {last.sequence} {last.taken:%Y-%m-%d %H:%M}",
            )
        )
    return tuple(found)


def pause(seen: Sequence[Snapshot]) -> str:
    """Why the newest run's date is doubted, "" where it isn't: sixty days and more after the run before.

    A clock that jumped ahead shows like this in the one night in which nothing else tells it. A long
    closure does too; the next run settles it.
    """
    if len(seen) < 2 or seen[-1].taken - seen[-2].taken <= LONGEST_PAUSE:
        return ""
    days = (seen[-1].taken - seen[-2].taken).days
    return (
        f"this run is dated {days} days after the one before it, number {seen[-2].sequence}; "
        "if the office was not closed for so long, the clock of this machine is wrong"
    )


def _tables(last: Snapshot, now: Snapshot) -> list[Anomaly]:
    held = {table.name for table in now.tables}
    gone = [table for table in last.tables if table.name not in held]
    return _named(
        "tables",
        [f"table {table.name} is gone ({table.rows:,} rows in number {last.sequence})" for table in gone],
    )


def _rows(yardsticks: Sequence[Snapshot], now: Snapshot, most_lost: int) -> list[Anomaly]:
    most: dict[tuple[str, int], tuple[int, int]] = {}
    for old in yardsticks:
        for table in old.tables:
            most[_counted(table)] = max(most.get(_counted(table), (0, 0)), (table.rows, old.sequence))
    found = []
    for table in now.tables:
        rows, number = most.get(_counted(table), (0, 0))
        if rows > FEW_ROWS and table.rows < rows * (100 - most_lost) / 100:
            percent = 100 * (rows - table.rows) / rows
            found.append(
                f"table {table.name} lost {percent:.0f} % of its rows since number {number} "
                f"({rows:,} then, {table.rows:,} now)"
            )
    return _named("row counts", found)


def _counted(table: TableProfile) -> tuple[str, int]:
    """What has comparable row counts: a table; what else a profile lists only within one version of it."""
    return table.name, table.version if table.name.startswith("(") else 0


def _columns(last: Snapshot, now: Snapshot) -> list[Anomaly]:
    # Profiles of another version may have named columns otherwise.
    held = {(table.name, table.version): set(table.columns) for table in now.tables if table.columns}
    found = []
    for table in last.tables:
        there = held.get((table.name, table.version), table.columns)
        gone = [column for column in table.columns if column not in there]
        found += [f"column {column} of table {table.name} is gone" for column in gone]
    return _named("columns", found)


def _contents(trusted: Sequence[Snapshot], now: Snapshot) -> list[Anomaly]:
    """Every table holds other rows than before, and as many: unless that was usual here before."""
    number = _replaced(trusted[-1], now)
    usual = any(_replaced(older, newer) for older, newer in pairwise(trusted))
    if not number or usual:
        return []
    detail = (
        f"the contents of all {number} tables changed since number {trusted[-1].sequence} "
        "while their row counts did not"
    )
    return [Anomaly("contents", detail)]


def _replaced(before: Snapshot, now: Snapshot) -> int:
    """How many tables were replaced, 0 unless it is all of them."""
    held = {table.name: table for table in now.tables}
    # A fingerprint of another version differs whatever the rows do.
    pairs = [
        (old, held[old.name])
        for old in before.tables
        if old.rows and old.name in held and old.version == held[old.name].version
    ]
    if len(pairs) < FEW_TABLES or any(old.fingerprint == new.fingerprint for old, new in pairs):
        return 0
    same = sum(old.rows == new.rows for old, new in pairs)
    return len(pairs) if same >= SAME_COUNTS * len(pairs) else 0


def _packing(yardsticks: Sequence[Snapshot], now: Snapshot, most_worse: int) -> list[Anomaly]:
    """Encrypted or random data does not shrink: an archive that suddenly packs badly is a sign of it."""
    telling = [old for old in yardsticks if old.archive_bytes >= SMALL_BYTES and old.copy_bytes]
    if now.archive_bytes < SMALL_BYTES or not telling:
        return []
    best = min(telling, key=lambda old: old.archive_bytes / old.copy_bytes)
    then = best.archive_bytes / best.copy_bytes
    packed = now.archive_bytes / max(now.copy_bytes, 1)
    if packed <= then * (100 + most_worse) / 100:
        return []
    detail = (
        f"the data packs much worse than in number {best.sequence} "
        f"({then:.0%} of its size then, {packed:.0%} now), as encrypted data does"
    )
    return [Anomaly("packing", detail)]


def _named(sign: str, details: list[str]) -> list[Anomaly]:
    left = len(details) - NAMED
    more = [f"and {left} more of the kind"] if left > 0 else []
    return [Anomaly(sign, detail) for detail in [*details[:NAMED], *more]]
