"""A plain folder behind the seam: the application's files, beside its database.

A copy is the folder ``files`` that mirrors the original and ``index.jsonl`` that holds what a tar cannot
(index.py). Databases that may be running are left out by default (walk.py), because
copying their files is useless, and each is reported. ``check`` says how many in its version, ``validate``
names them.
"""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from tasks.errors import SourceError, SourceMissing
from tasks.options import Options, Place, problem
from tasks.platform.names import listed, shown
from tasks.records import CopiedFile, Engine, Finding, LiveCopy, Progress, Table, no_progress
from tasks.sources.base import Connection, Source
from tasks.sources.capabilities import SupportsFiles, SupportsInPlace
from tasks.sources.files.copy import copy_folder
from tasks.sources.files.index import CONTENTS, read_index
from tasks.sources.files.restore import compare_folder, restore_folder
from tasks.sources.files.validate import check_copy, open_measured, top_tables
from tasks.sources.files.walk import Listing, Patterns, Selection, place_in, real_root, walk
from tasks.sources.shared.live_data import TO_HINT, InPlaceOptions, LiveData, live_folder

MOST_NAMES = 5

_PATTERNS = (
    "Patterns as in .gitignore: `*.tmp` fits names at any depth, `cache/` any folder of that name with all "
    "in it, `Forms/*.pdf` a path from the folder on"
)


class FilesOptions(Options):
    """What the plan says about a folder of files."""

    kind: Literal["files"] = "files"
    path: Path = Field(description="the folder; its sub-folders belong to it", examples=["C:/SOS"])
    include: tuple[str, ...] = Field(
        (),
        description=f"back up only what fits one of these; empty for everything. {_PATTERNS}",
        examples=[["Forms/", "*.docx"]],
    )
    exclude: tuple[str, ...] = Field(
        (),
        description="leave out what fits one of these, written like `include`",
        examples=[["*.tmp", "~$*", "cache/**"]],
    )
    live_databases: Literal["exclude", "include"] = Field(
        "exclude",
        description="files of databases that may be running (SQL Anywhere, SQL Server, SQLite in use, "
        "folders of PostgreSQL and MariaDB): `exclude` leaves them out and tells so, because such a copy "
        "would not open; back them up with a plan of their own kind. `include` copies them like other "
        "files, for databases that are stopped",
    )
    changing: Literal["fail", "report"] = Field(
        "fail",
        description="what to do with a file that keeps changing while it is copied, even when tried three "
        "times (one that only grows, a log, is no such file: its beginning is kept): `fail` the backup, or "
        "keep the file as it was read last, maybe half old and half new, and `report` it",
    )

    in_place: InPlaceOptions | None = Field(
        None,
        description="how the program that uses the folder is stopped and started when a backup is restored "
        "in its place. Left out: it must have been closed by then",
        examples=[{"stop": ["systemctl", "stop", "office"], "start": ["systemctl", "start", "office"]}],
    )

    @property
    def place(self) -> Place:
        """The folder."""
        return Place("", str(self.path))

    @field_validator("include", "exclude")
    @classmethod
    def _are_patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        try:
            Patterns(patterns)
        except ValueError as error:
            raise problem(
                f"has a pattern that cannot be used: {error}",
                hint="Write names with * for any part of one, for example *.tmp or cache/.",
            ) from None
        return patterns


