"""A copy restored: into a folder, with the log replayed up to a moment, or in the place of the live data.

What is more than copying files is done by a private server over the restored data folder (no network, none of
the copy's own settings). It empties postgresql.auto.conf and writes without fsync; both are made good when it
has stopped. Afterwards it is an ordinary, stopped data folder, as if the server itself had recovered it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.errors import SourceError, ValidationError
from tasks.platform.accounts import is_root
from tasks.platform.files import PRIVATE_FOLDER, private_folder, write_atomic
from tasks.platform.processes import run
from tasks.platform.trees import sync_tree
from tasks.sources.postgresql.catalog import METHOD_SETTING
from tasks.sources.postgresql.copy import LOG_FILE
from tasks.sources.postgresql.dump import reported_as_damage
from tasks.sources.postgresql.programs import Programs, programs_for
from tasks.sources.postgresql.record import CopyRecord, read_record
from tasks.sources.postgresql.scratch import private_server
from tasks.sources.shared.folders import close_to_others, emptied, restoring_into
from tasks.sources.shared.live_data import TO_HINT, LiveData, ServerInPlaceOptions, open_files, server_folder

_OWN = "postgresql.auto.conf"
_PARTIAL = ".partial"


def restore_copy(copy: Path, destination: Path) -> Path:
    """See Source.restore. The data folder of a physical copy, the folder of a logical one's dump."""
    record = read_record(copy)
    with restoring_into(destination):
        shutil.copytree(copy, destination, symlinks=True, dirs_exist_ok=True)
        close_to_others(destination)
        if record.method == "physical":
            _link_absolute(destination)
    return destination / ("data" if record.method == "physical" else "dump")


def roll_forward(
    copy: Path, logs: Path, destination: Path, until: datetime | None, folder: Path | None
) -> Path:
    """See SupportsLogBackups.roll_forward; ``folder`` is where the plan says the programs are."""
    record = read_record(copy)
    if record.method != "physical":
        raise SourceError(
            "a dump cannot be rolled forward: only a physical copy goes on where the log begins",
            hint="Restore without --logs and --until.",
        )
    needed = ("postgres", "pg_controldata")
    programs = programs_for(needed, lambda own: own == record.major, str(record.major), folder)
    data = restore_copy(copy, destination)
    try:
        _replay(programs, record, destination, logs, until)
    except BaseException:
        emptied(destination)
        raise
    return data


def _replay(
    programs: Programs, record: CopyRecord, restored: Path, logs: Path, until: datetime | None
) -> None:
    """Replay the files in ``logs`` over the data folder in ``restored``, to their end or to ``until``.

    Raises SourceError, also where they do not follow the copy or end before that moment: then the folder
    holds a state in between, and must be thrown away.
    """
    data = restored / "data"
    own = (data / _OWN).read_bytes()
    room = private_folder(restored / "replay")
    try:
        _stage(logs, room / "wal")
        with private_server(
            programs,
            data,
            room / "private",
            record.superuser,
            read_only=True,
            recovery=_settings(room, until),
        ):
            pass  # it is ready when it has reached the end
    except ValidationError as error:
        moment = f" up to {until.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if until else ""
        raise SourceError(
            f"cannot replay the log in {logs}{moment}: {error.message}",
            hint="Is there a gap, or does it end before that time? Take a later backup, or another time.",
        ) from error
    finally:
        write_atomic(data / _OWN, own)
        shutil.rmtree(room, ignore_errors=True)
        sync_tree(data)


def _settings(room: Path, until: datetime | None) -> dict[str, str]:
    place = (room / "wal").absolute()
    fetch = f'copy "{place}\\%f" "%p"' if os.name == "nt" else f"cp {shlex.quote(str(place))}/%f %p"
    settings = {"restore_command": fetch, "hot_standby": "off", "recovery_target_action": "promote"}
    if until is not None:
        settings["recovery_target_time"] = f"{until.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00"
    return settings


def _stage(logs: Path, place: Path) -> None:
    """Put the files where the private server, under another account, may read them; the last one whole."""
    private_folder(place)
    try:
        files = [path for path in logs.iterdir() if LOG_FILE.fullmatch(path.name)]
        for path in sorted(files, key=lambda path: path.name.endswith(_PARTIAL)):
            whole = place / path.name.removesuffix(_PARTIAL)
            if not whole.exists():
                shutil.copyfile(path, whole)
    except OSError as error:
        raise SourceError(
            f"cannot read the log in {logs}: {error.strerror}",
            hint="Give the folder that `log_folder` in the plan names, or a copy of it.",
        ) from error
    if not files:
        raise SourceError(
            f"{logs} holds no log of a PostgreSQL server",
            hint="Give the folder that `log_folder` in the plan names, or a copy of it.",
        )
    place.chmod(PRIVATE_FOLDER)


def _link_absolute(restored: Path) -> None:
    """Tablespaces' links as PostgreSQL makes them: its own backups don't follow relative ones."""
    for place in (restored / "tablespaces").glob("*"):
        link = restored / "data" / "pg_tblspc" / place.name
        link.unlink()
        link.symlink_to(place.absolute(), target_is_directory=True)


def live_data(method: str, options: ServerInPlaceOptions | None) -> LiveData:
    """The server's data folder. Raises SourceError where it cannot be replaced in one step."""
    if method != "physical":
        raise SourceError(
            "a dump of one PostgreSQL database cannot take the place of a server's files",
            hint="Restore it with `datasave restore --to FOLDER`, then `createdb` and `pg_restore` into "
            "a new database; RECOVER.md has the commands.",
        )
    live = server_folder(options, lambda data: (data / "pg_wal", *data.glob("pg_tblspc/*")))
    _refuse_closed(live.path)
    return live


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
def open_in_place(
    programs: Programs, record: CopyRecord, copy: Path, data: Path, scratch: Path
) -> Iterator[Any]:
    """A connection to the live data folder under a private server; all is on disk when the block ends."""
    try:
        with private_server(programs, data, scratch / "private", record.superuser, read_only=True) as login:
            here = replace(login, database=record.database)
            with (
                reported_as_damage("cannot open the restored data"),
                here.connected(streaming=True) as connection,
            ):
                connection.cursor().execute(f"SET {METHOD_SETTING} = '{record.method}'")
                yield connection
    finally:
        shutil.copyfile(copy / "data" / _OWN, data / _OWN)
        sync_tree(data)


def _refuse_closed(data: Path) -> None:
    """As root, the private server passes for another account, and only enters what root or all may enter."""
    if not is_root():
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
