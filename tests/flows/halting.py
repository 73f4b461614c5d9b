"""``datasave`` with a halt in the middle of one step, so that a test can kill it just there.

Usage: ``python -m tests.flows.halting STEP FLAG COMMAND …``: runs the command line; when STEP reports
progress for the first time, FLAG appears, and STEP goes on reporting the same, as one without end would.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from deployments.cli import app as cli
from deployments.serving.environment import prepare


def main() -> None:
    step, flag = sys.argv[1], Path(sys.argv[2])
    # As in the program itself: Prefect's settings stand before Prefect is imported.
    prepare(Path(sys.argv[sys.argv.index("--plan") + 1]))
    from tasks.steps import progress

    def halt(reported: str, done: int, total: int) -> None:
        if reported == step and done > 0 and not flag.exists():
            flag.touch()
            while True:
                time.sleep(0.05)
                with progress.progress_of(step) as report:
                    report(done, total)

    sys.argv[1:] = sys.argv[3:]
    with progress.watched_by(halt):
        cli.entry()


if __name__ == "__main__":
    main()
