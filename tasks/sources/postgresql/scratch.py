"""A copy brought to life in scratch: a clone of a physical one, a restore of a logical one.

::

    scratch/cluster/data     the engine's files
    scratch/private/         its configuration, its log, its socket
    scratch/ready            says that all of it is there; written last
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.errors import ValidationError
from tasks.platform.files import private_folder, write_atomic
from tasks.platform.processes import run
from tasks.sources.postgresql.connection import Server, driver
from tasks.sources.postgresql.physical import clone
from tasks.sources.postgresql.programs import Programs, programs_for, unprivileged
from tasks.sources.postgresql.record import CopyRecord
from tasks.sources.postgresql.server import init_cluster, private_server
from tasks.sources.postgresql.tables import METHOD_SETTING
from tasks.sources.shared.folders import cause_of
from tasks.sources.shared.odbc import sqlstate

RESTORED = "restored"
OWNER = "datasave"
_DAMAGED = "Restore the copy again from the archive, or take an older backup."


class Scratch:
    """The engine over one copy, in a scratch folder that only this copy uses.

    Making one raises SourceError where this machine lacks what is needed for it.
    """

    def __init__(self, copy: Path, record: CopyRecord, scratch: Path, folder: Path | None) -> None:
        self._copy = copy
        self.record = record
        self._scratch = scratch
        self._ready = scratch / "ready"
        self.notes: list[str] = []
        # All that this machine must have, asked for before anything is made.
        self.programs = _programs(record, folder)
        unprivileged()
        driver()

    @property
    def _physical(self) -> bool:
        return self.record.method == "physical"

    def prepare(self) -> None:
        """Make the engine's files, unless they are there. Raises ValidationError."""
        if self._ready.exists():
            return
        place = self._scratch / "cluster"
        try:
            if place.exists():
                shutil.rmtree(place)
            private_folder(place)
            if self._physical:
                clone(self._copy, place)
            else:
                init_cluster(self.programs, place / "data", OWNER)
                with self.serving(read_only=False) as server:
                    self._restore(server)
            write_atomic(self._ready, b"")
        except OSError as error:
            raise ValidationError(
                f"cannot make a second copy in {self._scratch}: {cause_of(error)}",
                hint="Free some space there, then run it again.",
            ) from error

    @contextmanager
    def serving(self, *, read_only: bool) -> Iterator[Server]:
        """The engine, running for the block; its superuser may do all."""
        user = self.record.superuser if self._physical else OWNER
        data, private = self._scratch / "cluster" / "data", self._scratch / "private"
        with private_server(self.programs, data, private, user, read_only=read_only) as server:
            # A cluster may have lost its database `postgres`.
            yield replace(server, database=self.record.database) if self._physical else server

    @contextmanager
    def connected(self, server: Server) -> Iterator[Any]:
        """A connection to what was copied. Raises ValidationError where it can't be had."""
        here = replace(server, database=self.record.database if self._physical else RESTORED)
        with ExitStack() as stack:
            with told_as_damage("cannot open the copy"):
                connection = stack.enter_context(here.connected(streaming=True))
                connection.cursor().execute(f"SET {METHOD_SETTING} = '{self.record.method}'")
            yield connection

    def _restore(self, server: Server) -> None:
        with told_as_damage("cannot prepare a database for the copy"), server.connected() as connection:
            for role in self.record.roles:
                if role != OWNER:
                    connection.cursor().execute(f"CREATE ROLE {_quoted(role)}")
            self._create_database(connection)
        listed = self._scratch / "list"
        write_atomic(
            listed, "".join(f"{line}\n" for line in table_of_contents(self._copy, self.programs)).encode()
        )
        command: list[str | Path] = [
            self.programs.path("pg_restore"),
            *("-j", "2", "--no-owner", "--no-privileges", "--no-tablespaces", "--exit-on-error", "-w"),
            *("--no-subscriptions", "-L", listed, "-d", RESTORED, self._copy / "dump"),
        ]
        ended = run(command, environment=server.environment)
        if ended.code != 0:
            raise ValidationError(
                f"cannot restore the dump into a scratch database: {_restore_trouble(ended.err, ended.code)}",
                hint=_DAMAGED,
            )

    def _create_database(self, connection: Any) -> None:
        """With the original's encoding and locale, or the plain locale where this machine lacks that one."""
        import pyodbc

        record = self.record
        create = f"CREATE DATABASE {RESTORED} TEMPLATE template0 ENCODING {_literal(record.encoding)}"
        locale = f" LC_COLLATE {_literal(record.collate)} LC_CTYPE {_literal(record.ctype)}"
        try:
            connection.cursor().execute(create + locale)
        except pyodbc.Error:
            connection.cursor().execute(f"{create} LC_COLLATE 'C' LC_CTYPE 'C'")
            self.notes.append(f"this machine has no locale {record.collate}: restored with the locale C")


def table_of_contents(copy: Path, programs: Programs) -> list[str]:
    """What pg_restore finds in a dump, a line each, but for what materialized views hold.

    Those are computed anew by a restore, from whatever their queries reach, other servers included.
    Raises ValidationError.
    """
    ended = run([programs.path("pg_restore"), "--list", copy / "dump"], seconds=600)
    lines = [line for line in ended.out.splitlines() if line and not line.startswith(";")]
    if ended.code != 0 or not lines:
        raise ValidationError(
            "cannot read the dump: its table of contents is missing, cut off or empty", hint=_DAMAGED
        )
    return [line for line in lines if " MATERIALIZED VIEW DATA " not in line]


@contextmanager
def told_as_damage(what: str) -> Iterator[None]:
    """Tell a driver's error as a ValidationError about ``what``."""
    import pyodbc

    try:
        yield
    except pyodbc.Error as error:
        raise ValidationError(
            f"{what}: {_open_trouble(str(error), sqlstate(error))}", hint=_DAMAGED
        ) from None


def _open_trouble(text: str, state: str) -> str:
    if re.search(r"locale .* is not recognized|incompatible with operating system", text):
        return "this machine lacks the locale that the database was made with"
    if re.search(r"database \".*\" does not exist", text):
        return "the copy holds no such database"
    return f"SQLSTATE {state}" if state else "the driver failed"


def _programs(record: CopyRecord, folder: Path | None) -> Programs:
    if record.method == "physical":
        needed = ("postgres", "pg_verifybackup", "pg_controldata", "pg_dump")
        return programs_for(needed, lambda major: major == record.major, str(record.major), folder)
    needed = ("postgres", "initdb", "pg_restore", "pg_controldata")
    return programs_for(needed, lambda major: major >= record.major, f"{record.major} or later", folder)


def _restore_trouble(text: str, code: int) -> str:
    """Which entry of the dump failed, as its table of contents names it; never a row."""
    if re.search(r"No space left on device", text):
        return "the disk is full"
    extension = re.search(r'extension "([\w-]+)" is not available', text)
    if extension:
        return f"the extension {extension[1]} is not installed on this machine"
    entry = re.search(r"from TOC entry \d+; \d+ \d+ ([A-Z ]+ \S+)", text)
    if entry:
        return f"{entry[1].strip()} cannot be restored"
    if re.search(r"could not open (?:input )?file|could not read|No such file", text):
        return "a file of the dump is missing or cannot be read"
    return f"pg_restore ended with status {code}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
