"""A private engine over a clone of a copy, for the length of a block.

A copy must never be started itself: a normal start recovers and checkpoints it, its offsets move, and later
logs no longer apply. So a clone is started, and three things keep it from the practice's own database:

- a server name that nobody else has, so that nothing meant for it can reach another engine, nor the reverse;
- ``-x none``: it listens on shared memory alone, on no port;
- ``-ds``: a ``.db`` remembers the path of its log, on the practice's machine that of the live one. With it
  the engine looks for log and dbspaces in the clone's folder only.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from tasks.errors import ProgramError, ValidationError
from tasks.platform.files import create_private, private_folder
from tasks.platform.processes import Argument, run, serving
from tasks.records import Table
from tasks.sources.sqlanywhere.catalog import base_tables
from tasks.sources.sqlanywhere.connection import SCRATCH_DATABASE, Client, Login, scratch_address
from tasks.sources.sqlanywhere.copy import DATABASE, CopyRecord
from tasks.sources.sqlanywhere.errors import CANNOT_CONNECT, DONE, cause_of, fault_of, odbc_failure, state_of
from tasks.sources.sqlanywhere.programs import Install, odbc

CACHE = "256M"
MESSAGES = "engine-messages.txt"
START_SECONDS = 1800.0
"""How long the engine may take to recover the clone; the log of a busy month may be long."""
STOP_SECONDS = 60.0
REFUSED = frozenset({CANNOT_CONNECT, 20})
_NO_RIGHT = ("SQLSTATE 42000", "SQLSTATE 42501")


@dataclass(frozen=True)
class CopyAccess:
    """What work on a copy needs: programs, and an account that may validate and read every table."""

    install: Install
    login: Login


def clone(copy: Path, scratch: Path) -> Path:
    """The clone of the copy's ``database/`` in ``scratch``, made if it isn't there; its folder.

    Raises ValidationError where the copy cannot be read or there is no room.
    """
    place, part = scratch / DATABASE, scratch / f"{DATABASE}.part"
    if place.is_dir():
        return place
    try:
        shutil.rmtree(part, ignore_errors=True)
        private_folder(part)
        for path in sorted((copy / DATABASE).iterdir()):
            with path.open("rb") as stream, create_private(part / path.name) as cloned:
                shutil.copyfileobj(stream, cloned, 1 << 20)
        part.rename(place)
    except OSError as error:
        raise ValidationError(
            f"cannot clone the copy {copy} to {scratch}: {error.strerror}",
            hint="Check that the copy is there, and the free space of the staging folder.",
        ) from error
    return place


@contextmanager
def scratch_engine(access: CopyAccess, folder: Path, file: str, log: Path | None = None) -> Iterator[Client]:
    """Run an engine over the database ``file`` in ``folder``, a clone; the way to reach it.

    What it prints goes to ``log``, else beside the folder.
    Raises ValidationError where it doesn't open the database or doesn't let the account in.
    """
    install, name = access.install, f"ds_{uuid4().hex}"
    client = Client(install, scratch_address(name, install.version), access.login)
    with ExitStack() as stack:
        try:
            stack.enter_context(
                serving(
                    start_command(install, name, folder / file),
                    ready=lambda: _ready(client),
                    log=log or folder.parent / "engine-output.txt",
                    environment=install.environment,
                    folder=folder,
                    seconds=START_SECONDS,
                )
            )
        except ProgramError as error:
            raise ValidationError(
                f"the engine does not open the copy's {file}: {error.message}",
                hint="The copy is damaged or incomplete: take another, or go back to an older backup.",
            ) from error
        # Before `serving` ends it by force: an engine that stops in order leaves a clone to use again.
        stack.callback(stop, client)
        yield client


def start_command(install: Install, name: str, file: Path) -> list[Argument]:
    """The command that starts a private engine over ``file``; its messages go to a file beside that.

    Before the database file ``-n`` names the server, after it the database.
    """
    messages = file.with_name(MESSAGES)
    server: list[Argument] = ["-n", name, "-x", "none", "-c", CACHE, "-o", messages]
    if install.engine.stem.startswith("dbsrv"):
        # Else stopping the network engine takes an administrator's right.
        server += ["-gk", "all"]
    return [install.engine, *server, file, "-n", SCRATCH_DATABASE, "-ds", file.parent]


def stop(client: Client) -> None:
    """Stop a scratch engine in order, and wait until it is gone."""
    with suppress(ProgramError):
        command: list[Argument] = [client.install.program("dbstop"), "-y", client.address.server or ""]
        run(command, environment=client.install.environment, seconds=STOP_SECONDS)
        deadline = time.monotonic() + STOP_SECONDS
        while client.anonymous.ping() == DONE and time.monotonic() < deadline:
            time.sleep(0.05)


@contextmanager
def opened(access: CopyAccess, copy: Path, scratch: Path, record: CopyRecord) -> Iterator[Any]:
    """A connection to a clone of the copy that may read all its tables. Raises ValidationError."""
    folder = clone(copy, scratch)
    with ExitStack() as stack:
        client = stack.enter_context(scratch_engine(access, folder, record.database))
        yield readable(stack, client, f"the copy {copy}")


def readable(stack: ExitStack, client: Client, what: str) -> Any:
    """A connection to a private engine that may read all tables, for as long as ``stack`` is open."""
    try:
        connection = stack.enter_context(client.connected())
        refuse_unreadable(connection, base_tables(connection))
    except odbc().Error as error:
        refused = odbc_failure(f"cannot open {what} over ODBC", error)
        raise ValidationError(refused.message, hint=refused.hint) from None
    return connection


def refuse_unreadable(connection: Any, tables: list[Table]) -> None:
    """Raise ValidationError where the account may not read a table: that must not look like damage."""
    for table in tables:
        cursor = connection.cursor()
        try:
            cursor.execute(f"SELECT COUNT(*) FROM {table.reference} WHERE 1 = 0")  # noqa: S608 - quoted names
            cursor.fetchone()
        except odbc().Error as error:
            if state_of(error) not in _NO_RIGHT:
                continue  # damage: reading the table for good will tell
            raise ValidationError(
                f"the account that reads copies may not read table {table.name} ({state_of(error)})",
                hint="A right to back up is no right to read. Set `read_user` and `read_password` under "
                "`source` in the plan to an account that may SELECT from every table.",
            ) from None
        finally:
            cursor.close()


def _ready(client: Client) -> bool:
    """Whether the database is up. Raises ValidationError where it is and refuses the account."""
    code = client.ping()
    if code in REFUSED and client.anonymous.ping() == DONE:
        user = client.login.user if client.login else ""
        raise ValidationError(
            f"the copy does not let {user} in: {cause_of('dbping', code)}",
            hint=fault_of(code).hint + " The copy has the accounts and passwords of the time it was taken.",
        )
    return code == DONE
