"""Tries on a real SQL Server what the adapter relies on: one finding for each assumption.

SQL Server cannot be had for Datasave's tests, so the adapter was written from Microsoft's documentation. A
site runs this once, and after each upgrade. The database is backed up twice with COPY_ONLY and only looked at
beside that; a restore is made under a name of its own and dropped.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from tasks.errors import DatasaveError
from tasks.platform.files import private_folder, write_atomic
from tasks.records import Finding
from tasks.sources.sqlserver.catalog import user_tables
from tasks.sources.sqlserver.check import DatabaseState
from tasks.sources.sqlserver.connection import Row, ServerLogin, literal, query, run_to_end
from tasks.sources.sqlserver.copy import back_up, backup_in, backup_statement, percent_of
from tasks.sources.sqlserver.errors import SqlError
from tasks.sources.sqlserver.scratch import ScratchServer
from tasks.sources.sqlserver.validate import read_headers, verify

Outcome = tuple[bool, str]
_TOO_QUICK_SECONDS = 1.0


@dataclass
class Site:
    """The server under trial, the one for restores, and a private folder with the backup made for this."""

    login: ServerLogin
    scratch: ScratchServer
    database: str
    state: DatabaseState
    folder: Path
    before: list[Row] = field(default_factory=list)
    restored: str = ""

    @property
    def backup(self) -> Path:
        return backup_in(self.folder / "copy")


def try_everything(
    login: ServerLogin, scratch: ScratchServer, database: str, state: DatabaseState, folder: Path
) -> list[Finding]:
    """One finding for each assumption, in an order in which later ones can build on earlier ones."""
    site = Site(login, scratch, database, state, folder)
    try:
        return [_tried(name, attempt, site) for name, attempt in _ATTEMPTS]
    finally:
        if site.restored:
            scratch.drop(site.restored)


def _tried(name: str, attempt: Callable[[Site], Outcome], site: Site) -> Finding:
    try:
        passed, detail = attempt(site)
    except SqlError as error:
        numbers = ", ".join(str(number) for number in error.numbers) or error.state
        passed, detail = False, f"{error.fault.cause} ({numbers})"
    except DatasaveError as error:
        passed, detail = False, error.message
    return Finding(check=name, passed=passed, detail=detail)


def _fails_with(number: int, run: Callable[[], object]) -> Outcome:
    """Whether ``run`` ends in this error number."""
    try:
        run()
    except SqlError as error:
        numbers = ", ".join(str(each) for each in error.numbers) or error.state
        return error.has(number), f"error {numbers}"
    return False, "there was no error"


def _wrong_login(site: Site) -> Outcome:
    secret = site.folder / "wrong"
    write_atomic(secret, secrets.token_hex(16).encode())
    stranger = replace(site.login, user=f"datasave_{secrets.token_hex(4)}", password=f"file:{secret}")

    def connect() -> None:
        with stranger.connect():
            pass

    return _fails_with(18456, connect)


def _statement_fails(site: Site, number: int, sql: str) -> Outcome:
    with site.login.connect() as connection:
        return _fails_with(number, lambda: run_to_end(connection, sql))


def _missing_database(site: Site) -> Outcome:
    device = site.scratch.exchange.server_path("datasave_never.bak")
    return _statement_fails(site, 911, backup_statement(f"datasave_{secrets.token_hex(8)}", device))


def _missing_folder(site: Site) -> Outcome:
    exchange = site.scratch.exchange
    inner = replace(exchange, there=exchange.server_path(f"datasave_{secrets.token_hex(4)}"))
    return _statement_fails(site, 3201, backup_statement(site.database, inner.server_path("never.bak")))


def _backup_comes_over(site: Site) -> Outcome:
    site.before = _identity(site)
    exchange, seen = site.scratch.exchange, set(site.scratch.exchange.here.iterdir())
    copy = private_folder(site.folder / "copy")
    back_up(site.login, site.database, exchange, site.state, copy, lambda _done, _total: None)
    left = sorted(file.name for file in set(exchange.here.iterdir()) - seen)
    return (
        not left,
        f"left in the folder: {', '.join(left)}" if left else f"{site.backup.stat().st_size} bytes",
    )


def _percent_is_seen(site: Site) -> Outcome:
    """Another session sees how far a backup is; else progress is taken from the file's size alone."""
    most, began = 0.0, time.monotonic()
    with (
        site.scratch.exchange.reserved() as name,
        site.login.connect() as working,
        site.login.connect() as watching,
    ):
        session = int(query(working, "SELECT @@SPID AS session")[0]["session"])

        def watch() -> None:
            nonlocal most
            most = max(most, percent_of(watching, session))

        run_to_end(working, backup_statement(site.database, site.scratch.exchange.server_path(name)), watch)
    seconds = time.monotonic() - began
    if not most and seconds < _TOO_QUICK_SECONDS:
        return True, "too quick to see"
    return most > 0, f"{most:.0f}% seen" if most else "never seen: VIEW SERVER STATE is missing"


