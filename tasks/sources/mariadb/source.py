"""MariaDB behind the seam, in two ways; MySQL by dump alone.

``physical`` copies the files of the whole server with mariadb-backup: fast, every database, accounts and all;
it must run on the server's own machine, and the copy needs the same release to be opened. ``dump`` writes one
database as SQL text, from anywhere, for any later release. Either is proved on a private server in scratch.

A physical copy holds up commits while it copies tables of engines other than InnoDB.
"""

from __future__ import annotations

import getpass
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from tasks.errors import CopyError, ProgramError
from tasks.options import Options, Place, problem
from tasks.platform.secrets import SecretReference, secret_of
from tasks.records import CopiedFile, Engine, Finding, LiveCopy, Progress, Table, no_progress
from tasks.sources.base import Connection, Source
from tasks.sources.capabilities import (
    SupportsDumps,
    SupportsEarlierProfiles,
    SupportsGrants,
    SupportsInPlace,
)
from tasks.sources.mariadb.catalog import earlier_tables, tables_of
from tasks.sources.mariadb.check import LOOPBACK, grants_for, is_here, ready_to_copy
from tasks.sources.mariadb.connection import MariadbLogin, ServerFacts
from tasks.sources.mariadb.copy import Dump, take_physical
from tasks.sources.mariadb.load import open_copy
from tasks.sources.mariadb.programs import Programs
from tasks.sources.mariadb.record import AFTER_RESTORE, DATA, DUMP, CopyRecord, read_record, write_record
from tasks.sources.mariadb.restore import answers, live_data, open_in_place, restore_copy
from tasks.sources.mariadb.validate import check_copy
from tasks.sources.shared.folders import copied_files, emptied
from tasks.sources.shared.live_data import InPlaceOptions, LiveData, ServerInPlaceOptions, place_of

_OWN_SCHEMAS = frozenset({"mysql", "information_schema", "performance_schema", "sys"})


class MariadbOptions(Options):
    """What the plan says about a MariaDB or MySQL source."""

    kind: Literal["mariadb"] = "mariadb"
    database: str = Field(
        min_length=1,
        max_length=64,
        description="the database; its tables are counted and compared",
        examples=["clinic"],
    )
    method: Literal["physical", "dump"] = Field(
        "physical",
        description="`physical` copies the whole server's files with mariadb-backup, on the server's own "
        "machine; `dump` writes this one database as SQL text, also from another machine. For MySQL set "
        "`dump`",
    )
    socket: Path | None = Field(
        None,
        description="the server's socket file; without it and `host`, the usual one of this machine",
        examples=["/run/mysqld/mysqld.sock"],
    )
    host: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_.:-]+$",
        description="the server's name or address, where it is reached over the network",
        examples=["127.0.0.1"],
    )
    port: int = Field(3306, ge=1, le=65535, description="the server's port, where `host` is set")
    user: str | None = Field(
        None,
        max_length=80,
        description="the database account of backups; without it, the name of the account that runs Datasave",
        examples=["datasave"],
    )
    password: SecretReference | None = Field(
        None,
        description="where the account's password is; none where the server knows the account by the "
        "system's user (unix_socket)",
        examples=["file:/etc/datasave/mariadb.password"],
    )
    certificate: Path | None = Field(
        None,
        description="the authority's certificate by which to know the server: then the connection is "
        "encrypted. Set it wherever `host` is another machine",
        examples=["/etc/datasave/mariadb-ca.pem"],
    )
    programs: Path | None = Field(
        None,
        description="the folder with mariadbd, mariadb-backup and the other programs, if not the usual one",
        examples=["/opt/mariadb/bin"],
    )
    in_place: ServerInPlaceOptions | None = Field(
        None,
        description="how a backup is restored in place of the server's data (`method: physical` only)",
        examples=[
            {
                "data": "/var/lib/mysql",
                "stop": ["systemctl", "stop", "mariadb"],
                "start": ["systemctl", "start", "mariadb"],
            }
        ],
    )

    @property
    def place(self) -> Place | None:
        """The folder with the live data, where the plan names it."""
        return place_of(self.in_place.data if self.in_place else None)

    @field_validator("database", "user")
    @classmethod
    def _is_plain(cls, value: str | None) -> str | None:
        if value is not None and not value.isprintable():
            raise problem("holds characters that cannot be printed")
        return value

    @field_validator("database")
    @classmethod
    def _is_a_users_own(cls, value: str) -> str:
        if value.lower() in _OWN_SCHEMAS:
            raise problem(
                "is the server's own", hint="Name the database that your program keeps its data in."
            )
        return value


