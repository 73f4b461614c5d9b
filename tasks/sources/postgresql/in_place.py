"""A data folder restored to where the server's own was: opened there privately, before the server starts.

The private server (postgresql_server.py) empties postgresql.auto.conf and writes without fsync; both are made
good when it has stopped. Everything else in the folder is as if the server itself had recovered the copy.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.errors import SourceError
from tasks.platform.files import sync_tree
from tasks.platform.processes import run
from tasks.sources.postgresql.programs import Programs
from tasks.sources.postgresql.record import CopyRecord
from tasks.sources.postgresql.scratch import told_as_damage
from tasks.sources.postgresql.server import private_server
from tasks.sources.postgresql.tables import METHOD_SETTING
from tasks.sources.shared.live_data import TO_HINT, LiveData, ServerInPlaceOptions, live_folder, open_files

_OWN = "postgresql.auto.conf"


def live_data(method: str, options: ServerInPlaceOptions | None) -> LiveData:
    """The server's data folder. Raises SourceError where it cannot be replaced in one step."""
    if method != "physical":
        raise SourceError(
            "a dump of one PostgreSQL database cannot take the place of a server's files",
            hint="Restore it with `datasave restore --to FOLDER`, then `createdb` and `pg_restore` into "
            "a new database; RECOVER.md has the commands.",
        )
    if options is None:
        raise SourceError(
            "the plan does not say which folder holds the server's data",
            hint="Set `source.in_place: {data: …, stop: […], start: […]}` in the plan.",
        )
    _refuse_spread(options.data)
    _refuse_closed(options.data)
    return live_folder(options.data, options.owner, deep=True)


def refuse_tablespaces(copy: Path) -> None:
    """Raise SourceError where the copy has tablespaces: their folders lie elsewhere and stay as they are."""
    places = copy / "data" / "pg_tblspc"
    if places.is_dir() and any(places.iterdir()):
        raise SourceError(
            "cannot restore in place: the server has tablespaces in other folders", hint=TO_HINT
        )


def in_use(place: LiveData) -> str:
    """Who runs over the data folder: by open files, and by the process id that the server leaves there."""
    holder = open_files(place.there)
    if holder:
        return holder
    try:
        number = int((place.path / "postmaster.pid").read_text("utf-8").split("\n", 1)[0])
        os.kill(number, 0)
    except (OSError, ValueError):
        return ""
    return f"PostgreSQL (process {number})" if _is_postgres(number) else ""


def is_ready(programs: Programs, host: str, port: int) -> bool:
    """Whether the server takes connections, as pg_isready sees it."""
    command: list[str | Path] = [programs.path("pg_isready"), "-q", "-h", host, "-p", str(port)]
    return run(command, seconds=60).code == 0


@contextmanager
def opened(programs: Programs, record: CopyRecord, copy: Path, data: Path, scratch: Path) -> Iterator[Any]:
    """A connection to the live data folder under a private server; sound and durable when the block ends."""
    try:
        with private_server(programs, data, scratch / "private", record.superuser, read_only=True) as server:
            here = replace(server, database=record.database)
            with (
                told_as_damage("cannot open the restored data"),
                here.connected(streaming=True) as connection,
            ):
                connection.cursor().execute(f"SET {METHOD_SETTING} = '{record.method}'")
                yield connection
    finally:
        shutil.copyfile(copy / "data" / _OWN, data / _OWN)
        sync_tree(data)


def _refuse_spread(data: Path) -> None:
    links = [data / "pg_wal", *(data / "pg_tblspc").glob("*")]
    for link in links:
        if link.is_symlink():
            raise SourceError(
                f"cannot restore in place of {data}: {link.relative_to(data)} leads to {link.readlink()}",
                hint=TO_HINT,
            )


def _refuse_closed(data: Path) -> None:
    """As root, the private server passes for another account, and only enters what root or all may enter."""
    if os.name != "posix" or os.geteuid() != 0:
        return
    for folder in data.parents:
        seen = folder.stat()
        if seen.st_uid != 0 and not seen.st_mode & stat.S_IXOTH:
            raise SourceError(
                f"cannot restore in place of {data} as root: {folder} is closed to all but its owner",
                hint=f"Run this command as that owner, or `chmod o+x {folder}` for as long as it takes.",
            )


def _is_postgres(number: int) -> bool:
    """Whether that process is a server's; where the system doesn't tell, it is taken for one."""
    try:
        return "postgres" in Path(f"/proc/{number}/comm").read_text("utf-8", "replace")
    except OSError:
        return not Path("/proc/self").exists()
