"""How long a program that writes to the database waits while it is backed up, and how fast the copy is.

    python -m tests.benchmarks.waits [--megabytes 200] [--rounds 3] [ENGINE …]

A whole backup run (copy, check, rehearsal, delivery) beside a writer that commits 20 times a second, on the
real engines: SQLite in both journal modes, PostgreSQL and MariaDB by both methods. The worst wait of a commit
in each round, and the median of the rounds; a machine that pauses by itself shows in it too.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path

from deployments.serving.environment import prepare
from tests.contract import sqlite_ledger
from tests.flows.engines import REAL_SERVERS, Engine, engine
from tests.flows.site import Site

ROWS_A_MEGABYTE = 500
"""Rows in each half of the ledger that make a megabyte of it."""


@contextmanager
def _sqlite(mode: str, folder: Path, rows: int) -> Iterator[Engine]:
    database = sqlite_ledger.create_ledger(folder / "live.db", mode, rows=rows)
    yield Engine(
        options={"kind": "sqlite", "path": str(database)},
        secrets=(),
        programs=frozenset(),
        writer=lambda: sqlite_ledger.writing(database),
        opened=lambda path: closing(sqlite3.connect(path)),
    )


Made = Callable[[Path, int], AbstractContextManager[Engine]]
CASES: dict[str, Made] = {
    **{f"sqlite {mode}": partial(_sqlite, mode) for mode in ("wal", "delete")},
    **{name: partial(engine, name) for name in REAL_SERVERS},
}


def main() -> None:
    """Measure the engines asked for, all by default; prints a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=", ".join(CASES))
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if unknown := [name for name in asked.engines if name not in CASES]:
        sys.exit(f"no engine {unknown[0]!r}: {', '.join(CASES)}")
    for name in asked.engines or CASES:
        with tempfile.TemporaryDirectory() as scratch:
            measure(name, Path(scratch), asked.megabytes * ROWS_A_MEGABYTE, asked.rounds)


def measure(name: str, scratch: Path, rows: int, rounds: int) -> None:
    """One engine: each round is a whole backup; its seconds and the writer's worst wait."""
    with CASES[name](scratch, rows) as made:
        site = Site.make(scratch, ["nas"], source=made.options)
        prepare(site.plan)
        waits, seconds = [], []
        for _ in range(rounds):
            with made.writer() as writer:
                before, began = writer.commits, time.perf_counter()
                if site.run("backup") != 0:
                    sys.exit(f"{name}: the backup failed")
                seconds.append(time.perf_counter() - began)
                waits.append(max(writer.waits[before : writer.commits]))
    told = ", ".join(f"{wait:.3f}" for wait in waits)
    print(
        f"{name}: worst wait {statistics.median(waits):.3f} s (rounds {told}), "
        f"whole run {statistics.median(seconds):.1f} s"
    )


if __name__ == "__main__":
    main()
