"""Copying one file that others may be writing to: whole as it was at one moment, or not at all.

Unchanged size, time of last write and (on POSIX) time of last change before and after the reading prove
that the bytes read are the file as it stood. Reading starts at the earliest when the last write lies
SETTLED seconds back: a system's clock for file times ticks coarsely, and a second write within the same
tick would not show.

A file that is appended to all the time, a log, never holds still. Its first bytes do: if they are read
twice with the same result, they are the file as it stood when the first reading began, and are kept.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tasks.errors import CopyError
from tasks.platform.files import BLOCK, create_private
from tasks.sources.files.walk import READ_FLAGS

WAITS = (0.2, 0.5)
"""Seconds to wait before each further try."""

SETTLED = 0.05
_LATEST = 1 << 33  # seconds; a time beyond the year 2242 is no time, and not every tar holds it


class Gone(Exception):
    """The file is no longer there, or something else is in its place. Never leaves this package."""


class Unreadable(Exception):
    """The system refuses to read the file; the text is the cause. Never leaves this package."""


@dataclass(frozen=True)
class Taken:
    """A copied file: what it was before reading, what was read, and whether that is one moment's state."""

    info: os.stat_result
    size: int
    sha256: str
    state: str
    """``whole``, ``grew`` (its beginning, proven) or ``changed`` (no two looks were the same)."""


def take(source: str, place: Path, at: Callable[[int], object]) -> Taken:
    """Copy the file at ``source`` to ``place``, a new private file; ``at`` is told the bytes read.

    Raises Gone, Unreadable; CopyError where the copy cannot be written.
    """
    try:
        return _tries(source, place, at)
    except OSError as error:
        # Even closing a file can fail, where its disk is gone.
        raise Unreadable(error.strerror or "it cannot be read") from None


def _tries(source: str, place: Path, at: Callable[[int], object]) -> Taken:
    taken = _one_try(source, place, at)
    for wait in WAITS:
        if taken.state == "whole":
            return taken
        time.sleep(wait)
        _remove(place)
        taken = _one_try(source, place, at)
    if taken.state == "whole":
        return taken
    if _still_begins_with(source, taken):
        return Taken(taken.info, taken.size, taken.sha256, "grew")
    return taken


def _one_try(source: str, place: Path, at: Callable[[int], object]) -> Taken:
    with _opened(source) as file:
        before = os.fstat(file.fileno())
        if _fresh(before):
            time.sleep(SETTLED)
            before = os.fstat(file.fileno())
        settled = not _fresh(before)
        try:
            with create_private(place) as copy:
                size, sha256 = _pour(file, copy, before.st_size, at)
        except OSError as error:
            raise _not_written(place, error) from error
        after = os.fstat(file.fileno())
    _keep_time(place, before)
    whole = settled and size == before.st_size and _same(before, after)
    return Taken(before, size, sha256, "whole" if whole else "changed")


def _remove(place: Path) -> None:
    try:
        place.unlink()
    except OSError as error:
        raise _not_written(place, error) from error


def _not_written(place: Path, error: OSError) -> CopyError:
    return CopyError(
        f"cannot write the copy {place}: {error.strerror}",
        hint="Check the free space and the rights of the staging folder.",
    )


def _pour(file: BinaryIO, copy: BinaryIO | None, most: int, at: Callable[[int], object]) -> tuple[int, str]:
    """Read ``most`` bytes at most, into the copy if there is one; how many came, and their sha256."""
    digest, size = hashlib.sha256(), 0
    while size < most:
        data = _read(file, min(BLOCK, most - size))
        if not data:
            break
        digest.update(data)
        size += len(data)
        if copy is not None:
            copy.write(data)
        at(size)
    return size, digest.hexdigest()


def _still_begins_with(source: str, taken: Taken) -> bool:
    """Whether the file, longer by now, begins with just what was taken from it."""
    with _opened(source) as file:
        info = os.fstat(file.fileno())
        same_file = (info.st_dev, info.st_ino) == (taken.info.st_dev, taken.info.st_ino)
        if not same_file or taken.size != taken.info.st_size or info.st_size < taken.size:
            return False
        return _pour(file, None, taken.size, lambda _done: None) == (taken.size, taken.sha256)


def _opened(source: str) -> BinaryIO:
    try:
        descriptor = os.open(source, READ_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        raise Gone from None
    except OSError as error:
        if os.path.islink(source):  # noqa: PTH114 - names stay plain texts here
            raise Gone from None
        raise Unreadable(error.strerror or "it cannot be opened") from None
    file = os.fdopen(descriptor, "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise Gone
    return file


def _read(file: BinaryIO, size: int) -> bytes:
    try:
        return file.read(size)
    except OSError as error:
        raise Unreadable(error.strerror or "it cannot be read") from None


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    # On Windows st_ctime_ns is when the file was made.
    changed = os.name == "posix" and before.st_ctime_ns != after.st_ctime_ns
    return (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns) and not changed


def _keep_time(place: Path, info: os.stat_result) -> None:
    """For those who unpack with stock tools; the index has the exact time, and any that a tar cannot hold."""
    if 0 <= info.st_mtime < _LATEST:
        with suppress(OSError):
            os.utime(place, ns=(info.st_mtime_ns, info.st_mtime_ns))


def _fresh(info: os.stat_result) -> bool:
    age = time.time_ns() - info.st_mtime_ns
    return 0 <= age < SETTLED * 1e9
