"""A dump restored into a scratch server, step by step as RECOVER.md says: roles, database, all that is in it.

What differs from a person's way: roles.sql goes to the server statement by statement, because psql would run
commands that a role's name may hold; and tablespaces lie in scratch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tasks.errors import ValidationError
from tasks.platform.files import private_folder
from tasks.platform.processes import Ended, run
from tasks.records import Finding
from tasks.sources.base import quoted
from tasks.sources.postgresql.catalog import literal
from tasks.sources.postgresql.connection import PostgresqlLogin
from tasks.sources.postgresql.errors import code_fault, reason_in
from tasks.sources.postgresql.programs import Programs
from tasks.sources.postgresql.record import CopyRecord
from tasks.sources.shared.odbc import sqlstate

DAMAGED = "Restore the copy again from the archive, or take an older backup."
ANOTHER_WAY = (
    "RECOVER.md's commands would fail alike: mend what is named in the database, or use `method: physical`, "
    "which copies the files as they are."
)
AS_RECOVERED = {"default_transaction_read_only": "off", "session_replication_role": "replica"}
"""RECOVER.md gives these options too, and the time zone."""
MOST_NAMED = 5
_EXISTS = "42710"
_NEIGHBOUR = {"postgres": "template1"}
"""Every server has a database of this name, empty: it makes way, and this one is connected to meanwhile."""

# pg_dumpall doubles quotes within texts and names, and writes no backslash before one.
_STATEMENT = re.compile(r"""(?:'[^']*'|"[^"]*"|--[^\n]*\n|[^;'"])+;""")
_META = re.compile(r"^\\(?:un)?restrict [^\n]*\n", re.MULTILINE)

_NAME = r'(?:"(?:[^"\n]|"")*"|[\w$]+)(?:\.(?:"(?:[^"\n]|"")*"|[\w$]+))*'
# Of the statement that failed: what it makes, in a name and perhaps a kind and the table it is of.
_COMMANDS = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (rf"CREATE UNIQUE INDEX (?P<name>{_NAME}) ON (?:ONLY )?(?P<of>{_NAME})", "unique index"),
        (rf"CREATE INDEX (?P<name>{_NAME}) ON (?:ONLY )?(?P<of>{_NAME})", "index"),
        (rf"REFRESH MATERIALIZED VIEW (?P<name>{_NAME})", "contents of the materialized view"),
        (rf"SECURITY LABEL FOR {_NAME} ON [A-Z ]+ (?P<name>{_NAME})", "security label of"),
        (rf"ALTER TABLE (?:ONLY )?(?P<of>{_NAME})\s+ADD CONSTRAINT (?P<name>{_NAME})", "constraint"),
        (rf"CREATE DATABASE (?P<name>{_NAME}) .*LOCALE", "database"),
        (
            rf"(?:CREATE|CREATE OR REPLACE|ALTER|COMMENT ON|GRANT [A-Z, ]+ ON|REVOKE [A-Z, ]+ ON) "
            rf"(?P<kind>[A-Z]+(?: [A-Z]+)*) (?P<name>{_NAME})",
            "",
        ),
    )
)


@dataclass(frozen=True)
class RestoreFault:
    """What pg_restore could not make: the object, and the engine's own reason, without any row's value."""

    kind: str
    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} ({self.reason})"

    @property
    def finding(self) -> Finding:
        """The fault as a check that could not be made."""
        check, way_out = _MADE_AGAIN[self.kind]
        detail = f"{self} cannot be restored; all else can. {way_out}"
        return Finding(check=check, passed=False, unchecked=True, detail=detail, table=self.name)


# What a restore goes on without: these hold no row, and can be made again at any time.
_MADE_AGAIN = {
    "index": (
        "indexes",
        "Name schemas in the functions it uses, or make it by hand after a restore.",
    ),
    "contents of the materialized view": (
        "contents of materialized views",
        "They stay empty until REFRESH MATERIALIZED VIEW succeeds.",
    ),
    "security label of": ("security labels", "Load the label's provider on the server before a restore."),
}


