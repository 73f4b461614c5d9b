"""A program that keeps committing to the ledger (source_contract.py) over ODBC until its input closes.

Arguments: the stand-in's port, seconds between commits. Prints each commit's duration in seconds on a line.
"""

from __future__ import annotations

import random
import sys
import threading
import time

import pyodbc


def main(port: str, pause: float) -> None:
    stopped = threading.Event()

    def stop_at_end_of_input() -> None:
        sys.stdin.read()
        stopped.set()

    threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    connection = pyodbc.connect(
        f"Driver=FreeTDS;Server=127.0.0.1;Port={port};TDS_Version=7.4;Encryption=off;"
        "UID=sa;PWD={Strong}Pass;1};Database=clinic",
        autocommit=True,
    )
    cursor = connection.cursor()
    cursor.execute("SELECT COUNT(*) FROM [dbo].[left_half]")
    pairs = cursor.fetchone()[0]
    chance = random.Random(7)
    while not stopped.wait(pause):
        pair, value = chance.randrange(pairs) + 1, chance.randrange(10**9)
        begun = time.perf_counter()
        cursor.execute(
            "BEGIN TRANSACTION; "
            f"INSERT INTO [dbo].[entries] (amount) VALUES ({value}), (-{value}); "
            f"UPDATE [dbo].[left_half] SET value = {value} WHERE id = {pair}; "
            f"UPDATE [dbo].[right_half] SET value = {value} WHERE id = {pair}; "
            "UPDATE [dbo].[counter] SET commits = commits + 1; COMMIT"
        )
        while cursor.nextset():
            pass
        print(time.perf_counter() - begun, flush=True)
    connection.close()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
