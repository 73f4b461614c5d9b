"""Folders in folders in folders, deeper than Python's stack and than a path that the system takes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def deep(folder: Path, levels: int, name: str = "d") -> Iterator[Path]:
    """``folder`` with ``levels`` folders, each called ``name``, one in another; a file in every hundredth.

    It is gone when the block ends: pytest's own cleaning up recurses.
    """
    folder.mkdir()
    place = os.open(folder, os.O_RDONLY)
    for level in range(levels):
        os.mkdir(name, 0o700, dir_fd=place)
        inner = os.open(name, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
        if level % 100 == 0 or level == levels - 1:
            file = os.open("patient.txt", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=place)
            os.write(file, b"%d" % level)
            os.close(file)
    os.close(place)
    try:
        yield folder
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)