class FilesSource(Source, SupportsFiles, SupportsInPlace):
    """A folder of files, copied file by file while it is in use."""

    kind = "files"
    clones = False
    after_restore = (
        "The folder `files` is the backed-up folder: its files under their own names, in their own\n"
        "sub-folders. Close the program that uses the folder, rename the damaged one (to `DATASAVE`, say;\n"
        "don't delete it yet), and put `files` in its place under the old name. A database that was left\n"
        "out of this backup, because copying a running database is useless, has a backup of its own:\n"
        "restore that as well.\n"
        "\n"
        "`index.jsonl` says in one line for each file what else there is to know: `path`, its real name\n"
        "(`%41` stands for the byte 41, hexadecimal), `stored`, where it lies here, which is another name\n"
        "where not every system can hold the real one, and its permissions (`mode`), time of last change\n"
        "(`mtime`, seconds since 1970) and `sha256`. Symbolic links are listed there only (`kind` link,\n"
        "`target`): make them again with `ln -s`. `datasave restore` does all of this by itself."
    )

    def __init__(self, options: FilesOptions) -> None:
        self._options = options

    def check(self) -> Engine:
        """See Source.check. Raises SourceError too where the plan selects no file at all."""
        root = real_root(self._options.path)
        listing = walk(root, self._selection(None))
        unreadable = [f"{shown(path)} ({cause})" for path, cause in listing.unreadable]
        denied = (seen.path for seen in listing.files if _denied(root, seen.path))
        unreadable += [f"{shown(path)} (no right to read)" for path in denied]
        if unreadable:
            raise SourceError(
                f"cannot read all of {root}: {listed(unreadable[:MOST_NAMES], len(unreadable))}",
                hint="Let the user who runs the backup read everything in the folder, or leave out what "
                "nobody needs back with `exclude:`.",
            )
        return self._engine(listing)

    def copy_live(self, destination: Path, progress: Progress = no_progress) -> LiveCopy:
        """See Source.copy_live. Each file is whole as it stood at one moment, not all at the same one.

        Raises SourceMissing or SourceError where there is nothing to copy.
        """
        started = datetime.now(UTC)
        root = real_root(self._options.path)
        own = destination.stat()
        selection = self._selection((own.st_dev, own.st_ino))
        listing = walk(root, selection)
        engine = self._engine(listing)
        files = copy_folder(root, selection, destination, self._options.changing, progress, listing)
        return LiveCopy(
            folder=destination, engine=engine, files=files, started=started, finished=datetime.now(UTC)
        )

    def validate(self, copy: Path, scratch: Path) -> list[Finding]:
        """See Source.validate: every file against the index. Leaves what it measured in ``scratch``."""
        return check_copy(copy, scratch)

    def open(self, copy: Path, scratch: Path) -> AbstractContextManager[Connection]:
        """See Source.open, and validate.py for the table ``files``."""
        return _opened(copy, scratch)

    def tables(self, connection: Connection) -> list[Table]:
        """See Source.tables: one for each top-level folder."""
        return top_tables(connection)

    def restore(self, copy: Path, destination: Path) -> Path:
        """See Source.restore. Owners are given back by root alone; the folder itself stays private."""
        restore_folder(read_index(copy), copy, destination)
        return destination

    def files_matching(self, wanted: str, files: Sequence[CopiedFile]) -> list[CopiedFile]:
        """See SupportsFiles: a path in the folder, or a pattern as in the plan's ``include``."""
        try:
            pattern = Patterns((wanted,))
        except ValueError as error:
            raise SourceError(
                f"cannot use the pattern {wanted!r}: {error}", hint="Write a path, or *.docx."
            ) from None
        prefix = f"{CONTENTS}/"
        return [
            file
            for file in files
            if file.path.startswith(prefix) and pattern.fit(file.path.removeprefix(prefix))
        ]

    def live_data(self) -> LiveData:
        """See SupportsInPlace. Refused where it holds a database that this backup leaves out."""
        root = self._options.path
        place = live_folder(root, deep=False)
        if root.is_dir():
            notes = walk(real_root(root), self._selection(None)).notes
            left_out = notes.counts.get("databases", 0)
            if left_out:
                raise SourceError(
                    f"cannot restore in place of {root}: a database that this backup leaves out lies in it: "
                    f"{listed(notes.names['databases'], left_out)}",
                    hint=f"It would be put aside with the folder. {TO_HINT}",
                )
        return place

    def in_place_options(self) -> InPlaceOptions:
        """See SupportsInPlace."""
        return self._options.in_place or InPlaceOptions()

    def compare_live(self, copy: Path, live: LiveData) -> list[Finding]:
        """See SupportsInPlace: the contents of every file, against the index of the copy."""
        return compare_folder(read_index(copy), live.path)

    @contextmanager
    def open_live(self, copy: Path, live: LiveData, scratch: Path) -> Iterator[None]:
        """See SupportsInPlace: files are compared as they are, there is nothing to open."""
        del copy, live, scratch
        yield None

    def _selection(self, avoid: tuple[int, int] | None) -> Selection:
        options = self._options
        return Selection(
            include=Patterns(options.include),
            exclude=Patterns(options.exclude),
            databases=options.live_databases == "include",
            avoid=avoid,
        )

    def _engine(self, listing: Listing) -> Engine:
        """``version`` is the system, and a count of what is left out: it is read before every backup."""
        left_out = listing.notes.counts.get("databases", 0)
        if not listing.files and not listing.unreadable:
            raise self._nothing(listing, left_out)
        files = "file" if left_out == 1 else "files"
        told = f" ({left_out:,} {files} or folders of live databases left out)" if left_out else ""
        return Engine(
            kind=self.kind,
            version=f"{platform.system()}{told}",
            bytes=listing.bytes,
            data=str(self._options.path),
        )

    def _nothing(self, listing: Listing, left_out: int) -> SourceError:
        path = self._options.path
        if left_out:
            return SourceError(
                f"cannot back up {path}: all it holds is a database that may be running: "
                f"{listed(listing.notes.names['databases'], left_out)}",
                hint="Back it up with a plan whose source is of that database's kind.",
            )
        return SourceMissing(
            f"cannot back up {path}: it holds no file that the plan selects",
            hint="Check that its disk is connected, and `path:`, `include:` and `exclude:` in the plan.",
        )


def _denied(root: str, path: str) -> bool:
    # On Windows this answers yes for everything; there the copy itself shows.
    return not os.access(place_in(root, path), os.R_OK)


@contextmanager
def _opened(copy: Path, scratch: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_measured(copy, scratch)) as connection:
        yield connection
