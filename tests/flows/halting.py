"""``datasave`` with a halt in the middle of one step, so that a test can kill it just there.

Usage: ``python -m tests.flows.halting STEP FLAG COMMAND …``: runs the command line; when STEP reports
progress for the first time, FLAG appears and the program waits to be killed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from deployments import cli


def main() -> None:
    step, flag = sys.argv[1], Path(sys.argv[2])
    from tasks import progress

    def halt(reported: str, done: int, _total: int) -> None:
        if reported == step and done > 0:
            flag.touch()
            time.sleep(600)

    with progress.watched_by(halt):
        sys.exit(cli.main(sys.argv[3:]))


if __name__ == "__main__":
    main()
