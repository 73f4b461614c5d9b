"""Copying a folder that is in use: file by file, each whole, until a last look finds nothing new.

A file copy can promise no more than each file as it stood at one moment, the moments of different files
lying apart by as long as the copy takes. What belongs together in one moment belongs in a database.

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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

from tasks.errors import CopyError
from tasks.platform.attributes import spread_out
from tasks.platform.files import BLOCK, create_private
from tasks.platform.names import listed, shown
from tasks.records import CopiedFile, Progress
from tasks.sources.files.index import ROOT, Entry, Notes, StandIns, write_index
from tasks.sources.files.owners import owners_of
from tasks.sources.files.walk import READ_FLAGS, Listing, Seen, Selection, place_in, walk

ROUNDS = 3
"""How often what appeared meanwhile is copied as well; what comes even later is left to the next backup."""

MOST_PROBLEMS = 5
_NO_ROOM = "Check the free space and the rights of the staging folder."

WAITS = (0.2, 0.5)
"""Seconds to wait before each further try."""

SETTLED = 0.05
_BUFFER = 1 << 13  # whatever is larger is written straight through
_LATEST = 1 << 33  # seconds; a time beyond the year 2242 is no time, and not every tar holds it

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


def copy_folder(
    root: str,
    selection: Selection,
    destination: Path,
    changing: Changing,
    progress: Progress,
    first: Listing,
) -> tuple[CopiedFile, ...]:
    """Copy what ``first`` lists, then what appeared meanwhile, into ``destination``; the index comes last.

    Raises CopyError: files that cannot be read or keep changing, a folder replaced by another.
    """
    meter = Meter(progress, first.bytes)
    copier = _Copier(root, destination, changing, meter)
    notes = _copy_all(copier, root, selection, first)
    files = [
        CopiedFile(path=entry.stored, bytes=entry.size, sha256=entry.sha256)
        for entry in copier.done.values()
        if entry.kind == "file"
    ]
    if not files:
        raise CopyError(
            f"cannot finish the copy of {root}: all files vanished meanwhile",
            hint="Check that the disk it lies on is connected, then run the backup again.",
        )
    try:
        index = write_index(destination, os.name, notes, copier.done.values())
    except OSError as error:
        raise CopyError(
            f"cannot write the index of the copy into {destination}: {error.strerror}",
            hint=_NO_ROOM,
        ) from error
    meter.finish()
    return (*files, index)


def _copy_all(copier: _Copier, root: str, selection: Selection, first: Listing) -> Notes:
    """Copy until a last look finds nothing new; what happened meanwhile."""
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
    return notes


class _Copier:
    """Copies entry after entry. ``gone`` are files that were listed and then not there to be read."""

    def __init__(self, root: str, destination: Path, changing: Changing, meter: Meter) -> None:
        self.done: dict[str, Entry] = {}
        self.gone: set[str] = set()
        self.notes = Notes()
        self._root = root
        self._destination = str(destination)
        self._changing = changing
        self._meter = meter
        self._places = StandIns()
        self._made: set[str] = set()
        self._linked: dict[tuple[int, int], tuple[Entry, _Taken]] = {}
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
        place = self._place(stored)
        try:
            first = self._hard_linked(seen)
            taken = self._link(first, stored) if first else None
            if taken is None:
                self._make_folder(stored.rpartition("/")[0])
                taken = _take(source, place, self._meter.at)
            if not _is(self._root, listing.entries[parent]):
                raise _Gone  # noqa: TRY301 - read through another folder, maybe from outside of ours
        except _Gone:
            _drop(place)
            self.gone.add(seen.path)
            self._kept_free[seen.path] = stored
        except _Unreadable as error:
            _drop(place)
            self._problems.append(f"{shown(seen.path)} ({error})")
        else:
            self._keep(seen, stored, taken, first[0] if first else None)

    def _keep(self, seen: Seen, stored: str, taken: _Taken, first: Entry | None) -> None:
        if taken.state == "changed" and self._changing == "fail":
            self._problems.append(f"{shown(seen.path)} (it kept changing)")
            return
        if taken.state != "whole":
            self.notes.add(taken.state, shown(seen.path))
        entry = _entry(seen.path, "file", taken.info, stored, taken.size, taken.sha256)
        if first is not None and (first.size, first.sha256) == (entry.size, entry.sha256):
            entry = replace(entry, same_as=first.path)
        elif taken.info.st_nlink > 1:
            self._linked[taken.info.st_dev, taken.info.st_ino] = (entry, taken)
        self.done[seen.path] = entry

    def _hard_linked(self, seen: Seen) -> tuple[Entry, _Taken] | None:
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

    def _link(self, first: tuple[Entry, _Taken], stored: str) -> _Taken | None:
        """Hard-link the copy too, to save the room; None where the staging folder's disk has no such."""
        try:
            self._make_folder(stored.rpartition("/")[0])
            os.link(self._place(first[0].stored), self._place(stored))
        except OSError:
            return None
        return first[1]

    def _place(self, stored: str) -> str:
        return place_in(self._destination, stored)

    def _make_folder(self, stored: str) -> None:
        if stored in self._made:
            return
        self._made.add(stored)
        above = stored.rpartition("/")[0]
        if above:
            self._make_folder(above)
        place = self._place(stored)
        try:
            os.mkdir(place, mode=0o700)  # noqa: PTH102 - names stay plain texts here
        except OSError as error:
            raise CopyError(
                f"cannot make the folder {place}: {error.strerror}",
                hint=_NO_ROOM,
            ) from error
        spread_out(place)


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


