"""A private server over a copy, in scratch: no network, no client but us, none of the copy's own jobs.

A clone that was not prepared starts and looks right, but misses what was committed during the copy: only the
word ``log-applied`` in ``xtrabackup_checkpoints`` tells that it was.

On Linux the server, what prepares a clone and the client that loads a dump run in a sandbox
(platform/sandbox.py): a dump's text may hold commands for the client (``\\!``), and a copy's tables code.

On Windows, where such servers have no sockets, a named pipe of a random name takes the socket's place; that
way was written by the documentation and has not been tried.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.errors import ProgramError, ValidationError
from tasks.platform.files import PRIVATE_FILE, private_folder
from tasks.platform.processes import run, serving
from tasks.platform.sandbox import sandboxed
from tasks.sources.mariadb.catalog import WHOLE_SERVER
from tasks.sources.mariadb.connection import private_connection
from tasks.sources.mariadb.copy import outside
from tasks.sources.mariadb.programs import WINDOWS, Programs, as_account
from tasks.sources.mariadb.record import DATA, CopyRecord
from tasks.sources.shared.folders import close_to_others
from tasks.sources.shared.odbc import fetch

# Of the copy's own settings only those that its files need; another might lead out of the folder.
_NEEDED = (
    "innodb_page_size",
    "innodb_data_file_path",
    "innodb_undo_tablespaces",
    "innodb_checksum_algorithm",
)
SCRATCH_SETTINGS = ("--event-scheduler=OFF",)


LONGEST_SOCKET = 100
"""A socket's path may have 107 bytes on Linux, 103 on some other systems."""
READY_SECONDS = 600.0
_NO_SYNC = "--loose-debug-no-sync"  # what a power cut takes from a scratch folder can be made again
READY = "ready"
"""Written into the scratch folder when its data folder may be started."""


@contextmanager
def private_server(
    programs: Programs, record: CopyRecord, scratch: Path, settings: Sequence[str]
) -> Iterator[Path | str]:
    """Run a server on ``scratch``/data for the block; gives the socket (the pipe's name on Windows).

    The server's log stays in ``scratch``: it may quote rows. Raises ValidationError where it does not start.
    """
    try:
        server = programs.matching("mariadbd", "mysqld")
        with _socket(scratch) as socket:
            command: list[str | Path] = [
                server,
                *_arguments(scratch, socket),
                *_folded(record),
                *settings,
            ]
            # A data folder opened in place is a link in scratch: there its own path is needed as well.
            writable = [scratch, (scratch / DATA).resolve(), *_folder_of(socket)]
            with serving(
                closed_in(programs, command, writable, alone=as_account()),
                ready=lambda: _answers(socket),
                log=scratch / "server.log",
                seconds=READY_SECONDS,
            ):
                yield socket
    except ProgramError as error:
        raise ValidationError(f"cannot open the copy: {error.message}", hint=error.hint) from error


def words_for(socket: Path | str) -> str:
    """The part of an ODBC connection string that leads to a private server."""
    return f"Socket={socket};" if isinstance(socket, Path) else f"NamedPipe=1;Socket={socket};"


def install(programs: Programs, record: CopyRecord, scratch: Path) -> None:
    """Make an empty data folder for a private server. Raises ProgramError or ValidationError."""
    data = scratch / DATA
    command: list[str | Path]
    if not record.mariadb:
        private_folder(data)
        command = [programs.matching("mysqld"), "--no-defaults", "--initialize-insecure"]
    elif WINDOWS:
        command = [programs.find("mariadb-install-db")]
    else:
        # Nobody but us reaches its socket: root needs no password there.
        command = [programs.find("mariadb-install-db", "mysql_install_db"), "--no-defaults"]
        command += ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-log-bin", _NO_SYNC]
        command += ["--force"]  # also where no name, not even localhost, can be looked up
    command += [f"--datadir={data.absolute()}"]
    if not (WINDOWS and record.mariadb):
        command += [*_folded(record), _tmpdir(scratch)]
    closed = closed_in(programs, command, [scratch], alone=as_account())
    if run(closed, seconds=READY_SECONDS).code != 0:
        raise ValidationError(
            f"cannot prepare an empty server in {scratch}",
            hint="Check the free space of the staging folder, and that the server is installed completely.",
        )
    private_folder(data)


def closed_in(
    programs: Programs,
    command: Sequence[str | Path],
    writable: Sequence[Path],
    *,
    reads: Path | None = None,
    alone: Sequence[str] = (),
) -> list[str | Path]:
    """The command in a sandbox that may write to these folders; where there is none with the words ``alone``.

    In the sandbox it runs in the folder ``reads``, and may read there.
    """
    folder = reads.absolute() if reads else None
    readable = [path.absolute() for path in programs.folders] + ([folder] if folder else [])
    places = [path.absolute() for path in writable]
    closed = sandboxed(command, writable=places, readable=readable, folder=folder)
    return closed if closed is not None else [*command, *alone]


def _folder_of(socket: Path | str) -> list[Path]:
    return [socket.parent] if isinstance(socket, Path) else []


def fresh_data(scratch: Path) -> None:
    """Remove what an earlier, unfinished attempt left."""
    (scratch / READY).unlink(missing_ok=True)
    shutil.rmtree(scratch / DATA, ignore_errors=True)


def _tmpdir(scratch: Path) -> str:
    """The option for a room of its own for temporary tables.

    A server that starts, be it to make an empty data folder, removes all ``#sql…`` files of its tmpdir: the
    temporary tables of the office's own server lie in the usual one.
    """
    return f"--tmpdir={private_folder(scratch.absolute() / 'tmp')}"


