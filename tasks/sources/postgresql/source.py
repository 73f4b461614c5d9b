"""PostgreSQL behind the seam: a whole server by pg_basebackup, or one database by pg_dump.

``physical`` is exact and quick, needs programs of the server's own version and brings back all databases.
``logical`` is one database, restorable into this and every later version, on any machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from tasks.errors import SourceError, ValidationError
from tasks.options import Options, Place, is_this_machine, problem
from tasks.platform.secrets import SecretReference, secret_of
from tasks.records import Engine, Finding, LiveCopy, Progress, Table, no_progress
from tasks.sources.base import Connection, Source
from tasks.sources.capabilities import (
    SupportsDumps,
    SupportsEarlierProfiles,
    SupportsGrants,
    SupportsInPlace,
    SupportsLogBackups,
)
from tasks.sources.postgresql.catalog import user_tables
from tasks.sources.postgresql.check import grants_for, look, try_replication
from tasks.sources.postgresql.connection import PostgresqlLogin, local_host, pass_file
from tasks.sources.postgresql.copy import back_up_log, take_logical, take_physical
from tasks.sources.postgresql.earlier import earlier_tables
from tasks.sources.postgresql.programs import Programs, programs_for, unprivileged
from tasks.sources.postgresql.record import AFTER_RESTORE, Method, read_record
from tasks.sources.postgresql.restore import (
    in_use,
    is_ready,
    live_data,
    open_in_place,
    refuse_tablespaces,
    restore_copy,
    roll_forward,
)
from tasks.sources.postgresql.scratch import ScratchCluster
from tasks.sources.postgresql.validate import check_copy
from tasks.sources.shared.folders import copied_files
from tasks.sources.shared.live_data import InPlaceOptions, LiveData, ServerInPlaceOptions, place_of


def _plain(name: str) -> str:
    """Refuse what cannot be quoted in the ODBC driver's connection string."""
    if any(letter in ";{}" or ord(letter) < 32 for letter in name):
        raise problem("holds a character that cannot stand in a connection string")
    return name


Plain = Annotated[str, AfterValidator(_plain)]


class PostgresqlOptions(Options):
    """What the plan says about a PostgreSQL source."""

    kind: Literal["postgresql"] = "postgresql"
    method: Method = Field(
        "physical",
        description="how to copy: `physical` takes the whole server with all its databases, as it is; "
        "`logical` takes one database, which any later version can restore",
    )
    database: Plain = Field(
        min_length=1,
        description="the database: the one that is dumped, or of a physical copy the one whose tables are "
        "counted and compared",
        examples=["clinic"],
    )
    host: Plain = Field(
        "",
        description="the server's name or address, or its socket's folder; empty means this machine's own",
        examples=["db.office.lan"],
    )
    port: int = Field(5432, ge=1, le=65535, description="the server's port")
    user: Plain = Field(
        "datasave",
        min_length=1,
        description="the account that makes the backup; `datasave doctor --grants` shows how to make one "
        "that may do no more",
    )
    password: SecretReference | None = Field(
        None,
        description="where its password is; nothing where the server knows the system's account (`peer`)",
        examples=["file:/etc/datasave/postgresql.password"],
    )
    sslmode: Literal["auto", "disable", "prefer", "require", "verify-ca", "verify-full"] = Field(
        "auto",
        description="how the connection is encrypted, in libpq's words; `auto` requires it to other machines",
    )
    root_certificate: Path | None = Field(
        None,
        description="the certificate that the server's own is checked against, for `sslmode: verify-full`",
        examples=["/etc/ssl/certs/office-ca.pem"],
    )
    programs: Path | None = Field(
        None,
        description="the folder with pg_basebackup, pg_dump and postgres, where it is not a usual one",
        examples=["/usr/lib/postgresql/16/bin"],
    )
    log_folder: Path | None = Field(
        None,
        description="a folder on another disk that collects the server's log between backups "
        "(`schedule.log`, `method: physical`), in the clear. A replication slot makes the server keep its "
        "log from one time to the next: if that stops, its disk fills. Left out: no logs",
        examples=["/mnt/second/datasave-log"],
    )
    in_place: ServerInPlaceOptions | None = Field(
        None,
        description="how a backup is restored in place of the server's data (`method: physical` only)",
        examples=[
            {
                "data": "/var/lib/postgresql/16/main",
                "stop": ["systemctl", "stop", "postgresql@16-main"],
                "start": ["systemctl", "start", "postgresql@16-main"],
            }
        ],
    )

    @property
    def place(self) -> Place | None:
        """The folder with the live data, where the plan names it."""
        return place_of(self.in_place.data if self.in_place else None)

    @property
    def is_elsewhere(self) -> bool:
        """Whether the server is reached by a network; a socket's folder is an absolute path."""
        return bool(self.host) and not (os.path.isabs(self.host) or is_this_machine(self.host))  # noqa: PTH117

    @property
    def in_the_clear(self) -> str:
        """See Options.in_the_clear: `prefer` goes on without encryption where somebody says there is none."""
        return "sslmode" if self.is_elsewhere and self.sslmode in ("disable", "prefer") else ""


