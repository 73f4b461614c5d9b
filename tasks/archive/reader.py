"""Guarded extraction of a ``.tar.zst`` into an empty private folder.

An archive may come back from a place where someone could alter it. Names are checked as text before
anything is created; files are created exclusively, so that nothing is followed or overwritten; links are
made last, when nothing more is written; what an archive may take is bounded. Which names clash is the
file system's to say: where it ignores case, ``A`` beside ``a`` is refused like any other name that is
there twice.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from tasks.archive.faults import told_as
from tasks.archive.frame import LARGEST_BLOCK, FrameReader, damaged
from tasks.archive.members import BLOCK, MOST_MEMBERS, Member, read_member
from tasks.errors import ArchiveError, UnsafeArchive
from tasks.platform.attributes import spread_out
from tasks.platform.files import PRIVATE_FOLDER
from tasks.platform.names import in_quotes, link_defect, name_defect
from tasks.records import CopiedFile, Progress, no_progress

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
_HOLE = bytes(LARGEST_BLOCK)
# Stock tar fills its last record with zeros; 1 MiB is the largest record it makes.
_MOST_FILLING = 1 << 20


def extract_archive(
    stream: BinaryIO,
    destination: Path,
    *,
    limit: int,
    progress: Progress = no_progress,
    only: Callable[[str], bool] | None = None,
    written: Callable[[CopiedFile], object] | None = None,
) -> int:
    """Extract all of ``stream`` into ``destination``, an empty folder; returns the number of members.

    With ``only``, just the files whose names it says yes to are written, and the folders they lie in.
    ``written`` is told each file that was, with the sha256 of the bytes handed to the system.
    ``limit`` is the most bytes that all files together may have; progress counts them. Files get mode 0600
    (0700 where their owner could run them), folders 0700; files and folders get their times back. Raises
    UnsafeArchive at a member that would leave the folder or exhaust it, ArchiveError where the archive is
    damaged, cut short or followed by anything, or where the disk refuses. What was extracted before an
    error proves nothing: throw it away. Errors of ``stream`` that are ours come through.
    """
    with told_as(f"cannot extract into {destination}"):
        empty = not destination.is_symlink() and not any(destination.iterdir())
    if not empty:
        raise ArchiveError(
            f"cannot extract into {destination}: it is not an empty folder",
            hint="Give a new folder: an extraction never mixes with what is already there.",
        )
    frame = FrameReader(stream)
    unpacker = _Unpacker(frame, destination, limit, progress, only, written)
    count = 0
    while member := read_member(frame.exactly):
        count += 1
        if count > MOST_MEMBERS:
            raise UnsafeArchive(f"cannot extract the archive: it has more than {MOST_MEMBERS:,} members")
        unpacker.add(member)
    _expect_nothing_more(frame)
    unpacker.finish()
    return count


def _expect_nothing_more(frame: FrameReader) -> None:
    filling = 0
    while piece := frame.piece(_MOST_FILLING):
        filling += len(piece)
        if filling > _MOST_FILLING or any(piece):
            raise damaged("something follows its end")


class _Unpacker:
    """Places members in the destination, one after another."""

    def __init__(
        self,
        frame: FrameReader,
        destination: Path,
        limit: int,
        progress: Progress,
        only: Callable[[str], bool] | None,
        written: Callable[[CopiedFile], object] | None,
    ) -> None:
        self._frame = frame
        # Text, not Path, for what is done for each file.
        self._destination = f"{destination}{os.sep}"
        self._limit = limit
        self._progress = progress
        self._only = only
        self._written = written
        self._done = 0
        self._parent = ""
        self._folders: dict[str, int | None] = {}
        self._links: dict[str, str] = {}

    def add(self, member: Member) -> None:
        """Check and place one member; reads its body."""
        name = member.name.removeprefix("./")
        if member.kind == "folder":
            name = name.removesuffix("/")
            if member.name in (".", "./"):
                return
        self._check(name, member)
        if self._only is not None and not (member.kind == "file" and self._only(name)):
            self._skip(member)
            return
        with told_as(f"cannot extract {in_quotes(name)}"):
            self._make_parents(name)
            match member.kind:
                case "file":
                    self._make_file(name, member)
                case "folder":
                    self._make_folder(name, member.mtime)
                case "link":
                    self._links[name] = member.target
                    self._parent = ""

    def finish(self) -> None:
        """Make the links, and give the folders their times, which everything made in them had changed."""
        for name, target in self._links.items():
            with told_as(f"cannot extract the link {in_quotes(name)}"):
                try:
                    os.symlink(target, self._place(name))  # noqa: PTH211 - as in __init__
                except FileExistsError:
                    raise _unsafe(name, _TWICE) from None
        for name, mtime in reversed(self._folders.items()):
            if mtime is not None:
                with told_as(f"cannot set the time of the folder {in_quotes(name)}"):
                    _set_time(self._place(name), mtime)

    def _check(self, name: str, member: Member) -> None:
        defect = name_defect(name)
        if not defect and member.kind == "link":
            defect = link_defect(name, member.target)
        if not defect and name in self._links:
            defect = _TWICE
        if not defect and self._done + member.size > self._limit:
            defect = f"the archive holds more than the {self._limit:,} bytes expected"
        if defect:
            raise _unsafe(name, defect)

    def _skip(self, member: Member) -> None:
        """Read past a member's body."""
        for _ in self._pieces(member.size):
            pass
        self._expect_filling(member)

    def _pieces(self, size: int) -> Iterator[memoryview]:
        """A body of that size, counted as it goes past; raises ArchiveError where it ends before."""
        left = size
        while left:
            piece = self._frame.piece(left)
            if not piece:
                raise damaged("its contents end too early")
            left -= len(piece)
            self._done += len(piece)
            yield piece

    def _expect_filling(self, member: Member) -> None:
        if any(self._frame.exactly(-member.size % BLOCK)):
            raise damaged("something stands between two members")

    def _place(self, name: str) -> str:
        return self._destination + (name if os.sep == "/" else name.replace("/", os.sep))

    def _make_parents(self, name: str) -> None:
        above = name.rpartition("/")[0]
        if above == self._parent:
            return  # as for the file before
        self._parent = above
        end = name.find("/")
        while end >= 0:
            parent = name[:end]
            if parent in self._links:
                raise _unsafe(name, "it lies beneath a link")
            if parent not in self._folders:
                self._make_folder(parent, None)
            end = name.find("/", end + 1)

    def _make_folder(self, name: str, mtime: int | None) -> None:
        place = self._place(name)
        try:
            os.mkdir(place, PRIVATE_FOLDER)  # noqa: PTH102 - as in __init__
        except FileExistsError:
            raise _unsafe(name, _TWICE) from None
        spread_out(place)
        self._folders[name] = mtime

    def _make_file(self, name: str, member: Member) -> None:
        path = self._place(name)
        try:
            descriptor = os.open(path, _NEW_FILE, 0o600 | (member.mode & 0o100))
        except FileExistsError:
            raise _unsafe(name, _TWICE) from None
        digest = hashlib.sha256() if self._written else None
        with FileIO(descriptor, "wb") as file:
            self._fill(file, member.size, digest.update if digest else lambda _: None)
        self._expect_filling(member)
        _set_time(path, member.mtime)
        if self._written and digest:
            self._written(CopiedFile(path=name, bytes=member.size, sha256=digest.hexdigest()))

    def _fill(self, file: FileIO, size: int, update: Callable[[memoryview], object]) -> None:
        hole = False
        for whole in self._pieces(size):
            update(whole)
            piece = whole
            if len(piece) == len(_HOLE) and bytes(piece) == _HOLE:
                # Where a database is empty its copy takes no room, as far as the file system can do that.
                hole = True
                file.seek(len(piece), os.SEEK_CUR)
                piece = piece[:0]
            while piece:
                # A raw file may take only a part, above all when the disk is almost full.
                piece = piece[file.write(piece) :]
            self._progress(self._done, 0)
        if hole:
            file.truncate()  # it may end with one


def _set_time(path: str, mtime: int) -> None:
    try:
        os.utime(path, (mtime, mtime))
    except OverflowError as error:
        raise damaged(f"{in_quotes(Path(path).name)} has an impossible time") from error


def _unsafe(name: str, defect: str) -> UnsafeArchive:
    return UnsafeArchive(
        f"cannot extract {in_quotes(name)}: {defect}",
        hint="This is no archive that Datasave made. Use another copy of this backup, and find out who "
        "could write to the place where this one was kept.",
    )


_TWICE = "its name is there twice"