class MariadbSource(Source, SupportsDumps, SupportsEarlierProfiles, SupportsGrants, SupportsInPlace):
    """A database on a MariaDB server of 10.6 or later, or on a MySQL server."""

    kind = "mariadb"
    closed_in = True
    after_restore = AFTER_RESTORE

    def __init__(self, options: MariadbOptions) -> None:
        self._options = options

    def check(self) -> Engine:
        """See Source.check. ``bytes`` is what the copy will have; for a dump, the size of the tables."""
        login = self._login()
        server, size = self._ready(login)
        data = str(server.data) if is_here(login, server) else ""
        return Engine(kind=self.kind, version=server.version, bytes=size, data=data)

    def copy_live(self, destination: Path, progress: Progress = no_progress) -> LiveCopy:
        """See Source.copy_live. All of check is looked at again first: rights may have changed."""
        started, login = datetime.now(UTC), self._login()
        server, size = self._ready(login)
        try:
            files = self._copied(login, server, destination, size, progress)
        except BaseException as error:
            emptied(destination)
            if isinstance(error, OSError):
                raise CopyError(
                    f"cannot copy the database {self._options.database} to {destination}: {error.strerror}",
                    hint="Check the free space and the rights of the staging folder.",
                ) from error
            if isinstance(error, ProgramError):
                raise CopyError(
                    f"cannot copy the database {self._options.database}: {error.message}",
                    hint=error.hint,
                    permanent=error.permanent,
                ) from error
            raise
        return LiveCopy(
            folder=destination,
            engine=Engine(kind=self.kind, version=server.version, bytes=size),
            files=files,
            started=started,
            finished=datetime.now(UTC),
        )

    def _ready(self, login: MariadbLogin) -> tuple[ServerFacts, int]:
        return ready_to_copy(login, self._options.database, self._options.method, self._folder)

    def validate(self, copy: Path, scratch: Path) -> list[Finding]:
        """See Source.validate. Leaves a stopped server's data in ``scratch``, ready to be started."""
        return check_copy(copy, scratch, self._folder)

    def open(self, copy: Path, scratch: Path) -> AbstractContextManager[Connection]:
        """See Source.open: a private server on the data in ``scratch``, made anew where it is not there."""
        return open_copy(copy, scratch, self._folder)

    def tables(self, connection: Connection) -> list[Table]:
        """See Source.tables, and tables_of for how columns are read."""
        return tables_of(connection)

    def is_dump(self, copy: Path) -> bool:
        """See SupportsDumps."""
        return read_record(copy).method == "dump"

    def earlier_tables(self, connection: Connection) -> list[Table]:
        """See SupportsEarlierProfiles."""
        return earlier_tables(connection)

    def restore(self, copy: Path, destination: Path) -> Path:
        """See Source.restore: the prepared data folder of a physical copy, or ``dump.sql``."""
        return restore_copy(copy, destination, self._folder)

    def live_data(self) -> LiveData:
        """See SupportsInPlace: the server's data folder, for physical copies."""
        return live_data(self._options.method, self._options.in_place)

    def in_place_options(self) -> InPlaceOptions:
        """See SupportsInPlace."""
        return self._options.in_place or InPlaceOptions()

    def open_live(self, copy: Path, live: LiveData, scratch: Path) -> AbstractContextManager[Connection]:
        """See SupportsInPlace: a private server over the folder, which prepares it for the real one."""
        record = read_record(copy)
        return open_in_place(Programs(self._folder, record.release), record, live.path, scratch)

    def answers(self) -> bool:
        """See SupportsInPlace."""
        return answers(self._login())

    def grants(self) -> str:
        """See SupportsGrants: for an account on the server's own machine, else from any."""
        options = self._options
        local = options.host in (None, *LOOPBACK)
        return grants_for(
            options.method,
            options.database,
            self._account,
            "localhost" if local else "%",
            password=options.password is not None,
        )

    @property
    def _folder(self) -> Path | None:
        # Read late: an adapter made for copies alone has no options.
        return getattr(self._options, "programs", None)

    @property
    def _account(self) -> str:
        return self._options.user or getpass.getuser()

    def _login(self) -> MariadbLogin:
        options = self._options
        return MariadbLogin(
            user=self._account,
            password=None if options.password is None else secret_of(options.password),
            socket=options.socket,
            host=options.host,
            port=options.port,
            certificate=options.certificate,
        )

    def _copied(
        self, login: MariadbLogin, server: ServerFacts, folder: Path, size: int, progress: Progress
    ) -> tuple[CopiedFile, ...]:
        """Make the copy and what it says of itself; all its files with their digests."""
        options = self._options
        programs = Programs(self._folder, server.name)
        record = CopyRecord(
            method=options.method,
            server=server.version,
            database=options.database,
            names_folded=server.names_folded,
        )
        if options.method == "physical":
            files = take_physical(login, programs, folder / DATA, size, progress)
            record = record.model_copy(update={"files": files})
        else:
            dumping = Dump(login, server, programs, options.database, folder / DUMP)
            record = record.model_copy(update={"held": dumping.run(size, progress)})
        write_record(folder, record)
        return copied_files(folder)
