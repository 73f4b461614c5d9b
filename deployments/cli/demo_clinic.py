"""A made-up clinic's database, and a program that keeps writing to it: for the demonstration and tests.

Every name and note in it is generated. Each visit has exactly one ledger line of the same fee, written
in the same transaction: a copy in which the two tables disagree was not taken at one moment.

``python -m deployments.cli.demo_clinic write clinic.db --per-second 20`` runs the writer until it is ended.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from tasks.records import Progress, no_progress

SCHEMA = """
CREATE TABLE patients (id INTEGER PRIMARY KEY, name TEXT NOT NULL, born TEXT NOT NULL);
CREATE TABLE visits (
    id INTEGER PRIMARY KEY, patient INTEGER NOT NULL REFERENCES patients(id),
    at TEXT NOT NULL, note TEXT NOT NULL
);
CREATE TABLE ledger (
    id INTEGER PRIMARY KEY, visit INTEGER NOT NULL REFERENCES visits(id),
    booked TEXT NOT NULL, cents INTEGER NOT NULL
);
CREATE INDEX visits_by_patient ON visits(patient);
CREATE VIEW balance AS SELECT sum(cents) AS cents FROM ledger;
"""
SYLLABLES = [consonant + vowel for consonant in "bdklmnrst" for vowel in "aeio"]
BYTES_A_VISIT = 330
VISITS_A_PATIENT = 25
BATCH = 5000


def make_clinic(path: Path, size: int, *, wal: bool = True, progress: Progress = no_progress) -> None:
    """Make a clinic database of about ``size`` bytes; progress counts bytes."""
    chance = random.Random(size)  # noqa: S311 - made-up data, the same on every machine
    visits = max(10, size // BYTES_A_VISIT)
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA journal_mode={'WAL' if wal else 'DELETE'}")
        database.executescript(SCHEMA)
        _insert(database, "patients", _patients(chance, max(1, visits // VISITS_A_PATIENT)))
        for done in range(0, visits, BATCH):
            rows = list(_visits(chance, done + 1, min(BATCH, visits - done), visits))
            _insert(database, "visits", (visit for visit, _ in rows))
            _insert(database, "ledger", (entry for _, entry in rows))
            progress(min(size, (done + BATCH) * BYTES_A_VISIT), size)


def keep_writing(path: Path, per_second: float) -> Iterator[float]:
    """Commit a visit with its ledger line ``per_second`` times a second; yields each wait in seconds."""
    chance = random.Random()  # noqa: S311 - made-up data
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as database:
        while True:
            began = time.monotonic()
            database.execute("BEGIN IMMEDIATE")
            patient = database.execute("SELECT max(id) FROM patients").fetchone()[0]
            at = datetime.now().isoformat(timespec="seconds")
            cursor = database.execute(
                "INSERT INTO visits (patient, at, note) VALUES (?, ?, ?)",
                (chance.randint(1, patient), at, _words(chance, 20)),
            )
            database.execute(
                "INSERT INTO ledger (visit, booked, cents) VALUES (?, ?, ?)",
                (cursor.lastrowid, at, chance.randint(2000, 30000)),
            )
            database.execute("COMMIT")
            took = time.monotonic() - began
            yield took
            time.sleep(max(0.0, 1 / per_second - took))


def _patients(chance: random.Random, count: int) -> Iterator[tuple[object, ...]]:
    for number in range(1, count + 1):
        born = datetime(1930, 1, 1) + timedelta(days=chance.randrange(31000))
        yield (number, f"{_word(chance)} {_word(chance)}".title(), born.date().isoformat())


def _visits(
    chance: random.Random, first: int, count: int, total: int
) -> Iterator[tuple[tuple[object, ...], tuple[object, ...]]]:
    newest = datetime.now()
    for number in range(first, first + count):
        at = (newest - timedelta(minutes=30 * (total - number))).isoformat(timespec="seconds")
        patient = chance.randint(1, max(1, total // VISITS_A_PATIENT))
        visit = (number, patient, at, _words(chance, chance.randint(15, 60)))
        yield visit, (number, number, at, chance.randint(2000, 30000))


def _insert(database: sqlite3.Connection, table: str, rows: Iterator[tuple[object, ...]]) -> None:
    columns = {"patients": 3, "visits": 4, "ledger": 4}[table]
    marks = ",".join("?" * columns)
    with database:
        database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 - our own names


def _word(chance: random.Random) -> str:
    return "".join(chance.choices(SYLLABLES, k=chance.randint(2, 4)))


def _words(chance: random.Random, count: int) -> str:
    return " ".join(chance.choices(_vocabulary(), k=count))


@cache
def _vocabulary() -> list[str]:
    chance = random.Random(7)  # noqa: S311 - made-up data
    return [_word(chance) for _ in range(20_000)]


def main() -> None:
    """Run the writer until it is ended; prints the worst wait of a commit so far, a line a second."""
    parser = argparse.ArgumentParser(description="Keep writing to a made-up clinic's database.")
    parser.add_argument("command", choices=["write"])
    parser.add_argument("path", type=Path)
    parser.add_argument("--per-second", type=float, default=20)
    options = parser.parse_args()
    worst = 0.0
    told = time.monotonic()
    for wait in keep_writing(options.path, options.per_second):
        worst = max(worst, wait)
        if time.monotonic() - told > 1:
            told = time.monotonic()
            sys.stdout.write(f"{worst:.3f}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
