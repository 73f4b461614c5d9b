"""Microsoft SQL Server behind the seam: BACKUP DATABASE, and restores in scratch beside everything else.

The server does the work on its own machine and hands files over in one folder that both can use. A copy is
one ``.bak`` and a note about it; opening one takes a SQL Server, since nothing else reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from tasks.errors import SourceError, ValidationError
from tasks.options import Options, is_this_machine, problem
from tasks.platform.secrets import SecretReference
from tasks.records import Engine, Finding, LiveCopy, Progress, Table, no_progress
from tasks.sources.base import Connection, Source
from tasks.sources.capabilities import SupportsConformance, SupportsGrants
from tasks.sources.shared.folders import copy_whole, restoring_into
from tasks.sources.sqlserver.catalog import user_tables
from tasks.sources.sqlserver.check import DatabaseState, examine, examine_folder, examine_scratch, grants_for
from tasks.sources.sqlserver.conformance import try_everything
from tasks.sources.sqlserver.connection import ServerLogin
from tasks.sources.sqlserver.copy import ABOUT_NAME, ExchangeFolder, back_up, backup_in
from tasks.sources.sqlserver.errors import SqlError, failure
from tasks.sources.sqlserver.scratch import ScratchServer, take_note
from tasks.sources.sqlserver.validate import NO_SERVER, check_copy

_SYSTEM = {"master", "model", "msdb", "tempdb", "resource", "distribution"}
_UNFIT = re.compile(r"[;{}\x00-\x1f]")

AFTER_RESTORE = """\
The folder holds `database.bak`, a plain SQL Server backup, and `about.json`, which says which database and
which version of SQL Server it is of: restore it on that version or a newer one. Put `database.bak` where the
SQL Server service can read it (`C:\\SOSBU`, say), and in `sqlcmd` or Management Studio list its files:

    RESTORE FILELISTONLY FROM DISK = N'C:\\SOSBU\\database.bak';

Then restore it under a new name, with a MOVE for each LogicalName of that list; nothing is overwritten:

    RESTORE DATABASE [Restored] FROM DISK = N'C:\\SOSBU\\database.bak' WITH CHECKSUM,
      MOVE N'Practice' TO N'C:\\SOSBU\\Restored.mdf', MOVE N'Practice_log' TO N'C:\\SOSBU\\Restored.ldf';
    DBCC CHECKDB (N'Restored') WITH NO_INFOMSGS, ALL_ERRORMSGS;