def _header_tells(site: Site) -> Outcome:
    row = read_headers(site.scratch, site.backup)[0]
    told = {name: bool(row[name]) for name in ("HasBackupChecksums", "IsCopyOnly", "IsDamaged")}
    wanted = {"HasBackupChecksums": True, "IsCopyOnly": True, "IsDamaged": False}
    return told == wanted, ", ".join(f"{name} {int(value)}" for name, value in told.items())


def _whole_is_verified(site: Site) -> Outcome:
    verify(site.scratch, site.backup)
    return True, "no error"


def _refuses(site: Site, data: bytes) -> Outcome:
    changed = site.folder / "changed.bak"
    write_atomic(changed, data)
    try:
        verify(site.scratch, changed)
    except SqlError as error:
        numbers = ", ".join(str(number) for number in error.numbers)
        return error.of_the_copy, f"error {numbers}"
    finally:
        changed.unlink()
    return False, "it was taken for whole"


def _altered_is_refused(site: Site) -> Outcome:
    data = bytearray(site.backup.read_bytes())
    data[len(data) // 2] ^= 0xFF
    return _refuses(site, bytes(data))


def _cut_is_refused(site: Site) -> Outcome:
    data = site.backup.read_bytes()
    return _refuses(site, data[: len(data) // 2])


def _restored_and_opened(site: Site) -> Outcome:
    site.restored = site.scratch.restore(site.backup)
    with site.scratch.login.connect(site.restored):
        return True, "restored under a name of its own, and opened"


def _identity(site: Site) -> list[Row]:
    """What must not change about the database when a copy of it is restored beside it."""
    with site.login.connect(site.database) as connection:
        where = f"WHERE name = {literal(site.database)}"
        return [
            *query(connection, f"SELECT database_id, state_desc, create_date FROM sys.databases {where}"),  # noqa: S608 - quoted
            *query(connection, "SELECT name, physical_name, differential_base_guid FROM sys.database_files"),
        ]


def _production_untouched(site: Site) -> Outcome:
    same = _identity(site) == site.before
    return same, "same files, same differential base" if same else "its files, its base or its state changed"


def _check_is_silent(site: Site) -> Outcome:
    with site.scratch.login.connect() as connection:
        asked = f"DBCC CHECKDB ({literal(site.restored)}) WITH NO_INFOMSGS, ALL_ERRORMSGS"
        rows = [row for result in run_to_end(connection, asked) for row in result]
    return not rows, f"{len(rows)} rows"


def _all_is_read(site: Site) -> Outcome:
    """A row of each table, so that each type of column was met."""
    with site.scratch.login.connect(site.restored) as connection:
        tables = user_tables(connection)
        for table in tables:
            asked = f"SELECT TOP (1) {', '.join(table.columns)} FROM {table.reference}"  # noqa: S608 - quoted names
            run_to_end(connection, asked)
    return True, f"{len(tables)} tables"


def _writes_are_refused(site: Site) -> Outcome:
    with site.scratch.login.connect(site.restored) as connection:
        probe = "CREATE TABLE [dbo].[datasave_probe] ([probe] int)"
        return _fails_with(3906, lambda: run_to_end(connection, probe))


def _dropped(site: Site) -> Outcome:
    name, site.restored = site.restored, ""
    site.scratch.drop(name)
    left = [file.name for file in site.scratch.exchange.here.iterdir() if file.name.startswith(name)]
    return not left, f"left: {', '.join(left)}" if left else "nothing is left of it"


_ATTEMPTS: list[tuple[str, Callable[[Site], Outcome]]] = [
    ("an unknown login is error 18456", _wrong_login),
    ("an unknown database is error 911", _missing_database),
    ("a folder that is not there is error 3201", _missing_folder),
    ("a backup comes over and leaves nothing behind", _backup_comes_over),
    ("another session sees how far a backup is", _percent_is_seen),
    ("the header says copy only, with checksums", _header_tells),
    ("VERIFYONLY takes a whole backup", _whole_is_verified),
    ("VERIFYONLY refuses a backup with an altered byte", _altered_is_refused),
    ("VERIFYONLY refuses half a backup", _cut_is_refused),
    ("a scratch restore can be opened by this login", _restored_and_opened),
    ("backup and restore left the database as it was", _production_untouched),
    ("CHECKDB says nothing about a whole database", _check_is_silent),
    ("every table can be read", _all_is_read),
    ("a read-only scratch database refuses changes", _writes_are_refused),
    ("a dropped scratch database leaves no files", _dropped),
]
