"""Folders with all that lies in them, however deep: a path of thousands of folders is no error here.

Nothing here recurses, because Python's stack ends after some thousand calls. Links are never followed.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from tasks.errors import StateError
from tasks.platform.attributes import make_mutable
from tasks.platform.files import PRIVATE_FOLDER, sync_folder


def below(folder: Path, *, lenient: bool = False) -> Iterator[os.DirEntry[str]]:
    """All that lies in ``folder``, each folder before its contents, in no order. Raises OSError.

    With ``lenient`` a folder that cannot be read, because it is gone by then, holds nothing.
    """
    waiting = [os.fspath(folder)]
    while waiting:
        place = waiting.pop()
        try:
            entries = _children(place)
        except OSError:
            if not lenient:
                raise
            continue
        for entry in entries:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)


def sync_tree(path: Path) -> None:
    """Make a file, or a folder with all it holds, durable. Windows has no such call for finished files."""
    if sys.platform == "win32":
        return
    if path.is_dir():
        for entry in below(path):
            if entry.is_dir(follow_symlinks=False):
                sync_folder(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                _sync_file(entry.path)
        sync_folder(path)
    elif path.is_file():
        _sync_file(path)
    sync_folder(path.parent)


def _sync_file(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_tree(path: Path) -> None:
    """Remove a file or a folder with all it holds, or as much of it as goes.

    Folders of any depth, those that are closed to their own owner, and files that are marked as not to be
    changed go as well. Raises StateError, after everything else was removed, where something cannot go: it
    would leave patients' data behind in the clear.
    """
    failed = _Remover(path).run()
    if failed:
        error = failed[0]
        more = f" and {len(failed) - 1:,} more" if len(failed) > 1 else ""
        raise StateError(
            f"cannot remove {error.filename or path}{more}: {error.strerror}",
            hint="It may hold readable patient data. Close whatever has it open and remove it by hand.",
        ) from error


class _Remover:
    """Removes a tree without recursing, and without a path or a stack of descriptors as long as it is deep.

    A folder inside another one is brought up into the root, and emptied there.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._failed: list[OSError] = []
        self._name = f".removed-{secrets.token_hex(4)}"
        self._number = 0

    def run(self) -> list[OSError]:
        """Remove all that goes; why the rest did not."""
        if not _is_folder(self._root):
            self._tries(os.unlink, self._root)
            return self._failed
        waiting = self._emptied(self._root)
        while waiting:
            place = waiting.pop()
            before = len(self._failed)
            waiting += [above for child in self._emptied(place) if (above := self._brought_up(child))]
            if len(self._failed) == before:
                self._tries(os.rmdir, place)
        if not self._failed:
            self._tries(os.rmdir, self._root)
        return self._failed

    def _emptied(self, folder: Path) -> list[Path]:
        """Remove the files in a folder; the folders in it."""
        children: list[os.DirEntry[str]] = []
        self._tries(lambda place: children.extend(_children(place)), folder)
        folders = []
        for child in children:
            if _may_be_folder(child) and _is_folder(child.path):
                folders.append(Path(child.path))
            else:
                self._tries(os.unlink, child.path)
        return folders

    def _brought_up(self, folder: Path) -> Path | None:
        self._number += 1
        above = self._root / f"{self._name}-{self._number}"
        # Not another file system's: that refuses, and stays as it is.
        return above if self._tries(lambda place: os.rename(place, above), folder) else None  # noqa: PTH104

    def _tries(self, act: Callable[[str | Path], object], path: str | Path) -> bool:
        """Do it, and once more after what protects the path was taken away; whether it is done."""
        for attempt in (1, 2):
            try:
                act(path)
            except FileNotFoundError:
                return True
            except OSError as error:
                if attempt == 1:
                    _unprotect(Path(path).parent)
                    _unprotect(Path(path))
                else:
                    self._failed.append(error)
            else:
                return True
        return False


def _children(folder: str | Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return list(found)


def _may_be_folder(entry: os.DirEntry[str]) -> bool:
    """By what the listing says alone, mostly, so that files are not looked at one by one."""
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _is_folder(path: str | Path) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    # A junction on Windows looks like a folder, and leads elsewhere.
    return stat.S_ISDIR(found.st_mode) and not getattr(found, "st_reparse_tag", 0)


def _unprotect(path: Path) -> None:
    """Take away, as far as that goes, what keeps this account from looking into ``path`` or removing it."""
    with suppress(OSError):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
            make_mutable(path)
        if stat.S_ISDIR(mode):
            path.chmod(PRIVATE_FOLDER)
        elif sys.platform == "win32":
            path.chmod(stat.S_IWRITE)
