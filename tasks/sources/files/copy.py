"""Copying a folder that is in use: file by file, each whole, until a last look finds nothing new.

A file copy can promise no more than each file as it stood at one moment, the moments of different files
lying apart by as long as the copy takes. What belongs together in one moment belongs in a database.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tasks.errors import CopyError
from tasks.platform.names import listed, shown
from tasks.records import Progress
from tasks.sources.files.index import ROOT, Entry, Notes, StandIns
from tasks.sources.files.owners import owners_of
from tasks.sources.files.reading import Gone, Taken, Unreadable, take
from tasks.sources.files.walk import Listing, Seen, Selection, place_in, walk

ROUNDS = 3
"""How often what appeared meanwhile is copied as well; what comes even later is left to the next backup."""

MOST_PROBLEMS = 5

Changing = Literal["fail", "report"]


class Meter:
    """Bytes done of what the first look found, never going back, though files may grow or be read again."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._base = 0
        self._done = 0

    def at(self, read: int) -> None:
        """So much of the present file is read."""
        self._done = max(self._done, min(self._base + read, self._total))
        self._progress(self._done, self._total)

    def passed(self, size: int) -> None:
        """The present file, of this size when it was looked at, is dealt with."""
        self._base += size
        self.at(0)

    def finish(self) -> None:
        """All is done."""
        self._progress(self._total, self._total)


@dataclass(frozen=True)
class Copied:
    """What was copied, in the index's order, and what happened meanwhile."""

    entries: list[Entry]
    notes: Notes


def copy_folder(
    root: str,
    selection: Selection,
    destination: Path,
    changing: Changing,
    meter: Meter,
    first: Listing,
) -> Copied:
    """Copy what ``first`` lists, then what appeared meanwhile, into ``destination``.

    Raises CopyError: files that cannot be read or keep changing, a folder replaced by another.
    """
    copier = _Copier(root, destination, changing, meter)
    listing, known = first, dict(first.entries)
    copier.refuse(first.unreadable)
    for _ in range(ROUNDS):
        copier.copy(listing)
        listing = walk(root, selection)
        copier.refuse(listing.unreadable)
        _refuse_if_replaced(root, known, listing)
        known = listing.entries | known
        if listing.entries.keys() <= copier.done.keys():
            break
    # What is left out is told as the last look saw it; everything else as it happened.
    notes = Notes(listing.notes.counts | copier.notes.counts, listing.notes.names | copier.notes.names)
    there, done = listing.entries.keys(), copier.done.keys()
    for sort, paths in (
        ("vanished", copier.gone - done - there),
        ("deleted", done - there),
        ("late", there - done),
    ):
        for path in sorted(paths):
            notes.add(sort, shown(path))
    return Copied(list(copier.done.values()), notes)


