"""What the running engine says about itself: reachable, on this machine, how large, which files."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Any

from tasks.errors import SourceError, SourceMissing
from tasks.platform.processes import Argument, run
from tasks.sources.sqlanywhere.connection import (
    Address,
    Login,
    connected,
    connection_string,
    state_of,
    tool_environment,
)
from tasks.sources.sqlanywhere.errors import DONE, failure
from tasks.sources.sqlanywhere.programs import Install, odbc

PING_SECONDS = 60.0
_NETBIOS_LENGTH = 15


@dataclass(frozen=True)
class Facts:
    """A running database. ``bytes`` is about what a copy will have; None is what the engine didn't tell."""

    version: str
    machine: str | None
    file: str | None
    log: str | None
    bytes: int


def ping(install: Install, address: Address, login: Login | None) -> int:
    """The exit code of dbping: 0 if the server answers and, where ``login`` is given, the database too."""
    options = ("-d",) if login else ()
    command: list[Argument] = [install.program("dbping"), *options]
    environment = tool_environment(install, address, login)
    return run(command, environment=environment, seconds=PING_SECONDS).code


def refuse_unreachable(install: Install, address: Address, login: Login) -> None:
    """Raise SourceMissing or SourceError where server or database don't answer to ``login``."""
    code = ping(install, address, login)
    if code != DONE:
        raise failure(f"cannot reach the database ({address})", "dbping", code, SourceError)


def ask(install: Install, address: Address, login: Login) -> Facts:
    """What the running database says over ODBC; its functions need no right but to connect."""
    try:
        with connected(install, address, login) as connection:
            told = _teller(connection)
            log = told("DB_PROPERTY('LogName')")
            pages, page = told("DB_PROPERTY('FileSize')"), told("DB_PROPERTY('PageSize')")
            return Facts(
                version=str(connection.getinfo(odbc().SQL_DBMS_VER)),
                machine=told("PROPERTY('MachineName')"),
                file=told("DB_PROPERTY('File')"),
                log=log,
                bytes=_number(pages) * _number(page) + _size_of(log),
            )
    except odbc().Error as error:
        raise odbc_failure(f"cannot ask the database ({address})", error) from None


def refuse_elsewhere(install: Install, address: Address, facts: Facts) -> None:
    """Raise SourceError where the database runs on another computer.

    Its own word counts; an engine that doesn't tell must answer over shared memory, which ends at the
    machine's edge.
    """
    if facts.machine is None:
        local = replace(address, host=None)
        pairs = (*local.pairs, ("LINKS", "SharedMemory"))
        environment = {**install.environment, "SQLCONNECT": connection_string(pairs)}
        here = run([install.program("dbping")], environment=environment, seconds=PING_SECONDS).code == DONE
        where = "another computer (it does not answer over shared memory)"
    else:
        here = same_machine(facts.machine, socket.gethostname())
        where = facts.machine
    if not here:
        raise SourceError(
            f"the database ({address}) runs on {where}, not on this one",
            hint="Install Datasave on the computer that runs the database: that is where copies are made.",
        )


def same_machine(told: str, own: str) -> bool:
    """Whether the engine's machine name is this host's; Windows cuts names after 15 letters."""
    theirs, ours = (name.strip().split(".")[0].casefold() for name in (told, own))
    return theirs == ours or (len(theirs) == _NETBIOS_LENGTH and ours.startswith(theirs))


def base_name(path: str) -> str:
    """The last part of a path that the engine told, of either system."""
    return PureWindowsPath(path).name


def odbc_failure(operation: str, error: Exception) -> SourceError:
    """The error for a connection that ODBC refused, by its SQLSTATE alone."""
    state = state_of(error)
    kind, cause, hint = _STATES.get(
        state.removeprefix("SQLSTATE "),
        (SourceError, "ODBC refused", "Try the same connection with SAP's own tools, such as dbisql."),
    )
    return kind(f"{operation}: {cause} ({state})", hint=hint, permanent=kind is not SourceMissing)


_STATES: dict[str, tuple[type[SourceError], str, str]] = {
    "08001": (
        SourceMissing,
        "the engine does not answer",
        "Start the engine, and check `dsn` or `server` in the plan.",
    ),
    "IM002": (
        SourceMissing,
        "the DSN or the driver is not known to ODBC",
        "Check `dsn` in the plan. It must be a system DSN, or one of the account that runs Datasave.",
    ),
    "28000": (
        SourceError,
        "user or password were refused",
        "Check `user` and `password` in the plan, and whether the account is locked.",
    ),
    "01000": (
        SourceError,
        "the driver cannot be loaded",
        "On Linux start Datasave from a shell that has run `. bin64/sa_config.sh` of the installation.",
    ),
    "42000": (
        SourceError,
        "the account may not do this",
        "Grant it what `datasave doctor --grants` prints.",
    ),
}


def _teller(connection: Any) -> Callable[[str], str | None]:
    """Asks for one property; None where the engine does not know it or its value is empty."""

    def told(expression: str) -> str | None:
        cursor = connection.cursor()
        try:
            cursor.execute(f"SELECT {expression}")
            value = cursor.fetchone()[0]
        except odbc().Error:
            return None
        finally:
            cursor.close()
        return None if value in (None, "") else str(value)

    return told


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


def _size_of(file: str | None) -> int:
    try:
        return Path(file).stat().st_size if file else 0
    except OSError:
        return 0