@contextmanager
def reported_as_damage(operation: str) -> Iterator[None]:
    """Raise a driver's error as a ValidationError about ``operation``."""
    import pyodbc

    try:
        yield
    except pyodbc.Error as error:
        raise ValidationError(
            f"{operation}: {_open_fault(str(error), sqlstate(error))}", hint=DAMAGED
        ) from None


def _open_fault(text: str, state: str) -> str:
    if re.search(r"locale .* is not recognized|incompatible with operating system", text):
        return "this machine lacks the locale that the database was made with"
    if re.search(r"database \".*\" does not exist", text):
        return "the copy holds no such database"
    return reason_in(text) or (f"SQLSTATE {state}" if state else "the driver failed")


def own_role(record: CopyRecord) -> str:
    """The superuser that a scratch server has for us: a name that none of the dump's roles has."""
    name = "datasave_scratch"
    while name in record.roles:
        name += "_"
    return name


def restore_dump(
    login: PostgresqlLogin, programs: Programs, record: CopyRecord, copy: Path, scratch: Path
) -> tuple[list[Finding], list[str]]:
    """Restore ``copy`` into the empty server; findings on what could not be made, and notes.

    ``login`` is the server's first superuser; it may be nobody afterwards. Raises ValidationError where rows,
    or what holds them, did not come back.
    """
    own = replace(login, user=own_role(record), database=_NEIGHBOUR.get(record.database, "postgres"))
    with reported_as_damage("cannot prepare a database for the copy"):
        with login.connected() as connection:
            connection.cursor().execute(f"CREATE ROLE {quoted(own.user)} SUPERUSER LOGIN")
        with own.connected() as connection:
            unmade = list(_roles(connection, copy / "roles.sql"))
            for number, name in enumerate(record.tablespaces):
                place = literal(str(private_folder((scratch / f"tablespace{number}").absolute())))
                connection.cursor().execute(f"CREATE TABLESPACE {quoted(name)} LOCATION {place}")
            if record.database in _NEIGHBOUR:
                connection.cursor().execute(f"DROP DATABASE {record.database}")
    # A database's own settings hold while it is restored, but for what the scratch server must not load.
    options = {name: value for name, value in login.options.items() if name.endswith("_preload_libraries")}
    zone = {"TimeZone": record.timezone} if record.timezone else {}
    here = replace(own, options={**options, **AS_RECOVERED, **zone})
    found, notes = _restored(here, programs, record, copy)
    return [*unmade, *found], notes


def _roles(connection: Any, script: Path) -> Iterator[Finding]:
    """Run roles.sql; what fails, as checks that could not be made. A role may be there already."""
    import pyodbc

    text = _META.sub("", script.read_text("utf-8")) if script.is_file() else ""
    for statement in _STATEMENT.findall(text):
        try:
            connection.cursor().execute(statement)
        except pyodbc.Error as error:
            if sqlstate(error) != _EXISTS:
                reason = reason_in(str(error)) or f"SQLSTATE {sqlstate(error)}"
                detail = f"a line of roles.sql fails ({reason}); all others do not. Look for it in a restore."
                yield Finding(check="roles", passed=False, unchecked=True, detail=detail)


def _restored(
    login: PostgresqlLogin, programs: Programs, record: CopyRecord, copy: Path
) -> tuple[list[Finding], list[str]]:
    ended = _pg_restore(login, programs, copy)
    if ended.code == 0:
        return [], []
    faults, notes = list(_faults(ended.err)), []
    if any(fault.kind == "database" for fault in faults):
        _create_plain(login, record)
        # It fails again to make the database, and goes on in the one that is there.
        ended = _pg_restore(login, programs, copy)
        faults = [fault for fault in _faults(ended.err) if fault.kind != "database"]
        notes.append(f"this machine has no locale {record.collate}: restored with the locale C")
    if faults or not notes:
        _refuse(ended, faults)
    return [fault.finding for fault in faults], notes


