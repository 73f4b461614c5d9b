"""A copy brought to life under a PostgreSQL server of our own, that nobody but us can reach.

::

    scratch/cluster/data     the engine's files: a clone of a physical copy, a restore of a logical one
    scratch/private/         its configuration, its log, its socket
    scratch/ready            says that all of it is there; written last

The server never reads the configuration the copy came with: that one archives to production's archive,
listens on production's address and loads what this machine may not have. No TCP, a socket in a private
folder, and nothing switched on that reaches out by itself. On Linux it runs in a sandbox
(platform/sandbox.py) that shows it these folders and PostgreSQL's programs alone: what the copy makes it run
goes no further.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.errors import ProgramError, ValidationError
from tasks.platform.files import private_folder, write_atomic
from tasks.platform.processes import run, serving
from tasks.platform.sandbox import sandboxed
from tasks.records import Finding
from tasks.sources.postgresql.catalog import METHOD_SETTING, OWN_ROLE_SETTING, literal
from tasks.sources.postgresql.connection import PostgresqlLogin, driver
from tasks.sources.postgresql.dump import own_role, reported_as_damage, restore_dump
from tasks.sources.postgresql.programs import Programs, programs_for, unprivileged
from tasks.sources.postgresql.record import CopyRecord
from tasks.sources.shared.folders import cause_of, close_to_others

PORT = 5432
# A socket's path may have 107 bytes; `/.s.PGSQL.5432.lock` takes 19 of them.
LONGEST_SOCKET_FOLDER = 85
START_SECONDS = 6 * 3600.0
"""Recovery replays all that was written while the copy was made."""

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "20",
    "max_locks_per_transaction": "1024",
    "archive_mode": "off",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "shared_preload_libraries": "",
    # Keeps triggers, event triggers among them, from doing what they do in production.
    "session_replication_role": "replica",
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "jit": "off",
    "lc_messages": "C",
    "log_timezone": "UTC",
    "logging_collector": "off",
    # Statements can hold rows.
    "log_min_error_statement": "panic",
}

# Over what the copy says for its roles and databases, which a connection's own options go before.
_SESSION = {
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}

_START_FAULTS = (
    (r"database files are incompatible|was initialized with", "the programs are of another version"),
    (
        r"locale .* not recognized|incompatible with operating system",
        "a locale is missing here",
    ),
    (r"could not locate (?:a valid|required) checkpoint record|invalid checkpoint", "its log is damaged"),
    (r"No space left on device", "the disk is full"),
    (
        r"invalid (?:primary )?checkpoint|incorrect checksum in control file|pg_control",
        "pg_control is damaged",
    ),
    (r"WAL ends before (?:end|consistent)|requested timeline", "its log does not reach the end of the copy"),
    (r"could not open file|could not access file|No such file", "files are missing"),
    (r"invalid page|could not read (?:block|file)", "pages are damaged"),
    (
        r"administrative permissions|root. execution",
        "PostgreSQL refuses an administrator's rights",
    ),
)


FIRST_SUPERUSER = "postgres"


@contextmanager
def private_server(
    programs: Programs,
    data: Path,
    private: Path,
    user: str,
    *,
    read_only: bool,
    recovery: Mapping[str, str] | None = None,
) -> Iterator[PostgresqlLogin]:
    """Run a server over ``data`` for the block; ``user`` is the role to come as, let in without password.

    ``private`` is a folder for its configuration and log. ``recovery`` are settings under which it first
    replays logs. The result has no database yet. Raises
    ValidationError where it does not start.
    """
    private_folder(private)
    with socket_folder(private) as sockets:
        server: list[str | Path] = [
            *(programs.path("postgres"), "-D", data.absolute()),
            *_configured(programs, data, private, sockets, recovery or {}),
        ]
        command = _closed_in(programs, server, data.parent, private, sockets)
        log = private / "server.log"
        with _serving(command, data, log):
            session = {**_SESSION, "default_transaction_read_only": "on" if read_only else "off"}
            yield PostgresqlLogin(str(sockets), PORT, user, "postgres", "disable", options=session)


def init_cluster(programs: Programs, data: Path, user: str) -> None:
    """Make an empty cluster in the new folder ``data``. Raises ValidationError."""
    private_folder(data)
    command: list[str | Path] = [
        programs.path("initdb"),
        *("-D", data.absolute(), "-U", user, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"),
    ]
    ended = run(_closed_in(programs, command, data), seconds=600)
    if ended.code != 0:
        raise ValidationError(
            f"cannot make a scratch database: initdb ended with status {ended.code}{_known(ended.err)}",
            hint="Free some space in staging, and see that Datasave runs without an administrator's rights.",
        )


def _closed_in(programs: Programs, command: Sequence[str | Path], *writable: Path) -> list[str | Path]:
    """The command in a sandbox that may write to these folders; without one, at least not as root."""
    installed = programs.folder.resolve()
    folders = [programs.folder.absolute(), installed, installed.parent]
    readable = [path for path in folders if path != path.parent]
    closed = sandboxed(command, writable=[path.absolute() for path in writable], readable=readable)
    return closed if closed is not None else [*unprivileged(), *command]


@contextmanager
def socket_folder(private: Path) -> Iterator[Path]:
    """A private folder with a path short enough for a socket: ``private``'s own, else one elsewhere."""
    folder = private / "s"
    if len(str(folder.absolute()).encode()) <= LONGEST_SOCKET_FOLDER:
        yield private_folder(folder.absolute())
        return
    with tempfile.TemporaryDirectory(prefix="datasave-", dir=_short_temporary()) as short:
        yield Path(short)


