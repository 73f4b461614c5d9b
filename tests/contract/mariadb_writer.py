"""A program that keeps committing to the ledger (source_contract.py) until its standard input closes.

Arguments: connection string, seconds between commits. Prints each commit's duration in seconds on a line.
"""

from __future__ import annotations

import random
import sys
import threading
import time

import pyodbc


def main(target: str, pause: float) -> None:
    stopped = threading.Event()

    def stop_at_end_of_input() -> None:
        sys.stdin.read()
        stopped.set()

    threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    pyodbc.pooling = False
    connection = pyodbc.connect(target, autocommit=False)
    pairs = connection.execute("SELECT COUNT(*) FROM left_half").fetchone()[0]
    connection.commit()
    chance = random.Random(7)
    while not stopped.wait(pause):
        pair, value = chance.randrange(pairs), chance.randrange(10**9)
        begun = time.perf_counter()
        connection.execute(f"INSERT INTO entries (amount) VALUES ({value}), ({-value})")
        connection.execute(f"UPDATE left_half SET value = {value} WHERE id = {pair}")
        connection.execute(f"UPDATE right_half SET value = {value} WHERE id = {pair}")
        connection.execute("UPDATE counter SET commits = commits + 1")
        connection.commit()
        print(time.perf_counter() - begun, flush=True)
    connection.close()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
