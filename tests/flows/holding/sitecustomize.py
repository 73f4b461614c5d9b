"""Holds up a step of any run that is started with this folder on its PYTHONPATH.

While the file that HOLD names exists, the step whose name it holds waits in its middle; it can be
interrupted, as one that reports progress can. A file beside it (``.held``) says that a step is held.
"""

import os
import sys
import time
from pathlib import Path

if "deployments.serving.engine" in sys.orig_argv or "execute" in sys.orig_argv:
    from tasks.steps import progress

    hold = Path(os.environ["HOLD"])

    def wait(step: str, done: int, total: int) -> None:
        while done > 0 and hold.exists() and hold.read_text("utf-8") == step:
            hold.with_suffix(".held").touch()
            time.sleep(0.05)
            if progress._interrupted.is_set():
                return  # the step itself ends then, as at any sign of progress

    watching = progress.watched_by(wait)
    watching.__enter__()