def _short_temporary() -> str | None:
    longest = LONGEST_SOCKET_FOLDER - len("/datasave-12345678")
    return None if len(tempfile.gettempdir().encode()) <= longest else "/tmp"  # noqa: S108 - mkdtemp makes it private


def _configured(
    programs: Programs, data: Path, private: Path, sockets: Path, recovery: Mapping[str, str]
) -> list[str]:
    """Write the configuration; the arguments that make the server use it, and nothing of the copy's."""
    files = {
        "config_file": "".join(
            f"{name} = '{value}'\n" for name, value in {**SETTINGS, **_escaped(recovery)}.items()
        )
        + f"max_prepared_transactions = {_prepared_transactions(programs, data)}\n",
        "hba_file": "local all all trust\n",
        "ident_file": "",
    }
    arguments: list[str] = []
    for name, text in files.items():
        path = private.absolute() / name
        write_atomic(path, text.encode())
        arguments += ["-c", f"{name}={path}"]
    # Read after any other configuration, wherever that lies.
    write_atomic(data / "postgresql.auto.conf", b"")
    for signal in ("standby.signal", "recovery.signal", "postmaster.pid"):
        (data / signal).unlink(missing_ok=True)
    if recovery:
        write_atomic(data / "recovery.signal", b"")
    return [*arguments, "-c", f"unix_socket_directories={sockets}", "-p", str(PORT)]


def _escaped(settings: Mapping[str, str]) -> dict[str, str]:
    """Values for a configuration file, where a quote is written twice."""
    return {name: value.replace("'", "''") for name, value in settings.items()}


def _prepared_transactions(programs: Programs, data: Path) -> int:
    """How many prepared transactions the copy's server had room for; recovery needs as much."""
    ended = run([programs.path("pg_controldata"), "-D", data], seconds=60)
    setting = re.search(r"max_prepared_xacts setting:\s*(\d+)", ended.out)
    return int(setting[1]) if setting else 0


@contextmanager
def _serving(command: list[str | Path], data: Path, log: Path) -> Iterator[None]:
    started = False

    def ready() -> bool:
        nonlocal started
        started = _is_ready(data)
        return started

    try:
        # SIGINT ends sessions and stops in order; SIGTERM would wait for them.
        with serving(command, ready=ready, log=log, seconds=START_SECONDS, stop="SIGINT"):
            yield
    except ProgramError as error:
        if started:
            raise
        raise ValidationError(
            f"cannot open the copy: PostgreSQL did not start over it{_known(_tail(log))}",
            hint="The copy may be damaged: restore it again from the archive, or take an older backup.",
        ) from error


