"""What adapters do with folders: watch a copy grow, leave nothing of one that failed, restore it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.errors import CopyError, SourceError, StateError
from tasks.platform.files import BLOCK, PRIVATE_FILE, PRIVATE_FOLDER, atomic_writer, sha256_of
from tasks.platform.trees import below, remove_tree
from tasks.records import CopiedFile, Progress


class Growth:
    """Reports how far a folder has grown; what it costs to look stays below a tenth of the time.

    ``expected`` is an estimate of its bytes in the end. Called, it looks; ``end`` tells that all is there.
    """

    def __init__(self, folder: Path, expected: int, progress: Progress) -> None:
        self._folder = folder
        self._expected = expected
        self._progress = progress
        self._next = 0.0
        self._done = 0
        progress(0, expected)

    def __call__(self) -> None:
        begun = time.monotonic()
        if begun < self._next:
            return
        self._done = max(self._done, folder_bytes(self._folder))
        self._progress(self._done, max(self._expected, self._done))
        self._next = begun + 10 * (time.monotonic() - begun)

    def end(self) -> None:
        """Look once more, however shortly ago the last look was, and tell that this is all."""
        self._done = max(self._done, folder_bytes(self._folder))
        self._progress(self._done, self._done)


def folder_bytes(folder: Path) -> int:
    """Size of all files below a folder that may be changing meanwhile."""
    total = 0
    for entry in below(folder, lenient=True):
        with suppress(OSError):  # gone between listing and looking
            if not entry.is_dir(follow_symlinks=False):
                total += entry.stat(follow_symlinks=False).st_size
    return total


def copied_file(path: Path, folder: Path) -> CopiedFile:
    """What a copy's list says of one of its files; ``folder`` is the copy's."""
    return _copied(os.fspath(path), path.relative_to(folder).as_posix())


def copied_files(folder: Path) -> tuple[CopiedFile, ...]:
    """Every file below a copy's folder, by path. Links are none of them, and are not followed."""
    found = (entry.path for entry in below(folder) if entry.is_file(follow_symlinks=False))
    # Text, not Path, for what is done for each file.
    start = os.path.join(folder, "")  # noqa: PTH118
    names = ((place, place.removeprefix(start).replace(os.sep, "/")) for place in found)
    return tuple(_copied(*one) for one in sorted(names, key=lambda one: one[1].split("/")))


def _copied(place: str, name: str) -> CopiedFile:
    return CopiedFile(path=name, bytes=os.stat(place).st_size, sha256=sha256_of(place))  # noqa: PTH116


def close_to_others(folder: Path) -> None:
    """Make ``folder`` private with all below it: servers may let a group read, and copies do likewise."""
    folder.chmod(PRIVATE_FOLDER)
    for entry in below(folder):
        if not entry.is_symlink():
            Path(entry.path).chmod(PRIVATE_FOLDER if entry.is_dir() else PRIVATE_FILE)


@contextmanager
def all_or_nothing(folder: Path, operation: str) -> Iterator[None]:
    """Empty ``folder``, a copy's own, where the block fails; an OSError becomes a CopyError."""
    try:
        yield
    except OSError as error:
        emptied(folder)
        raise CopyError(
            f"{operation}: {error.strerror}",
            hint="Check the free space and the rights of the staging folder.",
        ) from error
    except BaseException:
        emptied(folder)
        raise


def emptied(folder: Path) -> None:
    """Remove what lies in a folder that was ours to fill; what refuses stays, for the sweep to tell."""
    for path in folder.iterdir():
        with suppress(StateError):
            remove_tree(path)


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file to ``target``, private, whole and on disk or not at all. Raises OSError."""
    with source.open("rb") as stream, atomic_writer(target) as copied:
        shutil.copyfileobj(stream, copied, BLOCK)


@contextmanager
def restoring_into(destination: Path, what: str = "") -> Iterator[None]:
    """Make ``destination``, a folder that is empty or new, for the block to fill.

    Raises SourceError where it holds anything, and for an OSError: ``cannot restore WHAT into …``.
    """
    named = f"{what} " if what else ""
    try:
        destination.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        refuse_if_occupied(destination)
        yield
    except OSError as error:
        raise SourceError(
            f"cannot restore {named}into {destination}: {cause_of(error)}",
            hint="Check the free space, the rights and the file system of that folder, or name another one.",
        ) from error


def refuse_if_occupied(destination: Path) -> None:
    """Raise SourceError where the folder ``destination`` holds anything; OSError where it cannot be read."""
    if any(destination.iterdir()):
        raise SourceError(
            f"cannot restore into {destination}: the folder is not empty",
            hint="Name a new folder: a restore never overwrites anything.",
        )


def cause_of(error: OSError) -> str:
    """Why copying failed; copytree collects the faults of all files in one error without a cause."""
    full = "No space left" in str(error)
    return error.strerror or ("the disk is full" if full else "not all could be copied")
