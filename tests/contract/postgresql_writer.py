"""A program that keeps committing to the ledger (source_contract.py) until its standard input closes.

Arguments: host, port, user, password file, database, seconds between commits. Prints each commit's duration
in seconds on a line.
"""

from __future__ import annotations

import random
import sys
import threading
import time

import pyodbc


def main(host: str, port: str, user: str, pass_file: str, database: str, pause: float) -> None:
    stopped = threading.Event()

    def stop_at_end_of_input() -> None:
        sys.stdin.read()
        stopped.set()

    threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    connection = pyodbc.connect(
        f"Driver={{PostgreSQL Unicode}};Server={host};Port={port};UID={user};Database={database};"
        f"pqopt={{passfile={pass_file}}};",
        autocommit=False,
    )
    cursor = connection.cursor()
    pairs = cursor.execute("SELECT count(*) FROM left_half").fetchone()[0]
    connection.commit()
    chance = random.Random(7)
    while not stopped.wait(pause):
        pair, value = chance.randrange(int(pairs)), chance.randrange(10**9)
        begun = time.perf_counter()
        cursor.execute(f"INSERT INTO entries (amount) VALUES ({value}), ({-value})")
        cursor.execute(f"UPDATE left_half SET value = {value} WHERE id = {pair}")
        cursor.execute(f"UPDATE right_half SET value = {value} WHERE id = {pair}")
        cursor.execute("UPDATE counter SET commits = commits + 1")
        connection.commit()
        print(time.perf_counter() - begun, flush=True)
    connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:6], float(sys.argv[6]))
