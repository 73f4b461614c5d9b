"""Whether one place lies in another: by what is there on this machine's disks, by their addresses elsewhere.

On this machine links and ``..`` are followed, and folders are compared by device and file number as well: so
a folder is known again when it is mounted at a second place, and where the case of letters doesn't count.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from tasks.options import Place
from tasks.platform.patience import LOOK_SECONDS, within


class _Step(NamedTuple):
    """A folder on the way to a path: what it is known by (None where it is not there), and what follows."""

    known_by: tuple[int, int] | None
    path: str
    rest: tuple[str, ...]


class Located:
    """A place as it was found when it was first compared."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def lies_in(self, other: Located) -> bool:
        """Whether it is the same place as ``other``, or inside it."""
        if self._place.service != other._place.service:
            return False
        if self._place.service:
            return self._parts[: len(other._parts)] == other._parts
        if not any(step.known_by for step in other._steps):
            return other._steps[0].path in [step.path for step in self._steps]
        return any(_leads_to(inner, outer) for outer in other._steps for inner in self._steps)

    @property
    def disk(self) -> int | None:
        """Number of this machine's file system on which it lies, or will once it is made; None if unknown."""
        if self._place.service:
            return None
        return next((step.known_by[0] for step in self._steps if step.known_by), None)

    @cached_property
    def _parts(self) -> list[str]:
        path = self._place.path.casefold() if self._place.folds else self._place.path
        return [part for part in posixpath.normpath(path).split("/") if part not in ("", ".")]

    @cached_property
    def _steps(self) -> list[_Step]:
        """The path and all folders above it; of a place that gives no sign of life the texts alone."""
        path = Path(self._place.path)
        try:
            return within(LOOK_SECONDS, str(path), lambda: list(_looked_at(path)))
        except OSError:
            plain = Path(os.path.abspath(path))  # noqa: PTH100 - without following links
            return [_Step(None, str(above), ()) for above in (plain, *plain.parents)]


def _leads_to(inner: _Step, outer: _Step) -> bool:
    """Whether the way that goes on from a folder, which leads to both places, passes the outer one first."""
    if inner.known_by is None or inner.known_by != outer.known_by:
        return False
    there = inner.rest[: len(outer.rest)]
    return there == outer.rest or (_folded(there) == _folded(outer.rest) and _ignores_case(Path(outer.path)))


def _folded(parts: tuple[str, ...]) -> list[str]:
    return [part.casefold() for part in parts]


def _ignores_case(folder: Path) -> bool:
    """Whether names in a folder that differ in case are one name; asked of a name that is there."""
    try:
        return within(LOOK_SECONDS, str(folder), _finds_other_spelling, folder)
    except OSError:
        return False


def _finds_other_spelling(folder: Path) -> bool:
    for place in (folder, *folder.parents):
        names = {path.name for path in place.iterdir()}
        for name in names:
            other = name.swapcase()
            if other != name:
                return other not in names and os.path.lexists(place / other)
    return False


def _looked_at(path: Path) -> Iterator[_Step]:
    real = Path(os.path.realpath(path))
    for number, above in enumerate((real, *real.parents)):
        try:
            found = above.stat()
            # Some network drives of Windows have no file numbers.
            known_by = (found.st_dev, found.st_ino) if found.st_ino else None
        except OSError:
            known_by = None
        yield _Step(known_by, str(above), real.parts[len(real.parts) - number :])
