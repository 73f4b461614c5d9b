"""A live copy by dbbackup, and the record that lies beside it.

A copy's folder holds ``database/`` (just what dbbackup wrote: the ``.db``, every dbspace, the ``.log``),
``dbbackup.txt`` (its messages), ``sqlanywhere-copy.json`` (the record below).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError as RecordError

from tasks.errors import CopyError, ValidationError
from tasks.platform.files import PRIVATE_FILE, private_folder, write_atomic
from tasks.platform.processes import Argument
from tasks.records import CopiedFile, Progress, Record
from tasks.sources.shared.folders import Growth, all_or_nothing, copied_files
from tasks.sources.sqlanywhere.check import DatabaseFacts, base_name
from tasks.sources.sqlanywhere.connection import Client
from tasks.sources.sqlanywhere.errors import DONE, failure

DATABASE = "database"
MESSAGES = "dbbackup.txt"
RECORD = "sqlanywhere-copy.json"
LONGEST_HOURS = 24.0


class CopyRecord(Record):
    """What a copy says of itself: all that is needed to open it where nothing else is known.

    ``files`` are those of ``database/``, their paths relative to it; ``database`` and ``log`` name two of
    them. ``version`` is the engine's own word, ``major`` the installation's.
    """

    format: Literal[1] = 1
    method: Literal["dbbackup"] = "dbbackup"
    major: int
    version: str
    taken: datetime
    database: str
    log: str
    files: tuple[CopiedFile, ...]


def read_record(copy: Path) -> CopyRecord:
    """The record of the copy in ``copy``. Raises ValidationError where there is none that makes sense."""
    try:
        record = CopyRecord.model_validate_json((copy / RECORD).read_bytes())
    except OSError as error:
        raise ValidationError(
            f"{copy} is no SQL Anywhere copy: {RECORD} cannot be read ({error.strerror})",
            hint="Restore it again from the archive, or take an older backup.",
        ) from error
    except RecordError as error:
        raise ValidationError(
            f"{copy} is no SQL Anywhere copy that this version understands: {RECORD} is malformed",
            hint="Use the version of Datasave that made it, or the steps in RECOVER.md.",
        ) from error
    # Names from a file that came from elsewhere: they must stay inside the folder.
    names = [record.database, record.log, *(file.path for file in record.files)]
    if any(name != base_name(name) or name in ("", ".", "..") for name in names):
        raise ValidationError(f"{RECORD} in {copy} names files outside the copy", hint="Take another backup.")
    return record


def back_up(
    client: Client, folder: Path, watch: Callable[[], object], *, options: tuple[str, ...] = ()
) -> None:
    """Run dbbackup into ``folder``, which must be fresh: older files in it would look like success.

    ``options`` are further ones of dbbackup. Raises CopyError or SourceError by its exit code.
    """
    private_folder(folder)
    # -y: without it dbbackup may wait for an answer for ever.
    arguments: list[Argument] = ["-y", "-o", folder.with_name(MESSAGES), *options, folder]
    code = client.run("dbbackup", *arguments, seconds=LONGEST_HOURS * 3600, watch=watch)
    if code != DONE:
        raise failure(f"cannot copy the database ({client.address})", "dbbackup", code, CopyError)


def copy_database(
    client: Client, facts: DatabaseFacts, destination: Path, progress: Progress
) -> tuple[CopiedFile, ...]:
    """Copy the running database into ``destination``; its files, which the record lists as well.

    The live log is left as it is. Nothing stays in ``destination`` where it fails.
    """
    started = datetime.now(UTC)
    growth = Growth(destination / DATABASE, facts.bytes, progress)
    with all_or_nothing(destination, f"cannot finish the copy of the database ({client.address})"):
        back_up(client, destination / DATABASE, growth)
        files = _settled(destination)
        _write_record(destination, facts, client.install.version, started, files)
    growth.end()
    return copied_files(destination)


def _settled(destination: Path) -> tuple[CopiedFile, ...]:
    """The database's files, private and on disk. Raises CopyError where there are none."""
    for path in destination.rglob("*"):
        if path.is_file():
            path.chmod(PRIVATE_FILE)
            with path.open("r+b") as stream:
                os.fsync(stream.fileno())
    files = copied_files(destination / DATABASE)
    hollow = [file.path for file in files if not file.bytes]
    if hollow or not files:
        raise CopyError(
            f"dbbackup reported success, but {', '.join(hollow) or 'every file'} is empty or missing",
            hint="Look whether the staging disk is full or a virus scanner takes the files away.",
        )
    return files


def _write_record(
    destination: Path, facts: DatabaseFacts, major: int, started: datetime, files: tuple[CopiedFile, ...]
) -> None:
    names = [file.path for file in files]
    record = CopyRecord(
        major=major,
        version=facts.version,
        taken=started,
        database=_the_one(names, facts.file, ".db", "database file"),
        log=_the_one(names, facts.log, ".log", "transaction log"),
        files=files,
    )
    write_atomic(destination / RECORD, record.model_dump_json(indent=1).encode("utf-8"))


def _the_one(names: list[str], live: str | None, ending: str, what: str) -> str:
    """The copied file of the live file's name; where that is not known, the only one with the ending."""
    if live and base_name(live) in names:
        return base_name(live)
    fitting = [name for name in names if name.lower().endswith(ending)]
    if len(fitting) == 1 and not live:
        return fitting[0]
    count = "no" if not fitting or live else f"{len(fitting)} possible"
    raise CopyError(
        f"dbbackup reported success, but there is {count} {what} in the copy",
        hint="A database without a transaction log cannot be backed up while it runs: set one up with dblog. "
        "Otherwise look whether something takes files out of the staging folder.",
    )
