"""A private server on scratch data: no network, no clients but us, none of the copy's jobs run.

On Windows, where such servers have no sockets, a named pipe of a random name takes the socket's place; that
way was written by the documentation and has not been tried.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tasks.errors import ProgramError, ValidationError
from tasks.platform.files import private_folder
from tasks.platform.processes import run, serving
from tasks.sources.mariadb.connection import opened
from tasks.sources.mariadb.programs import WINDOWS, Programs, as_account
from tasks.sources.mariadb.record import DATA, CopyRecord

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
                *as_account(),
            ]
            with serving(
                command,
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
    command += [f"--datadir={data}", *(() if WINDOWS and record.mariadb else _folded(record))]
    if run([*command, *as_account()], seconds=READY_SECONDS).code != 0:
        raise ValidationError(
            f"cannot prepare an empty server in {scratch}",
            hint="Check the free space of the staging folder, and that the server is installed completely.",
        )
    private_folder(data)


def fresh_data(scratch: Path) -> None:
    """Remove what an earlier, unfinished attempt left."""
    (scratch / READY).unlink(missing_ok=True)
    shutil.rmtree(scratch / DATA, ignore_errors=True)


def _arguments(scratch: Path, socket: Path | str) -> list[str]:
    room = private_folder(scratch / "tmp")
    transport = ["--skip-networking", *(["--named-pipe"] if WINDOWS else [])]
    return [
        # Not a word of the machine's configuration: it may name production's folders.
        "--no-defaults",
        f"--datadir={scratch / DATA}",
        f"--socket={socket}",
        *transport,
        f"--tmpdir={room}",
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
        with opened(words_for(socket), "information_schema"):
            return True
    except ValidationError:
        return False