def _is_ready(data: Path) -> bool:
    """Whether the server takes connections: the eighth line of its pid file says so, as pg_ctl reads it."""
    try:
        lines = (data / "postmaster.pid").read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return len(lines) > 7 and lines[7].strip() == "ready"


def _known(text: str) -> str:
    """``: cause`` where the text says one we know, empty otherwise."""
    return next((f": {cause}" for pattern, cause in _START_FAULTS if re.search(pattern, text)), "")


def _tail(log: Path) -> str:
    try:
        return log.read_bytes()[-65536:].decode("utf-8", "replace")
    except OSError:
        return ""


class ScratchCluster:
    """The engine over one copy, in a scratch folder that only this copy uses.

    Making one raises SourceError where this machine lacks what is needed for it.
    """

    def __init__(self, copy: Path, record: CopyRecord, scratch: Path, folder: Path | None) -> None:
        self._copy = copy
        self.record = record
        self._scratch = scratch
        self._ready = scratch / "ready"
        self.notes: list[str] = []
        self.unmade: list[Finding] = []
        # All that this machine must have, asked for before anything is made.
        self.programs = _programs(record, folder)
        unprivileged()
        driver()

    @property
    def _physical(self) -> bool:
        return self.record.method == "physical"

    def prepare(self) -> None:
        """Make the engine's files, unless they are there. Raises ValidationError.

        ``notes`` and ``unmade`` say what was done otherwise, and what of a dump could not be made.
        """
        if self._ready.exists():
            return
        place = self._scratch / "cluster"
        try:
            if place.exists():
                shutil.rmtree(place)
            private_folder(place)
            if self._physical:
                _clone(self._copy, place)
            else:
                first = self.record.first_superuser or FIRST_SUPERUSER
                init_cluster(self.programs, place / "data", first)
                with self._served(first, read_only=False) as login:
                    self.unmade, self.notes = restore_dump(
                        login, self.programs, self.record, self._copy, place
                    )
            write_atomic(self._ready, b"")
        except OSError as error:
            raise ValidationError(
                f"cannot make a second copy in {self._scratch}: {cause_of(error)}",
                hint="Free some space there, then run it again.",
            ) from error

    @contextmanager
    def serving(self, *, read_only: bool) -> Iterator[PostgresqlLogin]:
        """The engine, running for the block; its superuser may do all."""
        user = self.record.superuser if self._physical else own_role(self.record)
        with self._served(user, read_only=read_only) as login:
            # A cluster may have lost its database `postgres`.
            yield replace(login, database=self.record.database)

    def _served(self, user: str, *, read_only: bool) -> AbstractContextManager[PostgresqlLogin]:
        data, private = self._scratch / "cluster" / "data", self._scratch / "private"
        return private_server(self.programs, data, private, user, read_only=read_only)

    @contextmanager
    def connected(self, login: PostgresqlLogin) -> Iterator[Any]:
        """A connection to what was copied. Raises ValidationError where it can't be had."""
        with ExitStack() as stack:
            with reported_as_damage("cannot open the copy"):
                connection = stack.enter_context(login.connected(streaming=True))
                connection.cursor().execute(f"SET {METHOD_SETTING} = '{self.record.method}'")
                if not self._physical:
                    own = literal(own_role(self.record))
                    connection.cursor().execute(f"SET {OWN_ROLE_SETTING} = {own}")
            yield connection


def _programs(record: CopyRecord, folder: Path | None) -> Programs:
    if record.method == "physical":
        needed = ("postgres", "pg_verifybackup", "pg_controldata", "pg_dump")
        return programs_for(needed, lambda major: major == record.major, str(record.major), folder)
    needed = ("postgres", "initdb", "pg_restore", "pg_controldata")
    return programs_for(needed, lambda major: major >= record.major, f"{record.major} or later", folder)


def _clone(copy: Path, place: Path) -> Path:
    """A second copy of the data folder and its tablespaces in ``place``; its data folder."""
    for name in ("data", "tablespaces"):
        if (copy / name).is_dir():
            shutil.copytree(copy / name, place / name, symlinks=True)
    close_to_others(place)
    return place / "data"
