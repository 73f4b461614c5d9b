"""A database file of any size that compresses and deduplicates like a real one.

A practice's visits are made with SQLite for a start. A larger file repeats their pages, in another order
each time: zstandard's window never sees a page twice, and no run of pages long enough to be a chunk of
restic or borg comes back, so nobody's deduplication is flattered.
"""

from __future__ import annotations

import random
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

PAGE = 4096
SEED_BYTES = 96 << 20
_BATCH = 20_000
_LETTERS = "eeeeeettttaaaooiinnsshhrrddlluucmfwypvbgkqjxz"


def make_database(path: Path, size: int) -> None:
    """Write a file of ``size`` bytes (a multiple of 4096)."""
    dice = random.Random(20260105)
    seed = path.with_name(f"{path.name}.seed")
    _make_seed(seed, dice)
    data = memoryview(seed.read_bytes())
    pages = [data[start : start + PAGE] for start in range(0, len(data), PAGE)]
    left = size // PAGE
    with path.open("wb") as file:
        while left > 0:
            file.write(b"".join(pages[:left]))
            left -= len(pages)
            dice.shuffle(pages)
    seed.unlink()


def _make_seed(path: Path, dice: random.Random) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        database.execute(
            "CREATE TABLE visits (id INTEGER PRIMARY KEY, patient INTEGER, at TEXT, code TEXT, "
            "note TEXT, fee NUMERIC, pulse REAL)"
        )
        rows = _rows(dice)
        while path.stat().st_size < SEED_BYTES:
            batch = [next(rows) for _ in range(_BATCH)]
            database.executemany("INSERT INTO visits VALUES (?, ?, ?, ?, ?, ?, ?)", batch)
            database.commit()


def _rows(dice: random.Random) -> Iterator[tuple[int, int, str, str, str, float, float]]:
    words = ["".join(dice.choices(_LETTERS, k=dice.randint(2, 9))) for _ in range(3000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    running = dice.choices(words, weights, k=500_000)
    phrases = [" ".join(dice.choices(words, weights, k=dice.randint(4, 12))) for _ in range(300)]
    number = 0
    while True:
        number += 1
        start = dice.randrange(len(running) - 20)
        free = " ".join(running[start : start + dice.randint(2, 14)])
        note = f"{dice.choice(phrases)}. {free}. {dice.choice(phrases)}."
        day, minute = divmod(number, 60)
        at = f"2026-{day // 28 % 12 + 1:02}-{day % 28 + 1:02} {8 + minute // 6:02}:{minute % 6}5:00"
        code = f"{dice.choice('ABFIJKMZ')}{dice.randint(10, 99)}.{dice.randint(0, 9)}"
        fee = dice.randint(20, 400) / 2
        yield number, dice.randint(1, 20_000), at, code, note, fee, dice.gauss(72.0, 9.0)


if __name__ == "__main__":
    make_database(Path(sys.argv[1]), int(sys.argv[2]))
