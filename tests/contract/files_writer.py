"""A program that keeps committing to the ledger of plain files (files_ledger.py) until its input closes.

Arguments: folder, seconds between commits. Prints each commit's duration in seconds on a line. A file's
contents are written by a single call, in place: what a program does that saves a document it has open.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from pathlib import Path


def main(folder: Path, pause: float) -> None:
    stopped = threading.Event()

    def stop_at_end_of_input() -> None:
        sys.stdin.read()
        stopped.set()

    threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    names = sorted(path.name for path in (folder / "left").iterdir())
    size = (folder / "left" / names[0]).stat().st_size
    chance = random.Random(7)
    with (folder / "commits").open("ab", buffering=0) as counter:
        while not stopped.wait(pause):
            name, value = chance.choice(names), chance.randrange(256)
            begun = time.perf_counter()
            for half in ("left", "right"):
                with (folder / half / name).open("r+b", buffering=0) as file:
                    file.write(bytes([value]) * size)
            counter.write(b".")
            print(time.perf_counter() - begun, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
