"""Bringing a copied folder back: real names, contents, permissions, times, hard and symbolic links."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from contextlib import suppress
from pathlib import Path

from tasks.errors import SourceError
from tasks.platform.files import BLOCK, create_private, sha256_of
from tasks.platform.names import LONGEST_PATH, listed, shown, unfit_paths
from tasks.records import Finding
from tasks.sources.files.index import ROOT, Entry, Index
from tasks.sources.files.owners import can_give, give
from tasks.sources.files.walk import place_in, real_root
from tasks.sources.shared.folders import restoring_into

_MOST_NAMES = 5
_FOREIGN_BITS = stat.S_ISUID | stat.S_ISGID


def restore_folder(index: Index, copy: Path, destination: Path) -> None:
    """Build the folder that the copy is of in ``destination``, new or empty; it stays private itself.

    Raises SourceError: names that this system cannot hold, before anything is written; a destination
    that holds anything; a disk that refuses, after what had been restored is removed again.
    """
    _refuse_names(index, destination)
    made_here = not destination.exists()
    with restoring_into(destination):
        restorer = _Restorer(copy, real_root(destination))
        try:
            restorer.run(index)
        except BaseException:
            # Half a folder looks like a whole one.
            restorer.undo()
            if made_here:
                with suppress(OSError):
                    destination.rmdir()
            raise


def compare_folder(index: Index, folder: Path) -> list[Finding]:
    """Whether every file and link that the copy holds stands in ``folder`` with its contents."""
    root = real_root(folder)
    wrong = [shown(entry.path) for entry in index.entries if not _is_there(entry, place_in(root, entry.path))]
    count = sum(entry.kind == "file" for entry in index.entries)
    detail = f"{count:,} files read and found as recorded"
    if wrong:
        detail = f"not as recorded: {listed(wrong[:_MOST_NAMES], len(wrong))}"
    return [Finding(check="files in place", passed=not wrong, detail=detail)]


def _is_there(entry: Entry, place: str) -> bool:
    path = Path(place)
    try:
        if entry.kind == "link":
            return str(path.readlink()) == entry.target
        if entry.kind == "folder":
            return path.is_dir() and not path.is_symlink()
        return not path.is_symlink() and sha256_of(path) == entry.sha256
    except OSError:
        return False


class _Restorer:
    """Makes entries in an order that nothing is ever written through a link, or into a closed folder."""

    def __init__(self, copy: Path, root: str) -> None:
        self._copy = copy
        self._root = root
        self._gives = can_give()
        self._made: list[tuple[str, bool]] = []

    def run(self, index: Index) -> None:
        """Restore everything. Raises OSError."""
        for entry in index.entries:
            if entry.kind == "folder" and entry.path != ROOT:
                self._make_folder(entry)
            elif entry.kind == "file":
                self._make_file(entry)
        for entry in index.entries:
            if entry.kind == "link":
                self._make_link(entry)
        for entry in reversed(index.entries):
            # The folder itself stays as it is: who may reach the restored data is its new owner's to say.
            if entry.kind == "folder" and entry.path != ROOT:
                self._finish(entry)
            elif entry.kind == "folder":
                os.utime(self._root, ns=(entry.mtime_ns, entry.mtime_ns))
        if sys.platform != "win32":
            os.sync()

    def undo(self) -> None:
        """Remove what was made, as far as that goes."""
        for path, is_folder in self._made:
            if is_folder:
                with suppress(OSError):
                    os.chmod(path, 0o700)  # noqa: PTH101 - names stay plain texts here
        for path, is_folder in reversed(self._made):
            with suppress(OSError):
                (os.rmdir if is_folder else os.unlink)(path)

    def _make_folder(self, entry: Entry) -> None:
        place = place_in(self._root, entry.path)
        os.mkdir(place, 0o700)  # noqa: PTH102 - as above
        self._made.append((place, True))

    def _make_file(self, entry: Entry) -> None:
        place = place_in(self._root, entry.path)
        if entry.same_as and self._hard_link(entry, place):
            return
        with (
            (self._copy / entry.stored).open("rb", buffering=0) as stored,
            create_private(Path(place)) as file,
        ):
            self._made.append((place, False))
            shutil.copyfileobj(stored, file, BLOCK)
        self._finish(entry)

    def _hard_link(self, entry: Entry, place: str) -> bool:
        """Link to the file restored before; False where this file system has no such links."""
        try:
            os.link(place_in(self._root, entry.same_as), place)
        except FileExistsError:
            raise
        except OSError:
            return False
        self._made.append((place, False))
        return True

    def _make_link(self, entry: Entry) -> None:
        place = place_in(self._root, entry.path)
        # Windows must be told, and tells folders from files by what is there already.
        to_folder = os.path.isdir(os.path.join(os.path.dirname(place), entry.target))  # noqa: PTH112, PTH118, PTH120
        os.symlink(entry.target, place, target_is_directory=to_folder)  # noqa: PTH211
        self._made.append((place, False))
        self._finish(entry)

    def _finish(self, entry: Entry) -> None:
        """Owner, permissions, time, in this order: each would be changed by the one before."""
        place, link = place_in(self._root, entry.path), entry.kind == "link"
        if self._gives:
            give(place, entry)
        if not link:
            # With another owner than it had, a program that runs as its owner would be another's weapon.
            mode = entry.mode if self._gives else entry.mode & ~_FOREIGN_BITS
            os.chmod(place, mode)  # noqa: PTH101 - as above
        if not link or os.utime in os.supports_follow_symlinks:
            os.utime(place, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=not link)


def _refuse_names(index: Index, destination: Path) -> None:
    unfit = unfit_paths(
        (entry.path for entry in index.entries if entry.path != ROOT),
        room=LONGEST_PATH - len(os.fsencode(os.path.realpath(destination))) - 2,
    )
    found = [f"{shown(path)} ({cause})" for path, cause in unfit]
    if found:
        raise SourceError(
            f"cannot restore here, this system cannot hold {listed(found[:_MOST_NAMES], len(found))}",
            hint="Restore it on a system like the one it came from, or take single files from the folder "
            "files/ of the unpacked copy, where these have stand-in names that index.jsonl explains.",
        )