class _Copier:
    """Copies entry after entry. ``gone`` are files that were listed and then not there to be read."""

    def __init__(self, root: str, destination: Path, changing: Changing, meter: Meter) -> None:
        self.done: dict[str, Entry] = {}
        self.gone: set[str] = set()
        self.notes = Notes()
        self._root = root
        self._destination = destination
        self._changing = changing
        self._meter = meter
        self._places = StandIns()
        self._made: set[str] = set()
        self._linked: dict[tuple[int, int], tuple[Entry, Taken]] = {}
        self._problems: list[str] = []
        # The places of files that are gone: such a one may be back at the next look.
        self._kept_free: dict[str, str] = {}

    def copy(self, listing: Listing) -> None:
        """Copy all that is listed and not yet copied. Raises CopyError."""
        for path, seen in listing.entries.items():
            if len(self._problems) >= MOST_PROBLEMS:
                break
            if path not in self.done:
                self._add(seen, listing)
        self.refuse(())

    def refuse(self, unreadable: Sequence[tuple[str, str]]) -> None:
        """Raise CopyError if there is anything that could not be copied, or could not be listed."""
        problems = [f"{shown(path)} ({cause})" for path, cause in unreadable] + self._problems
        if problems:
            named = listed(problems[:MOST_PROBLEMS], len(problems))
            raise CopyError(
                f"cannot copy all of {self._root}: {named}",
                hint="Let the user who runs the backup read these files, or close the program that uses "
                "them; what nobody needs back (logs, caches) can be left out with `exclude:`.",
            )

    def _add(self, seen: Seen, listing: Listing) -> None:
        mode = seen.info.st_mode
        if stat.S_ISDIR(mode):
            self._add_folder(seen)
        elif stat.S_ISLNK(mode):
            self.done[seen.path] = replace(_entry(seen.path, "link", seen.info), target=seen.target)
            if _leads_out(seen):
                self.notes.add("outside", shown(seen.path))
        else:
            self._add_file(seen, listing)
            self._meter.passed(seen.info.st_size)

    def _add_folder(self, seen: Seen) -> None:
        if seen.path != ROOT:
            place = self._places.folder(seen.path)
            if place:
                self._make_folder(place)
        self.done[seen.path] = _entry(seen.path, "folder", seen.info)

    def _add_file(self, seen: Seen, listing: Listing) -> None:
        source = place_in(self._root, seen.path)
        parent = seen.path.rpartition("/")[0] or ROOT
        stored = self._kept_free.pop(seen.path, "") or self._places.file(seen.path)
        place = self._destination / stored
        try:
            first = self._hard_linked(seen)
            taken = self._link(first, place) if first else None
            if taken is None:
                self._make_folder(stored.rpartition("/")[0])
                taken = take(source, place, self._meter.at)
            if not _is(self._root, listing.entries[parent]):
                raise Gone  # noqa: TRY301 - read through another folder, maybe from outside of ours
        except Gone:
            place.unlink(missing_ok=True)
            self.gone.add(seen.path)
            self._kept_free[seen.path] = stored
        except Unreadable as error:
            place.unlink(missing_ok=True)
            self._problems.append(f"{shown(seen.path)} ({error})")
        else:
            self._keep(seen, stored, taken, first[0] if first else None)

    def _keep(self, seen: Seen, stored: str, taken: Taken, first: Entry | None) -> None:
        if taken.state == "changed" and self._changing == "fail":
            self._problems.append(f"{shown(seen.path)} (it kept changing)")
            return
        if taken.state != "whole":
            self.notes.add(taken.state, shown(seen.path))
        entry = replace(
            _entry(seen.path, "file", taken.info), stored=stored, size=taken.size, sha256=taken.sha256
        )
        if first is not None and (first.size, first.sha256) == (entry.size, entry.sha256):
            entry = replace(entry, same_as=first.path)
        elif taken.info.st_nlink > 1:
            self._linked[taken.info.st_dev, taken.info.st_ino] = (entry, taken)
        self.done[seen.path] = entry

    def _hard_linked(self, seen: Seen) -> tuple[Entry, Taken] | None:
        """The file copied before that this is another name of, unchanged since."""
        if seen.info.st_nlink < 2:
            return None
        entry, taken = self._linked.get(seen.identity, (None, None))
        if entry is None or taken is None or taken.state != "whole":
            return None
        try:
            now = os.lstat(place_in(self._root, seen.path))
        except OSError:
            return None
        unchanged = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns) == (
            taken.info.st_dev,
            taken.info.st_ino,
            taken.info.st_size,
            taken.info.st_mtime_ns,
            taken.info.st_ctime_ns,
        )
        return (entry, taken) if unchanged else None

    def _link(self, first: tuple[Entry, Taken], place: Path) -> Taken | None:
        """Hard-link the copy too, to save the room; None where the staging folder's disk has no such."""
        try:
            self._make_folder(place.parent.relative_to(self._destination).as_posix())
            os.link(self._destination / first[0].stored, place)
        except OSError:
            return None
        return first[1]

    def _make_folder(self, place: str) -> None:
        if place in self._made:
            return
        self._made.add(place)
        try:
            (self._destination / place).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CopyError(
                f"cannot make the folder {self._destination / place}: {error.strerror}",
                hint="Check the free space and the rights of the staging folder.",
            ) from error


def _refuse_if_replaced(root: str, before: Mapping[str, Seen], after: Listing) -> None:
    """A folder with another in its place, or with a file, is an update at work: no state worth keeping."""
    for path, seen in after.entries.items():
        old = before.get(path)
        if old is None:
            continue
        kinds = {stat.S_IFMT(old.info.st_mode), stat.S_IFMT(seen.info.st_mode)}
        if len(kinds) > 1 or (kinds == {stat.S_IFDIR} and old.identity != seen.identity):
            raise CopyError(
                f"cannot finish the copy of {root}: {shown(path)} was replaced meanwhile",
                hint="Run the backup again when no update or clean-up is at work in the folder.",
            )


def _is(root: str, folder: Seen) -> bool:
    """Whether the folder at this path is still the one that was listed."""
    try:
        now = os.lstat(place_in(root, folder.path))
    except OSError:
        return False
    return (now.st_dev, now.st_ino) == folder.identity


def _entry(path: str, kind: Literal["file", "folder", "link"], info: os.stat_result) -> Entry:
    owner, group = owners_of(info)
    return Entry(path, kind, stat.S_IMODE(info.st_mode), info.st_mtime_ns, owner=owner, group=group)


def _leads_out(seen: Seen) -> bool:
    """By its text alone, as it would be followed from its own place."""
    target = seen.target.replace("\\", "/") if os.name == "nt" else seen.target
    if os.path.isabs(target):  # noqa: PTH117 - names stay plain texts here
        return True
    steps = os.path.normpath(os.path.join(os.path.dirname(seen.path), target))  # noqa: PTH118, PTH120
    return steps.replace("\\", "/").split("/")[0] == ".."