def _pg_restore(login: PostgresqlLogin, programs: Programs, copy: Path) -> Ended:
    command: list[str | Path] = [
        programs.path("pg_restore"),
        "--create",
        "-j",
        "2",
        "-w",
        "--no-subscriptions",
    ]
    return run([*command, "-d", login.database, copy / "dump"], environment=login.environment)


def _create_plain(login: PostgresqlLogin, record: CopyRecord) -> None:
    """Make the database with the plain locale."""
    create = f"CREATE DATABASE {quoted(record.database)} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    with reported_as_damage("cannot make a scratch database"), login.connected() as connection:
        connection.cursor().execute(f"{create} ENCODING {literal(record.encoding)}")


def table_of_contents(copy: Path, programs: Programs) -> list[str]:
    """What pg_restore finds in a dump, a line each. Raises ValidationError."""
    ended = run([programs.path("pg_restore"), "--list", copy / "dump"], seconds=600)
    lines = [line for line in ended.out.splitlines() if line and not line.startswith(";")]
    if ended.code != 0 or not lines:
        raise ValidationError(
            "cannot read the dump: its table of contents is missing, cut off or empty", hint=DAMAGED
        )
    return lines


def _faults(text: str) -> Iterator[RestoreFault]:
    """What pg_restore's messages say, one for each statement that failed."""
    for message in re.split(r"^pg_restore: ", text, flags=re.MULTILINE):
        if not message.startswith("error: "):
            continue
        reason = code_fault(message) or reason_in(message) or "its text may quote a row: try it by hand"
        kind, name = _object(message)
        yield RestoreFault(kind, name, reason)


def _object(message: str) -> tuple[str, str]:
    """Kind and name of what failed, for words."""
    rows = re.match(rf"error: COPY failed for table ({_NAME})", message)
    if rows:
        return "rows of", rows[1]
    command = message.partition("Command was: ")[2]
    for pattern, kind in _COMMANDS:
        found = pattern.match(command)
        if found:
            named = found.groupdict()
            return kind or named["kind"].lower(), _full(named["name"], named.get("of"), kind)
    return "part", "of the dump"


def _full(name: str, of: str | None, kind: str) -> str:
    """A name with the schema of the table it belongs to; a constraint's with the table."""
    if of is None:
        return name
    if kind == "constraint":
        return f"{name} of {of}"
    return f"{of.rpartition('.')[0]}.{name}" if "." in of else name


def _refuse(ended: Ended, faults: Sequence[RestoreFault]) -> None:
    """Raise a ValidationError where more failed than what can be made again from what came back."""
    worst = [str(fault) for fault in faults if fault.kind not in _MADE_AGAIN]
    if ended.code == 0 or (faults and not worst):
        return
    known = _known(ended.err)
    if known or not worst:
        raise ValidationError(
            f"cannot restore the dump into a scratch database: "
            f"{known or f'pg_restore ended with status {ended.code}'}",
            hint=DAMAGED,
        )
    more = f" and {len(worst) - MOST_NAMED} more" if len(worst) > MOST_NAMED else ""
    raise ValidationError(
        f"cannot restore from the dump: {', '.join(worst[:MOST_NAMED])}{more}. {ANOTHER_WAY}", hint=DAMAGED
    )


def _known(text: str) -> str:
    """What is wrong with this machine or with the dump as a whole, "" if nothing of the kind is said."""
    if "No space left on device" in text:
        return "the disk is full"
    extension = re.search(r'extension "([\w-]+)" is not available', text)
    if extension:
        return f"the extension {extension[1]} is not installed on this machine"
    if re.search(r"could not open (?:input )?file|could not read|No such file", text):
        return "a file of the dump is missing or cannot be read"
    return ""