def _arguments(scratch: Path, socket: Path | str) -> list[str]:
    room = private_folder(scratch.absolute() / "tmp")
    transport = ["--skip-networking", *(["--named-pipe"] if WINDOWS else [])]
    return [
        # Not a word of the machine's configuration: it may name production's folders.
        "--no-defaults",
        f"--datadir={scratch.absolute() / DATA}",
        f"--socket={socket}",
        *transport,
        _tmpdir(scratch),
        f"--pid-file={room / 'server.pid'}",
        f"--secure-file-priv={room}",
        "--skip-log-bin",
        "--skip-slave-start",
        "--skip-symbolic-links",
        "--local-infile=0",
        "--max-allowed-packet=1G",
        _NO_SYNC,
        "--innodb-buffer-pool-dump-at-shutdown=OFF",
    ]


def _folded(record: CopyRecord) -> list[str]:
    return [f"--lower-case-table-names={record.names_folded}"]


@contextmanager
def _socket(scratch: Path) -> Iterator[Path | str]:
    """A place for the socket, in a private folder; elsewhere where the path of scratch is too long."""
    if WINDOWS:
        yield f"datasave-{secrets.token_hex(16)}"
        return
    near = scratch / "s"
    if len(os.fsencode(near.absolute())) <= LONGEST_SOCKET:
        near.unlink(missing_ok=True)
        yield near.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="datasave-mariadb-") as folder:
        yield Path(folder) / "s"


def _answers(socket: Path | str) -> bool:
    if isinstance(socket, Path) and not socket.exists():
        return False
    try:
        with private_connection(words_for(socket), "information_schema"):
            return True
    except ValidationError:
        return False


def prepare_clone(programs: Programs, copy: Path, scratch: Path) -> None:
    """Clone the copy's data folder into ``scratch`` and prepare it. Raises ValidationError."""
    fresh_data(scratch)
    clone(copy / DATA, scratch / DATA)
    prepare(programs, scratch / DATA)
    (scratch / READY).touch(PRIVATE_FILE)


def clone(source: Path, target: Path) -> None:
    """Copy a data folder, private to its owner. Raises ValidationError."""
    if source.is_dir() and outside(source):
        raise ValidationError(
            f"cannot clone the copy: {outside(source)[0]} lies outside its folder",
            hint="Do not use this copy.",
        )
    try:
        shutil.copytree(source, target, dirs_exist_ok=True)
        close_to_others(target)
    except (OSError, shutil.Error) as error:
        cause = getattr(error, "strerror", None) or "not all files could be copied"
        raise ValidationError(
            f"cannot clone the copy into {target}: {cause}",
            hint="Check the free space of that folder, and that the copy is whole.",
        ) from error


def prepare(programs: Programs, data: Path) -> None:
    """Apply the copied log to the copied files, in place. Raises ValidationError, ProgramError."""
    program = programs.matching("mariadb-backup", "mariabackup")
    _settings_of(data)
    data = data.absolute()
    with tempfile.TemporaryDirectory(prefix="datasave-mariadb-") as room:
        # The defaults are named outright, so that the machine's own configuration is never read.
        command: list[str | Path] = [program, f"--defaults-file={data / 'backup-my.cnf'}", "--prepare"]
        command += [f"--target-dir={data}", f"--tmpdir={room}"]
        ended = run(closed_in(programs, command, [data, Path(room)]))
    if ended.code != 0 or "completed OK!" not in ended.err:
        raise ValidationError(
            f"cannot prepare the copy: mariadb-backup ended with status {ended.code}",
            hint="The copy is damaged, or the disk is full: take an older backup if there is room.",
        )
    _require_prepared(data)


def _require_prepared(data: Path) -> None:
    """Raises ValidationError where the log was not applied to this data folder."""
    try:
        state = (data / "xtrabackup_checkpoints").read_text("utf-8", "replace")
    except OSError:
        state = ""
    if not re.search(r"^backup_type = log-applied$", state, re.MULTILINE):
        raise ValidationError(
            "cannot open the copy: its log was not applied",
            hint="Prepare a fresh clone of the copy (mariadb-backup --prepare); never start one without it.",
        )


def _settings_of(data: Path) -> list[str]:
    """The arguments a server needs for the data folder of a copy. Raises ValidationError."""
    try:
        lines = (data / "backup-my.cnf").read_text("utf-8", "replace").splitlines()
    except OSError as error:
        raise ValidationError(
            f"cannot open the copy: backup-my.cnf cannot be read ({error.strerror})",
            hint="The copy is not whole: restore it again, or take an older backup.",
        ) from error
    pairs = [line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")]
    held = {name.strip(): value.strip() for name, value in pairs}
    if re.search(r"[/\\]", held.get("innodb_data_file_path", "")):
        raise ValidationError(
            "cannot open the copy: its settings lead out of its folder", hint="Do not use this copy."
        )
    return ["--skip-grant-tables", *(f"--{name}={held[name]}" for name in _NEEDED if name in held)]


@contextmanager
def served(programs: Programs, record: CopyRecord, scratch: Path) -> Iterator[Any]:
    """A connection to a private server over the data folder in ``scratch``. Raises ValidationError."""
    settings: Sequence[str] = SCRATCH_SETTINGS
    if record.method == "physical":
        _require_prepared(scratch / DATA)
        settings = _settings_of(scratch / DATA)
    with (
        private_server(programs, record, scratch, settings) as socket,
        private_connection(words_for(socket), record.database) as connection,
    ):
        if record.method == "physical":
            fetch(connection, f"SET {WHOLE_SERVER} = 1")
        yield connection
