"""A PostgreSQL server of our own over a scratch data folder, that nobody but us can reach.

It never reads the configuration the copy came with: that one archives to production's archive, listens on
production's address and loads what this machine may not have. No TCP, a socket in a private folder, and
nothing switched on that reaches out by itself; on Linux it has no network at all (postgresql_programs.py).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tasks.errors import ProgramError, ValidationError
from tasks.platform.files import private_folder, write_atomic
from tasks.platform.processes import run, serving
from tasks.sources.postgresql.connection import Server
from tasks.sources.postgresql.programs import Programs, unprivileged

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

_START_TROUBLES = (
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


@contextmanager
def private_server(
    programs: Programs,
    data: Path,
    private: Path,
    user: str,
    *,
    read_only: bool,
    recovery: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Run a server over ``data`` for the block; ``user`` is the role to come as, let in without password.

    ``private`` is a folder for its configuration and log. ``recovery`` are settings under which it first
    replays logs. The result has no database yet. Raises
    ValidationError where it does not start.
    """
    private_folder(private)
    with socket_folder(private) as sockets:
        command: list[str | Path] = [
            *unprivileged(),
            programs.path("postgres"),
            "-D",
            data,
            *_configured(programs, data, private, sockets, recovery or {}),
        ]
        log = private / "server.log"
        with _serving_or_told(command, data, log):
            session = {**_SESSION, "default_transaction_read_only": "on" if read_only else "off"}
            yield Server(str(sockets), PORT, user, "postgres", "disable", options=session)


def init_cluster(programs: Programs, data: Path, user: str) -> None:
    """Make an empty cluster in the new folder ``data``. Raises ValidationError."""
    command: list[str | Path] = [
        *unprivileged(),
        programs.path("initdb"),
        *("-D", data, "-U", user, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"),
    ]
    ended = run(command, seconds=600)
    if ended.code != 0:
        raise ValidationError(
            f"cannot make a scratch database: initdb ended with status {ended.code}{_known(ended.err)}",
            hint="Free some space in staging, and see that Datasave runs without an administrator's rights.",
        )


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
            f"{name} = '{value}'\n" for name, value in {**SETTINGS, **_quoted(recovery)}.items()
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


def _quoted(settings: Mapping[str, str]) -> dict[str, str]:
    """Values for a configuration file, where a quote is written twice."""
    return {name: value.replace("'", "''") for name, value in settings.items()}


def _prepared_transactions(programs: Programs, data: Path) -> int:
    """How many prepared transactions the copy's server had room for; recovery needs as much."""
    ended = run([programs.path("pg_controldata"), "-D", data], seconds=60)
    setting = re.search(r"max_prepared_xacts setting:\s*(\d+)", ended.out)
    return int(setting[1]) if setting else 0


@contextmanager
def _serving_or_told(command: list[str | Path], data: Path, log: Path) -> Iterator[None]:
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
    return next((f": {cause}" for pattern, cause in _START_TROUBLES if re.search(pattern, text)), "")


def _tail(log: Path) -> str:
    try:
        return log.read_bytes()[-65536:].decode("utf-8", "replace")
    except OSError:
        return ""
