"""SAP SQL Anywhere behind the seam: versions 11, 12, 16 and 17, copied by the engine's own dbbackup.

A database that runs cannot be copied as files: dbbackup asks the engine for its pages, beside its users.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from tasks.errors import SourceError, ValidationError
from tasks.options import Options, Place
from tasks.platform.mounts import refuse_network
from tasks.platform.secrets import SecretReference, secret_of
from tasks.records import Engine, Finding, LiveCopy, Progress, Table, no_progress
from tasks.sources.base import Connection, Source
from tasks.sources.capabilities import (
    SupportsConformance,
    SupportsGrants,
    SupportsInPlace,
    SupportsLogBackups,
    SupportsRestart,
)
from tasks.sources.shared.live_data import InPlaceOptions, LiveData, live_folder, place_of
from tasks.sources.sqlanywhere.catalog import base_tables, definitions
from tasks.sources.sqlanywhere.check import grants_for, look
from tasks.sources.sqlanywhere.conformance import Site, try_all
from tasks.sources.sqlanywhere.connection import Address, Client, Login
from tasks.sources.sqlanywhere.copy import CopyRecord, copy_database, read_record
from tasks.sources.sqlanywhere.errors import DONE
from tasks.sources.sqlanywhere.logs import apply_logs, back_up_log
from tasks.sources.sqlanywhere.programs import Install, check_driver, find_any_install, find_install
from tasks.sources.sqlanywhere.restart import RestartOptions, restart
from tasks.sources.sqlanywhere.restore import (
    AFTER_RESTORE,
    SqlanywhereInPlaceOptions,
    commands,
    folder_of,
    opened_in_place,
    restore_copy,
)
from tasks.sources.sqlanywhere.scratch import REFUSED, CopyAccess, opened
from tasks.sources.sqlanywhere.validate import check_copy

USER_VARIABLE = "DATASAVE_SQLANYWHERE_USER"
PASSWORD_VARIABLE = "DATASAVE_SQLANYWHERE_PASSWORD"  # noqa: S105 - a variable's name


class SqlanywhereOptions(Options):
    """What the plan says about a SQL Anywhere source."""

    kind: Literal["sqlanywhere"] = "sqlanywhere"
    user: str = Field(
        min_length=1,
        description="the account that backs up; it needs no right but that (`datasave doctor --grants` "
        "prints how to make it)",
        examples=["BU_BILL"],
    )
    password: SecretReference = Field(
        description="its password, as a reference to a secret", examples=["env:SQLANYWHERE_PASSWORD"]
    )
    dsn: str | None = Field(
        None,
        description="the ODBC data source that leads to the database; give this or `server`",
        examples=["SOSDATA"],
    )
    server: str | None = Field(
        None, description="the engine's name, where there is no DSN", examples=["sosserver"]
    )
    database_name: str | None = Field(
        None, description="the database's name on the engine", examples=["sosdata"]
    )
    host: str | None = Field(
        None,
        description="this computer's name or address with the engine's port, where the engine answers on "
        "the network only",
        examples=["localhost:2638"],
    )
    version: Literal[11, 12, 16, 17] = Field(
        17, description="the version of SQL Anywhere whose engine runs the database"
    )
    install: Path | None = Field(
        None,
        description="the folder of that version's programs, the one that holds Bin64 or bin64. Left out: "
        "what %SQLANY17% says, or where it usually is",
        examples=[r"C:\Program Files\SQL Anywhere 17"],
    )
    driver: str | None = Field(
        None,
        description="the name of its ODBC driver, where it is not SAP's own",
        examples=["SQL Anywhere 17"],
    )
    read_user: str | None = Field(
        None,
        description="an account that may validate and read every table. It only ever logs in to copies, to "
        "check them and to count what they hold. Left out: `user`",
        examples=["BU_READER"],
    )
    read_password: SecretReference | None = Field(
        None, description="the reading account's password", examples=["env:SQLANYWHERE_READ_PASSWORD"]
    )
    log_folder: Path | None = Field(
        None,
        description="a folder on a disk of this machine that collects log backups between the full ones. "
        "Each of them renames the live log and starts a new one. Left out: the log is left alone",
        examples=[r"D:\Datasave\logs"],
    )
    restart: RestartOptions | None = Field(
        None,
        description="how the engine is restarted each day, if Datasave is to do that",
        examples=[{"stop": ["net", "stop", "SQLANYs_sosdata"], "start": ["net", "start", "SQLANYs_sosdata"]}],
    )

    in_place: SqlanywhereInPlaceOptions | None = Field(
        None,
        description="how a backup is restored in place of the DATA folder. Left out: with the commands of "
        "`restart`, where the running engine says that its database lies",
        examples=[{"data": r"C:\SOS\DATA"}],
    )

    @property
    def place(self) -> Place | None:
        """The folder with the live data, where the plan names it."""
        return place_of(self.in_place.data if self.in_place else None)

    @model_validator(mode="after")
    def _goes_together(self) -> SqlanywhereOptions:
        if not (self.dsn or self.server):
            raise ValueError("names neither a `dsn` nor a `server`: one of them must say where it is")
        if (self.read_user is None) != (self.read_password is None):
            raise ValueError("`read_user` and `read_password` belong together: give both or neither")
        return self


class SqlanywhereSource(
    Source, SupportsConformance, SupportsGrants, SupportsInPlace, SupportsLogBackups, SupportsRestart
):
    """A database on a SQL Anywhere engine of this machine."""

    kind = "sqlanywhere"
    after_restore = AFTER_RESTORE

    def __init__(self, options: SqlanywhereOptions) -> None:
        self._options = options

    @property
    def _install(self) -> Install:
        return find_install(self._options.install, self._options.version, self._options.driver)

    @property
    def _login(self) -> Login:
        return Login(self._options.user, secret_of(self._options.password))

    @property
    def _client(self) -> Client:
        options = self._options
        address = Address(options.version, options.dsn, options.server, options.database_name, options.host)
        return Client(self._install, address, self._login)

    def check(self) -> Engine:
        """See Source.check: programs, driver, server and database answer, on this very machine."""
        client = self._client
        check_driver(client.install)
        facts = look(client)
        data = str(Path(facts.file).parent) if facts.file else ""
        return Engine(kind=self.kind, version=facts.version, bytes=facts.bytes, data=data)

    def copy_live(self, destination: Path, progress: Progress = no_progress) -> LiveCopy:
        """See Source.copy_live. The live log is left as it is. Raises SourceError for a network folder."""
        started = datetime.now(UTC)
        refuse_network(destination)
        client = self._client
        facts = look(client)
        files = copy_database(client, facts, destination, progress)
        engine = Engine(kind=self.kind, version=facts.version, bytes=facts.bytes)
        return LiveCopy(
            folder=destination, engine=engine, files=files, started=started, finished=datetime.now(UTC)
        )

    def validate(self, copy: Path, scratch: Path) -> list[Finding]:
        """See Source.validate. Leaves the recovered, stopped clone in ``scratch`` for ``open``."""
        return check_copy(copy, scratch, self._access)

    def open(self, copy: Path, scratch: Path) -> AbstractContextManager[Connection]:
        """See Source.open. The connection is to a private engine over a clone, gone with the block."""
        return self._opened(copy, scratch)

    def tables(self, connection: Connection) -> list[Table]:
        """See Source.tables. Names are "owner.table"; procedures, triggers and views come first."""
        return [*definitions(), *base_tables(connection)]

    def restore(self, copy: Path, destination: Path) -> Path:
        """See Source.restore. The files under their live names, byte for byte as dbbackup wrote them."""
        return restore_copy(copy, destination)

    def back_up_log(self) -> Path:
        """Back up what the log has got since the last log backup, into ``log_folder``; what was added.

        The live log is renamed on the server and started anew; nothing is deleted there. To be called only
        once a verified full copy has left the machine. Raises CopyError, or SourceError where the plan names
        no ``log_folder``.
        """
        if self._options.log_folder is None:
            raise SourceError(
                "the plan does not say where log backups go", hint="Set `log_folder` under `source`."
            )
        client = self._client
        look(client)
        return back_up_log(client, self._options.log_folder).path

    def roll_forward(self, copy: Path, logs: Path, destination: Path, until: datetime | None = None) -> Path:
        """Restore a copy and apply the log backups in ``logs`` that follow it, without a gap.

        Returns the path a user opens. Raises SourceError or ValidationError.
        """
        if until is not None:
            raise SourceError(
                "SQL Anywhere applies a log backup as a whole: it cannot stop at a time within one",
                hint="Give a folder with the log backups up to that time only (each ends when it was made).",
            )
        record = read_record(copy)
        file = self.restore(copy, destination)
        apply_logs(self._install_for(record), record, destination, logs)
        return file

    def grants(self) -> str:
        """See SupportsGrants; written for the plan's version and account names."""
        options = self._options
        return grants_for(options.version, options.user, options.read_user or options.user)

    def conformance(self, scratch: Path) -> list[Finding]:
        """See SupportsConformance. Makes copies of the source; engines run over clones of them."""
        client = self._client
        check_driver(client.install)
        return try_all(Site(client, self._reader, look(client), scratch))

    def restart(self) -> None:
        """See SupportsRestart. An engine that doesn't come up again is an alarm."""
        if self._options.restart is None:
            raise SourceError(
                "the plan does not say how to restart the engine", hint="Set `restart` under `source`."
            )
        restart(self._client, self._options.restart)

    def live_data(self) -> LiveData:
        """See SupportsInPlace: the DATA folder. The engine must run, unless the plan tells the folder."""
        own = self._options.in_place
        if own is not None and own.data is not None:
            return live_folder(own.data, deep=True)
        facts = look(self._client)
        return live_folder(folder_of(facts.file, facts.log), deep=True)

    def in_place_options(self) -> InPlaceOptions:
        """See SupportsInPlace: those of the daily restart where it has none of its own."""
        return commands(self._options.in_place, self._options.restart)

    def build(self, copy: Path, destination: Path) -> Path:
        """See SupportsInPlace: the folder, under whose name the database knows its log and dbspaces."""
        return self.restore(copy, destination).parent

    def open_live(self, copy: Path, live: LiveData, scratch: Path) -> AbstractContextManager[Connection]:
        """See SupportsInPlace: a private engine over the database, recovered by that."""
        record = read_record(copy)
        return opened_in_place(self._access(record), record, live.path, scratch)

    def answers(self) -> bool:
        """See SupportsInPlace."""
        return self._client.ping() in {DONE, *REFUSED}

    @property
    def _reader(self) -> Login:
        user, reference = self._options.read_user, self._options.read_password
        return Login(user, secret_of(reference)) if user and reference else self._login

    def _access(self, record: CopyRecord) -> CopyAccess:
        """Programs and accounts for work on a copy; on a bare machine what the environment names."""
        if hasattr(self._options, "user"):
            return CopyAccess(self._install, self._reader)
        user, password = os.environ.get(USER_VARIABLE, ""), os.environ.get(PASSWORD_VARIABLE, "")
        if not (user and password):
            raise ValidationError(
                "nothing says which account of the database may read the copy",
                hint=f"Set {USER_VARIABLE} and {PASSWORD_VARIABLE} to one that may validate and read every "
                "table (its password is that of the day of the backup), or give the plan.",
            )
        return CopyAccess(self._install_for(record), Login(user, password))

    def _install_for(self, record: CopyRecord) -> Install:
        """The plan's installation, or on a bare machine any that can open the copy."""
        return self._install if hasattr(self._options, "user") else find_any_install(record.major)

    @contextmanager
    def _opened(self, copy: Path, scratch: Path) -> Iterator[Any]:
        record = read_record(copy)
        try:
            access = self._access(record)
        except SourceError as error:
            raise ValidationError(error.message, hint=error.hint) from error
        with opened(access, copy, scratch, record) as connection:
            yield connection
