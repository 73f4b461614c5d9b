"""A program that keeps committing to the ledger (source_contract.py) until its standard input closes.

Arguments: database, seconds between commits. Prints each commit's duration in seconds on a line.
"""

from __future__ import annotations

import random
import sqlite3
import sys
import threading
import time


def main(path: str, pause: float) -> None:
    stopped = threading.Event()

    def stop_at_end_of_input() -> None:
        sys.stdin.read()
        stopped.set()

    threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    connection = sqlite3.connect(path, isolation_level=None, timeout=60)
    pairs = connection.execute("SELECT count(*) FROM left_half").fetchone()[0]
    chance = random.Random(7)
    while not stopped.wait(pause):
        pair, value = chance.randrange(pairs), chance.randrange(10**9)
        begun = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO entries (amount) VALUES (?), (?)", (value, -value))
        connection.execute("UPDATE left_half SET value = ? WHERE id = ?", (value, pair))
        connection.execute("UPDATE right_half SET value = ? WHERE id = ?", (value, pair))
        connection.execute("UPDATE counter SET commits = commits + 1")
        connection.execute("COMMIT")
        print(time.perf_counter() - begun, flush=True)
    connection.close()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