class PostgresqlSource(
    Source, SupportsDumps, SupportsEarlierProfiles, SupportsGrants, SupportsInPlace, SupportsLogBackups
):
    """A PostgreSQL server of version 13 or later."""

    kind = "postgresql"
    closed_in = True
    after_restore = AFTER_RESTORE

    def __init__(self, options: PostgresqlOptions) -> None:
        self._options = options

    def check(self) -> Engine:
        """See Source.check. ``bytes`` is the size of all databases, or of the one that is dumped."""
        with self._server() as login:
            return self._ready(login)[0]

    def copy_live(self, destination: Path, progress: Progress = no_progress) -> LiveCopy:
        """See Source.copy_live. Raises SourceMissing or SourceError where there is nothing to copy."""
        started = datetime.now(UTC)
        with self._server() as login:
            engine, programs = self._ready(login)
            physical = self._options.method == "physical"
            take = take_physical if physical else take_logical
            take(login, programs, destination, engine.bytes, progress)
        files = copied_files(destination)
        size = sum(file.bytes for file in files)
        progress(size, size)
        return LiveCopy(
            folder=destination, engine=engine, files=files, started=started, finished=datetime.now(UTC)
        )

    def validate(self, copy: Path, scratch: Path) -> list[Finding]:
        """See Source.validate. Leaves a stopped engine over a clone, or over a restored dump."""
        return check_copy(copy, scratch, self._programs_folder)

    @contextmanager
    def open(self, copy: Path, scratch: Path) -> Iterator[Connection]:
        """See Source.open. The engine runs as long as the block does; nothing can be written."""
        try:
            cluster = ScratchCluster(copy, read_record(copy), scratch, self._programs_folder)
        except SourceError as error:
            raise ValidationError(f"cannot open the copy: {error.message}", hint=error.hint) from error
        cluster.prepare()
        with cluster.serving(read_only=True) as login, cluster.connected(login) as connection:
            yield connection

    def tables(self, connection: Connection) -> list[Table]:
        """See Source.tables, and user_tables for what counts as one."""
        return user_tables(connection)

    def is_dump(self, copy: Path) -> bool:
        """See SupportsDumps: a logical copy is one."""
        return read_record(copy).method == "logical"

    def earlier_tables(self, connection: Connection) -> list[Table]:
        """See SupportsEarlierProfiles."""
        return earlier_tables(connection)

    def restore(self, copy: Path, destination: Path) -> Path:
        """See Source.restore. The data folder of a physical copy, the folder of a logical one's dump."""
        return restore_copy(copy, destination)

    def back_up_log(self) -> Path:
        """See SupportsLogBackups: by pg_receivewal, which ends when it has all there is."""
        options = self._options
        if options.log_folder is None or options.method != "physical":
            raise SourceError(
                "the plan does not say where log backups go",
                hint="Set `log_folder` under `source`, with `method: physical`.",
            )
        with self._server() as login:
            programs = self._ready(login)[1]
            return back_up_log(login, programs, options.log_folder)

    def roll_forward(self, copy: Path, logs: Path, destination: Path, until: datetime | None = None) -> Path:
        """See SupportsLogBackups."""
        return roll_forward(copy, logs, destination, until, self._programs_folder)

    def live_data(self) -> LiveData:
        """See SupportsInPlace: the server's data folder, for physical copies."""
        return live_data(self._options.method, self._options.in_place)

    def in_place_options(self) -> InPlaceOptions:
        """See SupportsInPlace."""
        return self._options.in_place or InPlaceOptions()

    def in_use(self, live: LiveData) -> str:
        """See SupportsInPlace."""
        return in_use(live)

    def build(self, copy: Path, destination: Path) -> Path:
        """See SupportsInPlace. Raises SourceError too where tablespaces lie elsewhere."""
        refuse_tablespaces(copy)
        return self.restore(copy, destination)

    def open_live(self, copy: Path, live: LiveData, scratch: Path) -> AbstractContextManager[Connection]:
        """See SupportsInPlace: a private server over the folder, which replays what the copy's log holds."""
        record = read_record(copy)
        programs = ScratchCluster(copy, record, scratch, self._programs_folder).programs
        return open_in_place(programs, record, copy, live.path, scratch)

    def answers(self) -> bool:
        """See SupportsInPlace: as pg_isready sees it, which needs no account."""
        options = self._options
        host = options.host or local_host(options.port)
        return is_ready(self._any_programs(), host, options.port)

    def _any_programs(self) -> Programs:
        return programs_for(("pg_isready",), lambda _: True, "any version", self._programs_folder)

    def grants(self) -> str:
        """See SupportsGrants."""
        options = self._options
        return grants_for(options.method, options.user, options.database)

    @property
    def _programs_folder(self) -> Path | None:
        # Read late: an adapter made for copies alone has no option.
        return getattr(self._options, "programs", None)

    @contextmanager
    def _server(self) -> Iterator[PostgresqlLogin]:
        """The plan's server, with a password file that lasts for the block."""
        options = self._options
        host = options.host or local_host(options.port)
        sslmode = (
            ("require" if options.is_elsewhere else "prefer")
            if options.sslmode == "auto"
            else options.sslmode
        )
        login = PostgresqlLogin(
            host, options.port, options.user, options.database, sslmode, options.root_certificate
        )
        password = secret_of(options.password) if options.password else None
        with pass_file(password) as path:
            yield replace(login, pass_file=path)

    def _ready(self, login: PostgresqlLogin) -> tuple[Engine, Programs]:
        """What answers, and programs that fit it. Raises SourceError where a copy could not be made now."""
        unprivileged()
        engine, major = look(login, self._options.method)
        if self._options.method == "physical":
            needed = ("pg_basebackup", "psql", "pg_verifybackup", "postgres", "pg_controldata")
            programs = programs_for(needed, lambda own: own == major, str(major), self._programs_folder)
            try_replication(login, programs)
        else:
            needed = ("pg_dump", "pg_dumpall", "pg_restore", "initdb", "postgres")
            programs = programs_for(
                needed, lambda own: own >= major, f"{major} or later", self._programs_folder
            )
        return engine, programs