CHECKDB must say nothing. Look whether the newest entries are there, then rename the old database (to
`DATASAVE`, say; don't drop it yet) and give the restored one its name with ALTER DATABASE … MODIFY NAME. On a
new server, make the logins again: ALTER USER … WITH LOGIN = … ties each to its user in the database. Delete
`database.bak` from that folder at the end.
"""


class SqlserverOptions(Options):
    """What the plan says about a SQL Server source."""

    kind: Literal["sqlserver"] = "sqlserver"
    server: str = Field(
        min_length=1,
        description="the server: its name, with the instance after a backslash or the port after a comma",
        examples=["localhost\\SOS"],
    )
    database: str = Field(
        min_length=1, max_length=128, description="the database's name on the server", examples=["Practice"]
    )
    user: str | None = Field(
        None, description="a SQL Server login. Without it, the Windows account that runs Datasave signs in"
    )
    password: SecretReference | None = Field(None, description="where the login's password is")
    driver: str = Field("ODBC Driver 18 for SQL Server", description="the ODBC driver's name on this machine")
    encrypt: Literal["yes", "no", "strict"] = Field("yes", description="whether the connection is encrypted")
    trust_certificate: bool = Field(
        False,
        description="take the server's certificate without checking it: for a server on this very machine "
        "that made its own",
    )
    backup_folder: Path = Field(
        description="a folder on the server's own disk that the SQL Server service writes to and Datasave "
        "reads and deletes from. Nobody else should: while a backup runs, the database lies there in plain",
        examples=["C:\\SOSBU"],
    )
    server_folder: str | None = Field(
        None, description="how the server names that folder, where that differs (a server in a container)"
    )
    scratch_server: str | None = Field(
        None,
        description="another instance on the same machine for restores in scratch, such as one of the free "
        "Express edition. Without it they are made beside the database, under names of their own",
    )
    certificate_kept: bool = Field(
        False,
        description="say yes where the database is encrypted (TDE) and its certificate is kept elsewhere",
    )

    @property
    def in_the_clear(self) -> str:
        """See Options.in_the_clear. Whoever isn't asked for a certificate may be anybody."""
        host = re.split(r"[\\\\,]", self.server.removeprefix("tcp:"))[0]
        if host in (".", "(local)") or is_this_machine(host):
            return ""
        return "encrypt" if self.encrypt == "no" else "trust_certificate" if self.trust_certificate else ""

    @model_validator(mode="after")
    def _fits(self) -> SqlserverOptions:
        if self.database.lower() in _SYSTEM:
            raise problem("is a database of the server itself", place="database")
        if (self.user is None) != (self.password is None):
            raise problem("`user` and `password` go together", place="user")
        for place in ("server", "scratch_server", "driver"):
            if _UNFIT.search(getattr(self, place) or ""):
                raise problem("holds a letter that no such name has", place=place)
        return self


class SqlserverSource(Source, SupportsConformance, SupportsGrants):
    """A database of a SQL Server from 2012 on, on any edition that has disks of its own."""

    kind = "sqlserver"
    clones = False
    after_restore = AFTER_RESTORE

    def __init__(self, options: SqlserverOptions) -> None:
        self._options = options

    @property
    def _login(self) -> ServerLogin:
        return self._login_at(self._options.server)

    @property
    def _exchange(self) -> ExchangeFolder:
        here = self._options.backup_folder
        return ExchangeFolder(here, self._options.server_folder or str(here))

    @property
    def _scratch_server(self) -> ScratchServer | None:
        """Where to restore in scratch; None for an adapter made for copies alone, which knows no server."""
        if not hasattr(self._options, "server"):
            return None
        return ScratchServer(
            self._login_at(self._options.scratch_server or self._options.server),
            self._exchange,
        )

    def _login_at(self, address: str) -> ServerLogin:
        options = self._options
        return ServerLogin(
            address,
            options.driver,
            options.encrypt,
            options.trust_certificate,
            options.user or "",
            options.password or "",
        )

    def check(self) -> Engine:
        """See Source.check. ``bytes`` are those of the used pages, which a backup holds."""
        return self._engine(self._examined())

    def copy_live(self, destination: Path, progress: Progress = no_progress) -> LiveCopy:
        """See Source.copy_live. Raises SourceMissing or SourceError where there is nothing to copy."""
        started = datetime.now(UTC)
        state = self._examined()
        files = back_up(self._login, self._options.database, self._exchange, state, destination, progress)
        return LiveCopy(
            folder=destination,
            engine=self._engine(state),
            files=files,
            started=started,
            finished=datetime.now(UTC),
        )

    def validate(self, copy: Path, scratch: Path) -> list[Finding]:
        """See Source.validate. Raises SourceError where the server itself does not work."""
        server = self._scratch_server
        if server is None:
            return [Finding(check="SQL Server", passed=False, detail=NO_SERVER)]
        try:
            return check_copy(server, copy, scratch)
        except SqlError as error:
            raise failure(f"cannot check the backup on {server.login.address}", error) from None

    def open(self, copy: Path, scratch: Path) -> AbstractContextManager[Connection]:
        """See Source.open. The scratch database is dropped at the end, whatever happens."""
        return _opened(self._scratch_server, copy, scratch)

    def tables(self, connection: Connection) -> list[Table]:
        """See Source.tables, and user_tables for what counts as one."""
        try:
            return user_tables(connection)
        except SqlError as error:
            fault = error.fault
            raise ValidationError(
                f"cannot list the tables of the copy: {fault.cause}", hint=fault.hint
            ) from None

    def restore(self, copy: Path, destination: Path) -> Path:
        """See Source.restore. The path is the backup's: a server restores it (AFTER_RESTORE says how)."""
        backup = backup_in(copy)
        with restoring_into(destination, "the backup"):
            for file in (backup, copy / ABOUT_NAME):
                if file.is_file():
                    copy_whole(file, destination / file.name)
        return destination / backup.name

    def grants(self) -> str:
        """See SupportsGrants."""
        return grants_for(getattr(self._options, "database", "Practice"))

    def conformance(self, scratch: Path) -> list[Finding]:
        """See SupportsConformance: it needs the plan's server, and backs the database up a few times."""
        server = self._scratch_server
        if server is None:
            raise SourceError(f"cannot try SQL Server: it {NO_SERVER}")
        return try_everything(self._login, server, self._options.database, self._examined(), scratch)

    def _examined(self) -> DatabaseState:
        state = examine(self._login, self._options.database, encrypted_ok=self._options.certificate_kept)
        server = self._scratch_server
        if server is not None:
            examine_scratch(server.login)
        examine_folder(self._options.backup_folder, state)
        return state

    def _engine(self, state: DatabaseState) -> Engine:
        return Engine(kind=self.kind, version=f"{state.version} {state.edition}", bytes=state.used)


@contextmanager
def _opened(server: ScratchServer | None, copy: Path, scratch: Path) -> Iterator[Any]:
    if server is None:
        raise ValidationError(f"cannot open the copy: it {NO_SERVER}")
    with ExitStack() as stack:
        try:
            name = _restored(server, copy, scratch)
            stack.enter_context(server.dropping(name))
            connection = stack.enter_context(server.login.connect(name))
        except SqlError as error:
            fault = error.fault
            raise ValidationError(f"cannot open the copy: {fault.cause}", hint=fault.hint) from None
        except SourceError as error:
            raise ValidationError(f"cannot open the copy: {error.message}", hint=error.hint) from None
        yield connection


def _restored(server: ScratchServer, copy: Path, scratch: Path) -> str:
    """The scratch database that ``validate`` left, or a new one."""
    left = take_note(scratch)
    if left and server.exists(left):
        return left
    return server.restore(backup_in(copy))
