"""A program that keeps committing to the contract's ledger until its standard input closes.

Arguments: install folder, seconds between commits; the connection string is in SQLCONNECT. Prints each
commit's duration in seconds on a line.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.standins.sqlanywhere.client import Client


def main(home: Path, pause: float) -> None:
    stopped = threading.Event()

    def stop_at_end_of_input() -> None:
        sys.stdin.read()
        stopped.set()

    threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    chance = random.Random(7)
    with Client(home, os.environ["SQLCONNECT"]) as client:
        pairs = client.execute("SELECT count(*) FROM DBA.left_half")[0][0]
        while not stopped.wait(pause):
            pair, value = chance.randrange(pairs), chance.randrange(10**9)
            begun = time.perf_counter()
            client.transaction(
                [
                    ("INSERT INTO DBA.entries (amount) VALUES (?), (?)", value, -value),
                    ("UPDATE DBA.left_half SET value = ? WHERE id = ?", value, pair),
                    ("UPDATE DBA.right_half SET value = ? WHERE id = ?", value, pair),
                    ("UPDATE DBA.counter SET commits = commits + 1",),
                ]
            )
            print(time.perf_counter() - begun, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
