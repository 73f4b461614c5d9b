"""Which of a folder's files are backed up: the plan's patterns, in the form that .gitignore files use."""

from __future__ import annotations

import os
from collections.abc import Iterable

from pathspec import PathSpec

WINDOWS = os.name == "nt"


class Patterns:
    """Patterns as gitignore(5) has them, about paths relative to the folder, with forward slashes.

    One without a slash (but at its end) fits a name at any depth, another one the path from the folder;
    ``*`` and ``?`` stay within a name, ``**`` stands for any number of folders, and a folder that fits
    brings all that is in it. Unlike there a pattern cannot begin with ``!`` or be a comment: those are
    ordinary names here (NAS devices call folders #recycle), and a backslash is a slash, since on Windows
    people write it. ``fold`` ignores the case of letters, as Windows does.
    """

    def __init__(self, patterns: Iterable[str], *, fold: bool = WINDOWS) -> None:
        """Raises ValueError, naming the pattern, where one is none."""
        self._fold = fold
        lines = [self._line(pattern) for pattern in patterns]
        if not all(line.strip("/ ") for line in lines):
            raise ValueError("it names nothing")
        self._spec = PathSpec.from_lines("gitignore", lines)

    def __bool__(self) -> bool:
        return len(self._spec) > 0

    def fit(self, path: str, *, folder: bool = False) -> bool:
        """Whether a pattern fits this file or folder."""
        # The library's patterns end at a newline, which a name may hold.
        text = self._folded(path).replace("\n", "\x01")
        return self._spec.match_file(f"{text}/" if folder else text)

    def _line(self, pattern: str) -> str:
        text = self._folded(pattern).replace("\\", "/")
        return f"\\{text}" if text.startswith(("!", "#")) else text

    def _folded(self, text: str) -> str:
        return text.casefold() if self._fold else text
