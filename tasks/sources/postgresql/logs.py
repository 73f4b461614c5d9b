"""The server's log between backups: kept by pg_receivewal, replayed over a restored copy up to a moment.

``datasave log`` adds to a folder what the server has written since the last time; a replication slot makes
the server keep it until then. A restored copy then replays the folder under a private server (no network,
none of the copy's own settings) to its end, or to ``until``; afterwards it is an ordinary, stopped data
folder.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from datetime import UTC, datetime
from pathlib import Path

from tasks.errors import CopyError, SourceError, ValidationError
from tasks.platform.files import PRIVATE_FILE, PRIVATE_FOLDER, private_folder, sync_tree, write_atomic
from tasks.platform.processes import run
from tasks.sources.postgresql.catalog import rows_of
from tasks.sources.postgresql.connection import Server, told_as
from tasks.sources.postgresql.errors import as_error, trouble_in
from tasks.sources.postgresql.programs import Programs
from tasks.sources.postgresql.record import CopyRecord
from tasks.sources.postgresql.server import private_server

SLOT = "datasave_log"
PARTIAL = ".partial"
_SEGMENT = re.compile(r"[0-9A-F]{24}(\.partial)?|[0-9A-F]{8}\.history")
_RECEIVE_SECONDS = 3600.0
_OWN = "postgresql.auto.conf"


def back_up_log(server: Server, programs: Programs, folder: Path) -> Path:
    """Add to ``folder`` all that the server has written until now; the newest file. Raises CopyError."""
    what = f"cannot back up the log of the server {server}"
    private_folder(folder)
    command: list[str | Path] = [programs.path("pg_receivewal"), "-D", folder, "-w", f"--slot={SLOT}"]
    _run(server, [*command, "--create-slot", "--if-not-exists"], what)
    with told_as(what, copying=True), server.connected() as connection:
        # One byte less: the end itself is only passed when the server writes on.
        end = rows_of(connection, "SELECT pg_current_wal_flush_lsn() - 1::numeric")[0][0]
    _run(server, [*command, "--no-loop", f"--endpos={end}"], what)
    files = sorted(path for path in folder.iterdir() if _SEGMENT.fullmatch(path.name))
    for path in files:
        path.chmod(PRIVATE_FILE)
    if not files:
        raise CopyError(f"{what}: nothing came", hint="Look into the server's log.")
    return files[-1]


def replay(
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
        files = [path for path in logs.iterdir() if _SEGMENT.fullmatch(path.name)]
        for path in sorted(files, key=lambda path: path.name.endswith(PARTIAL)):
            whole = place / path.name.removesuffix(PARTIAL)
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


def _run(server: Server, command: list[str | Path], what: str) -> None:
    ended = run(command, environment=server.environment, seconds=_RECEIVE_SECONDS)
    if ended.code != 0:
        trouble = trouble_in(ended.err, f"pg_receivewal ended with status {ended.code}")
        raise as_error(what, trouble, copying=True)