def _entry(
    path: str,
    kind: Literal["file", "folder", "link"],
    info: os.stat_result,
    stored: str = "",
    size: int = 0,
    sha256: str = "",
) -> Entry:
    owner, group = owners_of(info)
    mode = stat.S_IMODE(info.st_mode)
    return Entry(path, kind, mode, info.st_mtime_ns, stored, size, sha256, owner=owner, group=group)


def _leads_out(seen: Seen) -> bool:
    """By its text alone, as it would be followed from its own place."""
    target = seen.target.replace("\\", "/") if os.name == "nt" else seen.target
    if os.path.isabs(target):  # noqa: PTH117 - names stay plain texts here
        return True
    steps = os.path.normpath(os.path.join(os.path.dirname(seen.path), target))  # noqa: PTH118, PTH120
    return steps.replace("\\", "/").split("/")[0] == ".."


class _Gone(Exception):
    """The file is no longer there, or something else is in its place. Never leaves this module."""


class _Unreadable(Exception):
    """The system refuses to read the file; the text is the cause. Never leaves this module."""


@dataclass(frozen=True)
class _Taken:
    """A copied file: what it was before reading, what was read, and whether that is one moment's state."""

    info: os.stat_result
    size: int
    sha256: str
    state: str
    """``whole``, ``grew`` (its beginning, proven) or ``changed`` (no two looks were the same)."""


def _take(source: str, place: str, at: Callable[[int], object]) -> _Taken:
    """Copy the file at ``source`` to ``place``, a new private file; ``at`` is told the bytes read.

    Raises _Gone, _Unreadable; CopyError where the copy cannot be written.
    """
    try:
        return _tries(source, place, at)
    except OSError as error:
        # Even closing a file can fail, where its disk is gone.
        raise _Unreadable(error.strerror or "it cannot be read") from None


def _tries(source: str, place: str, at: Callable[[int], object]) -> _Taken:
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
        return _Taken(taken.info, taken.size, taken.sha256, "grew")
    return taken


def _one_try(source: str, place: str, at: Callable[[int], object]) -> _Taken:
    with _opened(source) as file:
        before = os.fstat(file.fileno())
        if _fresh(before):
            time.sleep(SETTLED)
            before = os.fstat(file.fileno())
        settled = not _fresh(before)
        try:
            with create_private(place, _BUFFER) as copy:
                size, sha256 = _pour(file, copy, before.st_size, at)
        except OSError as error:
            raise _not_written(place, error) from error
        after = os.fstat(file.fileno())
    _keep_time(place, before)
    whole = settled and size == before.st_size and _same(before, after)
    return _Taken(before, size, sha256, "whole" if whole else "changed")


def _drop(place: str) -> None:
    """Remove what may have been written of a file that is not kept. Raises OSError."""
    with suppress(FileNotFoundError):
        os.unlink(place)  # noqa: PTH108 - names stay plain texts here


def _remove(place: str) -> None:
    try:
        os.unlink(place)  # noqa: PTH108 - names stay plain texts here
    except OSError as error:
        raise _not_written(place, error) from error


def _not_written(place: str, error: OSError) -> CopyError:
    return CopyError(
        f"cannot write the copy {place}: {error.strerror}",
        hint=_NO_ROOM,
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


def _still_begins_with(source: str, taken: _Taken) -> bool:
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
        raise _Gone from None
    except OSError as error:
        if os.path.islink(source):  # noqa: PTH114 - names stay plain texts here
            raise _Gone from None
        raise _Unreadable(error.strerror or "it cannot be opened") from None
    file = os.fdopen(descriptor, "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise _Gone
    return file


def _read(file: BinaryIO, size: int) -> bytes:
    try:
        return file.read(size)
    except OSError as error:
        raise _Unreadable(error.strerror or "it cannot be read") from None


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    # On Windows st_ctime_ns is when the file was made.
    changed = os.name == "posix" and before.st_ctime_ns != after.st_ctime_ns
    return (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns) and not changed


def _keep_time(place: str, info: os.stat_result) -> None:
    """For those who unpack with stock tools; the index has the exact time, and any that a tar cannot hold."""
    if 0 <= info.st_mtime < _LATEST:
        with suppress(OSError):
            os.utime(place, ns=(info.st_mtime_ns, info.st_mtime_ns))


def _fresh(info: os.stat_result) -> bool:
    age = time.time_ns() - info.st_mtime_ns
    return 0 <= age < SETTLED * 1e9
