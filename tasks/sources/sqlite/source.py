"""SQLite behind the seam: one database file, copied by SQLite's own online backup.

Needs no driver and no server. A copy is a single file of the database's own name; reading it needs
``immutable=1`` (connection.py says why), restoring it is putting it in its place.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from tasks.errors import CopyError, SourceError, ValidationError
from tasks.options import Options, Place
from tasks.records import Engine, Finding, LiveCopy, Progress, Table, no_progress
from tasks.sources.base import Connection, Source
from tasks.sources.capabilities import SupportsInPlace
from tasks.sources.shared.folders import copied_file, copy_whole, restoring_into
from tasks.sources.shared.live_data import InPlaceOptions, LiveData, open_files, require_renamable
from tasks.sources.sqlite.connection import (
    cause_of,
    failure,
    file_of_copy,
    holders,
    live_identity,
    open_copy,
    open_live,
)
from tasks.sources.sqlite.copy import back_up
from tasks.sources.sqlite.missing import missing, stand_in
from tasks.sources.sqlite.validate import check_copy, user_tables


class SqliteOptions(Options):
    """What the plan says about an SQLite source."""

    kind: Literal["sqlite"] = "sqlite"
    path: Path = Field(description="the database file", examples=["/srv/office/clinic.db"])
    foreign_keys: Literal["require", "report"] = Field(
        "require",
        description="what rows that point to missing rows mean: `require` fails the backup, `report` only "
        "says so. For a database with old faults of this kind that its program lives with",
    )
    in_place: InPlaceOptions | None = Field(
        None,
        description="how the program that uses the database is stopped and started when a backup is restored "
        "in its place. Left out: it must have been closed by then",
        examples=[{"stop": ["systemctl", "stop", "office"], "start": ["systemctl", "start", "office"]}],
    )

    @property
    def place(self) -> Place:
        """The database file."""
        return Place("", str(self.path))


class SqliteSource(Source, SupportsInPlace):
    """An SQLite database file, whichever journal mode it uses."""

    kind = "sqlite"
    clones = False
    after_restore = (
        "The folder holds one database file (its name ends in `.db` or similar). Close the program that\n"
        "uses the database, rename the damaged file (to `DATASAVE`, say; don't delete it yet), delete files\n"
        "beside it whose names end in `-wal`, `-shm` or `-journal`, and put the restored file in its place\n"
        "under the old name. Then start the program and look whether the newest entries are there. With\n"
        'the program `sqlite3` you can check the file first: `sqlite3 clinic.db "PRAGMA integrity_check"`\n'
        "must say `ok`."
    )

    def __init__(self, options: SqliteOptions) -> None:
        self._options = options

    @property
    def _path(self) -> Path:
        # Read late: an adapter made for copies alone has no path.
        return self._options.path

    @property
    def _lenient(self) -> bool:
        # A copy brought back must be what was recorded; whether that was good was judged when it was taken.
        made_for_copies = not hasattr(self._options, "path")
        return made_for_copies or self._options.foreign_keys == "report"

    def check(self) -> Engine:
        """See Source.check. ``bytes`` counts all committed pages, those still in the WAL as well."""
        live_identity(self._path)
        try:
            with open_live(self._path) as live:
                return self._engine(live)
        except sqlite3.Error as error:
            raise failure(f"cannot read the database {self._path}", error, copying=False) from error

    def copy_live(self, destination: Path, progress: Progress = no_progress) -> LiveCopy:
        """See Source.copy_live. Raises SourceMissing or SourceError where there is nothing to copy."""
        started = datetime.now(UTC)
        file = destination / self._path.name
        identity = live_identity(self._path)
        try:
            with open_live(self._path) as live:
                engine = self._engine(live)
                back_up(live, file, progress)
        except sqlite3.Error as error:
            raise failure(f"cannot copy {self._path} to {file}", error, copying=True) from error
        except OSError as error:
            raise CopyError(
                f"cannot copy {self._path} to {file}: {error.strerror}",
                hint="Check the free space and the rights of the staging folder.",
            ) from error
        try:
            self._refuse_if_replaced(identity)
            copied = copied_file(file, destination)
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        return LiveCopy(
            folder=destination, engine=engine, files=(copied,), started=started, finished=datetime.now(UTC)
        )

    def validate(self, copy: Path, scratch: Path) -> list[Finding]:
        """See Source.validate. Needs no clone in ``scratch``: SQLite can read a file without touching it."""
        del scratch
        return check_copy(copy, lenient=self._lenient)

    def open(self, copy: Path, scratch: Path) -> AbstractContextManager[Connection]:
        """See Source.open. Texts are read as bytes."""
        del scratch
        return _opened(copy)

    def tables(self, connection: Connection) -> list[Table]:
        """See Source.tables, and user_tables for what counts as one."""
        return user_tables(connection)

    def restore(self, copy: Path, destination: Path) -> Path:
        """See Source.restore."""
        file = file_of_copy(copy)
        target = destination / file.name
        with restoring_into(destination, file.name):
            copy_whole(file, target)
        return target

    def live_data(self) -> LiveData:
        """See SupportsInPlace: the file and its journals, without which it may miss what was committed."""
        path = self._path
        require_renamable(path)
        beside = tuple(path.with_name(path.name + ending) for ending in ("-wal", "-shm", "-journal"))
        return LiveData(path, folder=False, beside=beside)

    def in_place_options(self) -> InPlaceOptions:
        """See SupportsInPlace."""
        return self._options.in_place or InPlaceOptions()

    def in_use(self, live: LiveData) -> str:
        """See SupportsInPlace: programs that have it open, or hold one of SQLite's locks."""
        return open_files(live.there) or holders(live.path)

    def open_live(self, copy: Path, live: LiveData, scratch: Path) -> AbstractContextManager[Connection]:
        """See SupportsInPlace. Nobody has it open, so it can be read without leaving journals beside it."""
        del copy, scratch
        return _opened_file(live.path)

    def _engine(self, live: sqlite3.Connection) -> Engine:
        pages, page_bytes = (
            live.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
        )
        if not pages:
            raise SourceError(
                f"cannot back up {self._path}: the database is empty",
                hint="Check `path:` in the plan: programs that miss their database often make an empty one.",
            )
        return Engine(
            kind=self.kind, version=sqlite3.sqlite_version, bytes=pages * page_bytes, data=str(self._path)
        )

    def _refuse_if_replaced(self, identity: tuple[int, int]) -> None:
        """What was copied must still be what lies at the path: a file moved away meanwhile is old data."""
        try:
            replaced = live_identity(self._path) != identity
        except SourceError as error:
            raise CopyError(
                f"cannot finish the copy of {self._path}: it vanished meanwhile",
                hint="Check that the disk it lies on is connected, then run the backup again.",
            ) from error
        if replaced:
            raise CopyError(
                f"cannot finish the copy of {self._path}: another file took its place meanwhile",
                hint="Run the backup again when no program is replacing the database.",
            )


def _missing(file: Path) -> set[str]:
    """What reading the tables of a copy needs: asked of SQLite's planner, which reads nothing."""
    names: set[str] = set()
    # Once told of a collation that it lacks, a connection plans without that table for ever.
    with open_copy(file) as asked:
        for table in user_tables(asked):
            try:
                asked.execute(f"EXPLAIN SELECT count(*) FROM {table.reference}").fetchone()  # noqa: S608
            except sqlite3.Error as error:
                names.add(missing(error))
    return names - {""}


def _opened(copy: Path) -> AbstractContextManager[sqlite3.Connection]:
    return _opened_file(file_of_copy(copy))


@contextmanager
def _opened_file(file: Path) -> Iterator[sqlite3.Connection]:
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(open_copy(file))
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            for name in _missing(file):
                stand_in(connection, name)
        except sqlite3.Error as error:
            raise ValidationError(
                f"cannot open the copy {file}: {cause_of(error)}",
                hint="The copy is damaged: restore it again from the archive, or take an older backup.",
            ) from error
        if not pages:
            # SQLite takes an empty file for an empty database.
            raise ValidationError(
                f"cannot open the copy {file}: it is empty",
                hint="Restore it again from the archive, or take an older backup.",
            )
        yield connection
