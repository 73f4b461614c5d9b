"""A step of a run that is held up in its middle until a test lets it go."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent.parent


def settings(root: Path) -> dict[str, str]:
    """What the programs that start runs must have in their environment."""
    paths = [str(Path(__file__).parent), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"HOLD": str(root / "hold"), "PYTHONPATH": os.pathsep.join(paths)}


@contextmanager
def held(root: Path, step: str) -> Iterator[None]:
    """Runs that come to ``step`` wait there while the block runs."""
    hold, reached = root / "hold", root / "hold.held"
    reached.unlink(missing_ok=True)
    hold.write_text(step, "utf-8")
    try:
        yield
    finally:
        hold.unlink()


def wait_until_held(root: Path, seconds: float = 120) -> None:
    """Return once a run stands in the step."""
    deadline = time.monotonic() + seconds
    while not (root / "hold.held").exists():
        assert time.monotonic() < deadline, "no run came to the step"
        time.sleep(0.05)
