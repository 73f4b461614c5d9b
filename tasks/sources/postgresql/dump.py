"""A dump restored into a scratch server, step by step as RECOVER.md says: roles, database, all that is in it.

What differs from a person's way: roles.sql goes to the server statement by statement, because psql would run
commands that a role's name may hold; and tablespaces lie in scratch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tasks.errors import ValidationError
from tasks.platform.files import private_folder, write_atomic
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
"""RECOVER.md gives these options too."""
MOST_NAMED = 5
_EXISTS = "42710"

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
# A restore goes on without these: they hold no row, and can be made again at any time.
_DERIVED = frozenset({"index", "contents of the materialized view", "security label of"})
_ABOUT_IT = re.compile(r"\d+; \d+ \d+ (?:DATABASE PROPERTIES|(?:ACL|COMMENT|SECURITY LABEL) - DATABASE) ")


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
        detail = f"{self}; a restore reports this and goes on. {_MADE_AGAIN[self.kind]}"
        return Finding(check=f"{self.kind} {self.name}", passed=False, unchecked=True, detail=detail)


_MADE_AGAIN = {
    "index": "Name schemas in the functions it uses, or make it by hand after a restore.",
    "contents of the materialized view": "It stays empty until a REFRESH MATERIALIZED VIEW succeeds.",
    "security label of": "Load its provider on the server before a restore.",
}


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
    with login.connected() as connection:
        connection.cursor().execute(f"CREATE ROLE {quoted(own_role(record))} SUPERUSER LOGIN")
    # A database's own settings hold while it is restored, but for what the scratch server must not load.
    options = {name: value for name, value in login.options.items() if name.endswith("_preload_libraries")}
    start = "template1" if record.database == "postgres" else "postgres"
    own = replace(login, user=own_role(record), database=start)
    with own.connected() as connection:
        _roles(connection, copy / "roles.sql")
        for number, name in enumerate(record.tablespaces):
            place = private_folder((scratch / f"tablespace{number}").absolute())
            connection.cursor().execute(f"CREATE TABLESPACE {quoted(name)} LOCATION {literal(str(place))}")
        if record.database == "postgres":
            connection.cursor().execute("DROP DATABASE postgres")
    here = replace(own, options={**options, **AS_RECOVERED})
    return _restored(here, programs, record, copy, scratch)


def _roles(connection: Any, script: Path) -> None:
    """Run roles.sql; that a role exists already is no fault. Raises ValidationError."""
    import pyodbc

    text = _META.sub("", script.read_text("utf-8")) if script.is_file() else ""
    for statement in _STATEMENT.findall(text):
        try:
            connection.cursor().execute(statement)
        except pyodbc.Error as error:
            if sqlstate(error) == _EXISTS:
                continue
            raise ValidationError(
                f"cannot restore the roles: {reason_in(str(error)) or f'SQLSTATE {sqlstate(error)}'}",
                hint=DAMAGED,
            ) from None


def _restored(
    login: PostgresqlLogin, programs: Programs, record: CopyRecord, copy: Path, scratch: Path
) -> tuple[list[Finding], list[str]]:
    ended = _pg_restore(login, programs, copy, "--create")
    if ended.code == 0:
        return [], []
    faults = list(_faults(ended.err))
    if any(fault.kind == "database" for fault in faults):
        _create_plain(login, programs, record, copy, scratch)
        ended = _pg_restore(replace(login, database=record.database), programs, copy)
        faults = list(_faults(ended.err))
        notes = [f"this machine has no locale {record.collate}: restored with the locale C"]
    else:
        notes = []
    _refuse(ended, faults)
    return [fault.finding for fault in faults], notes


def _pg_restore(login: PostgresqlLogin, programs: Programs, copy: Path, *arguments: str | Path) -> Ended:
    command: list[str | Path] = [programs.path("pg_restore"), "-j", "2", "-w", "--no-subscriptions"]
    return run([*command, *arguments, "-d", login.database, copy / "dump"], environment=login.environment)


def _create_plain(
    login: PostgresqlLogin, programs: Programs, record: CopyRecord, copy: Path, scratch: Path
) -> None:
    """Make the database with the plain locale, then give it what the dump says of the database itself."""
    import pyodbc

    name = quoted(record.database)
    create = f"CREATE DATABASE {name} TEMPLATE template0 ENCODING {literal(record.encoding)}"
    try:
        with login.connected() as connection:
            connection.cursor().execute(f"{create} LC_COLLATE 'C' LC_CTYPE 'C'")
    except pyodbc.Error as error:
        raise ValidationError(
            f"cannot make a scratch database: {reason_in(str(error)) or f'SQLSTATE {sqlstate(error)}'}",
            hint=DAMAGED,
        ) from None
    listed = scratch / "list"
    run([programs.path("pg_restore"), "--list", "-f", listed, copy / "dump"], seconds=600)
    lines = [line for line in listed.read_text("utf-8").splitlines(keepends=True) if _ABOUT_IT.match(line)]
    if lines:
        write_atomic(listed, "".join(lines).encode())
        ended = _pg_restore(login, programs, copy, "--create", "-L", listed)
        _refuse(ended, list(_faults(ended.err)))


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
    worst = [str(fault) for fault in faults if fault.kind not in _DERIVED]
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
