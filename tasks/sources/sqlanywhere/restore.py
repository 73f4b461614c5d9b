"""A copy restored: into a folder, or in the place of the live one, opened there before its engine starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field

from tasks.errors import SourceError, ValidationError
from tasks.platform.files import private_folder
from tasks.platform.trees import sync_tree
from tasks.sources.shared.folders import copy_whole, restoring_into
from tasks.sources.shared.live_data import InPlaceOptions
from tasks.sources.sqlanywhere.copy import DATABASE, CopyRecord, read_record
from tasks.sources.sqlanywhere.restart import RestartOptions
from tasks.sources.sqlanywhere.scratch import MESSAGES, CopyAccess, readable, scratch_engine


class SqlanywhereInPlaceOptions(InPlaceOptions):
    """How a backup is restored in place of the DATA folder."""

    data: Path | None = Field(
        None,
        description="the folder with the database, its dbspaces and its log. Left out: the running engine is "
        "asked; give it for the day when the engine doesn't run",
        examples=[r"C:\SOS\DATA"],
    )


AFTER_RESTORE = """\
The folder `database` holds the database as SAP's `dbbackup` copied it: the `.db` file, its dbspaces if it
has any, and the `.log`. The three belong together: never mix in files of another day. You need SQL Anywhere
of the version named in `sqlanywhere-copy.json`, or newer.

Work on a second copy of the folder, and keep the first as it is: starting a database alters it.

1. Try it beside everything else. `-ds` keeps the engine from touching the log or the dbspaces at the
   places the database remembers, which are the old ones:

       dbeng17 -n trial_restore -x none FOLDER/SOSDATA.db -n trial -ds FOLDER
       dbvalid -c "SERVER=trial_restore;DBN=trial;UID=...;PWD=...;ASTART=NO"
       dbstop -y trial_restore

   `dbvalid` must end with code 0. Accounts and passwords are those of the day of the backup.
2. Put it in its place. Close the practice program on every computer, stop the engine, rename the old data
   folder (to `DATASAVE`, say; don't delete it yet), make a new one and put the files of `database` there
   under their names. Then start the engine and the program, and look whether the newest entries are there.
3. At another path than before, tell the database where its log is, once, before the first start:

       dblog -t FOLDER/SOSDATA.log FOLDER/SOSDATA.db

Log backups, if there are any, are applied without a gap, in one go: put the backup's own log and all later
ones into a folder LOGS, out of FOLDER, and run

    dbeng17 -n apply_logs -x none FOLDER/SOSDATA.db -ds FOLDER -ad LOGS

The engine applies them in the order of their offsets and ends. `dblog` tells each log's offsets: every log
must begin where the one before it ended, or changes are lost. Where the first later one begins at the same
offset as the backup's own log, it holds that one's changes too: leave the own log out."""


def restore_copy(copy: Path, destination: Path) -> Path:
    """Put the copy's files into ``destination`` under their live names; the database's path there.

    Raises SourceError.
    """
    try:
        record = read_record(copy)
    except ValidationError as error:
        raise SourceError(error.message, hint=error.hint) from error
    with restoring_into(destination, record.database):
        for path in sorted((copy / DATABASE).iterdir()):
            copy_whole(path, destination / path.name)
    return destination / record.database


def folder_of(file: str | None, log: str | None) -> Path:
    """The DATA folder, from what the engine tells.

    Raises SourceError where the log lies elsewhere: then one rename will not do.
    """
    if file is None:
        raise SourceError("the engine does not tell where its database lies", hint="Set `in_place.data`.")
    folder = Path(file).parent
    if log is not None and Path(log).parent != folder:
        raise SourceError(
            f"cannot restore in place of {folder}: the log lies elsewhere, {log}",
            hint="Restore with `datasave restore --to FOLDER`, and put database and log into place by hand.",
        )
    return folder


def commands(own: InPlaceOptions | None, restart: RestartOptions | None) -> InPlaceOptions:
    """How the engine is stopped and started: as for a restore in place, else as for its daily restart."""
    if own is not None and (own.stop or own.start or restart is None):
        return own
    if restart is None:
        return InPlaceOptions()
    return InPlaceOptions(stop=restart.stop, start=restart.start, seconds=restart.seconds)


@contextmanager
def opened_in_place(access: CopyAccess, record: CopyRecord, data: Path, scratch: Path) -> Iterator[Any]:
    """A connection to the live database under a private engine; durable when the block ends."""
    try:
        with ExitStack() as stack:
            log = private_folder(scratch) / "engine-output.txt"
            client = stack.enter_context(scratch_engine(access, data, record.database, log))
            yield readable(stack, client, f"the restored database in {data}")
    finally:
        (data / MESSAGES).unlink(missing_ok=True)
        sync_tree(data)
