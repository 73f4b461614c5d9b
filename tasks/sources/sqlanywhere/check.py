"""Whether a copy could be made now: the engine answers, on this machine, and says how large its files are.

And the rights that this takes.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Any

from tasks.errors import SourceError
from tasks.platform.processes import run
from tasks.sources.sqlanywhere.connection import PING_SECONDS, Client, connection_string
from tasks.sources.sqlanywhere.errors import DONE, failure, odbc_failure
from tasks.sources.sqlanywhere.programs import odbc

_NETBIOS_LENGTH = 15

_SOS = """\
-- SOS Office Manager 2016 and later makes such an account itself: Administration module, list of user
-- accounts, tab "Backup Users". What follows is then needed only for validating and reading the copies.
"""

_READER = """
-- Checking and counting copies takes an account that may validate and read every table: give its name and
-- password as `read_user` and `read_password`; left out, `user` does this too. Tables made later need the
-- right as well. This prints the statements, one for each table; run what it prints.
SELECT 'GRANT SELECT ON "' || u.user_name || '"."' || t.table_name || '" TO {reader};'
FROM SYS.SYSTAB t JOIN SYS.SYSUSER u ON u.user_id = t.creator
WHERE t.table_type_str = 'BASE' AND u.user_name NOT IN ('SYS', 'PUBLIC', 'dbo');
"""


@dataclass(frozen=True)
class DatabaseFacts:
    """A running database. ``bytes`` is about what a copy will have; None is what the engine did not say."""

    version: str
    machine: str | None
    file: str | None
    log: str | None
    bytes: int


def look(client: Client) -> DatabaseFacts:
    """The database, found running on this machine. Raises SourceMissing or SourceError."""
    code = client.ping()
    if code != DONE:
        raise failure(f"cannot reach the database ({client.address})", "dbping", code, SourceError)
    facts = ask(client)
    refuse_elsewhere(client, facts)
    return facts


def ask(client: Client) -> DatabaseFacts:
    """What the running database says over ODBC; its functions need no right but to connect."""
    try:
        with client.connected() as connection:
            value_of = _properties_of(connection)
            log = value_of("DB_PROPERTY('LogName')")
            pages, page = value_of("DB_PROPERTY('FileSize')"), value_of("DB_PROPERTY('PageSize')")
            return DatabaseFacts(
                version=str(connection.getinfo(odbc().SQL_DBMS_VER)),
                machine=value_of("PROPERTY('MachineName')"),
                file=value_of("DB_PROPERTY('File')"),
                log=log,
                bytes=_number(pages) * _number(page) + _size_of(log),
            )
    except odbc().Error as error:
        raise odbc_failure(f"cannot ask the database ({client.address})", error) from None


def refuse_elsewhere(client: Client, facts: DatabaseFacts) -> None:
    """Raise SourceError where the database runs on another computer.

    Its own word counts; an engine that doesn't tell must answer over shared memory, which ends at the
    machine's edge.
    """
    if facts.machine is None:
        local = replace(client.address, host=None)
        pairs = (*local.pairs, ("LINKS", "SharedMemory"))
        environment = {**client.install.environment, "SQLCONNECT": connection_string(pairs)}
        here = (
            run([client.install.program("dbping")], environment=environment, seconds=PING_SECONDS).code
            == DONE
        )
        where = "another computer (it does not answer over shared memory)"
    else:
        here = same_machine(facts.machine, socket.gethostname())
        where = facts.machine
    if not here:
        raise SourceError(
            f"the database ({client.address}) runs on {where}, not on this one",
            hint="Install Datasave on the computer that runs the database: that is where copies are made.",
        )


def same_machine(told: str, own: str) -> bool:
    """Whether the engine's machine name is this host's; Windows cuts names after 15 letters."""
    theirs, ours = (name.strip().split(".")[0].casefold() for name in (told, own))
    return theirs == ours or (len(theirs) == _NETBIOS_LENGTH and ours.startswith(theirs))


def base_name(path: str) -> str:
    """The last part of a path as the engine reports it, of either system."""
    return PureWindowsPath(path).name


def grants_for(version: int, user: str, reader: str) -> str:
    """The statements for an account that may copy, and for one that may check and read copies."""
    if version >= 16:
        rights = (
            f"GRANT ROLE SYS_AUTH_BACKUP_ROLE TO {user} WITH NO ADMIN OPTION;\n"
            f"GRANT ROLE SYS_AUTH_VALIDATE_ROLE TO {reader} WITH NO ADMIN OPTION;\n"
        )
    else:
        rights = f"GRANT BACKUP TO {user};\nGRANT VALIDATE TO {reader};\n"
    accounts = dict.fromkeys((user, reader))
    made = "".join(f"CREATE USER {name} IDENTIFIED BY 'a long password of its own';\n" for name in accounts)
    head = f"-- SQL Anywhere {version}; run as an administrator, for example in dbisql.\n"
    return f"{head}{_SOS}{made}{rights}{_READER.format(reader=reader)}"


def _properties_of(connection: Any) -> Callable[[str], str | None]:
    """A function that asks for one property; None where the engine does not know it or its value is empty."""

    def value_of(expression: str) -> str | None:
        cursor = connection.cursor()
        try:
            cursor.execute(f"SELECT {expression}")
            value = cursor.fetchone()[0]
        except odbc().Error:
            return None
        finally:
            cursor.close()
        return None if value in (None, "") else str(value)

    return value_of


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


def _size_of(file: str | None) -> int:
    try:
        return Path(file).stat().st_size if file else 0
    except OSError:
        return 0
