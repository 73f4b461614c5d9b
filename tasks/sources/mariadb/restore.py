"""A copy restored: into a folder, or in the place of the live data, opened there before the server starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.errors import ProgramError, SourceError, SourceMissing, ValidationError
from tasks.platform.files import private_folder
from tasks.platform.trees import sync_tree
from tasks.sources.mariadb.connection import MariadbLogin, connected
from tasks.sources.mariadb.programs import Programs
from tasks.sources.mariadb.record import DATA, DUMP, CopyRecord, read_record
from tasks.sources.mariadb.scratch import clone, prepare, served
from tasks.sources.shared.folders import copy_whole, emptied, restoring_into
from tasks.sources.shared.live_data import LiveData, ServerInPlaceOptions, server_folder


def restore_copy(copy: Path, destination: Path, folder: Path | None) -> Path:
    """Put the copy into ``destination``; the path that a server, or its client, is given."""
    try:
        record = read_record(copy)
    except ValidationError as error:
        raise SourceError(error.message, hint=error.hint) from error
    try:
        with restoring_into(destination):
            try:
                return _restored(copy, record, destination, Programs(folder, record.release))
            except BaseException:
                emptied(destination)
                raise
    except (ProgramError, ValidationError) as error:
        raise SourceError(f"cannot restore into {destination}: {error.message}", hint=error.hint) from error


def _restored(copy: Path, record: CopyRecord, destination: Path, programs: Programs) -> Path:
    if record.method == "physical":
        clone(copy / DATA, destination)
        prepare(programs, destination)
        return destination
    copy_whole(copy / DUMP, destination / DUMP)
    return destination / DUMP


def live_data(method: str, options: ServerInPlaceOptions | None) -> LiveData:
    """The server's data folder. Raises SourceError where it cannot be replaced in one step."""
    if method != "physical":
        raise SourceError(
            "a dump of one database cannot take the place of a server's files",
            hint="Restore it with `datasave restore --to FOLDER`, then load dump.sql into a server that has "
            "no database of that name; RECOVER.md has the commands.",
        )
    return server_folder(options, lambda data: data.glob("*"))


def answers(login: MariadbLogin) -> bool:
    """Whether a server is there; one that refuses the account is."""
    try:
        with connected(login, "ask the server"):
            return True
    except SourceMissing:
        return False
    except SourceError:
        return True


@contextmanager
def open_in_place(programs: Programs, record: CopyRecord, data: Path, scratch: Path) -> Iterator[Any]:
    """A connection to the live data folder under a private server; durable when the block ends."""
    # The private server's data folder lies in scratch; here it is a way to the live one.
    link = private_folder(scratch) / DATA
    link.unlink(missing_ok=True)
    link.symlink_to(data, target_is_directory=True)
    try:
        with served(programs, record, scratch) as connection:
            yield connection
    finally:
        link.unlink(missing_ok=True)
        sync_tree(data)
