"""Offices on every engine, for tests of whole runs: the plan's source, its secrets, how it is restored."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.sources.base import Source
from tests.contract import mariadb_ledger, postgresql_ledger, sqlanywhere_office, sqlserver_ledger
from tests.contract.source_contract import Writer, ledger_commits
from tests.servers.mariadb import mariadb_server
from tests.servers.postgresql import ACCOUNTS, SUPERUSER, PostgresqlServer, postgresql_server, started
from tests.standins.sqlanywhere.production import PASSWORDS

SMALL = 2_000
"""Rows in each half of the ledger: 4 MB."""


@dataclass(frozen=True)
class Engine:
    """An engine in production with the ledger in it (tests/contract/source_contract.py says what that is).

    ``secrets`` are the passwords that nobody may see, ``programs`` those that a run must have started.
    ``opened`` takes what a restore returned and gives a connection to it under a fresh server.
    """

    options: dict[str, Any]
    secrets: tuple[str, ...]
    programs: frozenset[str]
    writer: Callable[[], AbstractContextManager[Writer]]
    opened: Callable[[Path], AbstractContextManager[Any]]
    commits: Callable[[Any], int] = ledger_commits


@contextmanager
def engine(name: str, folder: Path, rows: int = SMALL) -> Iterator[Engine]:
    """The engine of that name, as in ENGINES, for the length of the block."""
    with _ENGINES[name](folder, rows) as made:
        yield made


def options_of(source: Source) -> dict[str, Any]:
    """A source's options as they stand in a plan."""
    given: dict[str, Any] = source._options.model_dump(mode="json", exclude_none=True)  # type: ignore[attr-defined]
    return given


@contextmanager
def _postgresql(method: str, rows: int) -> Iterator[Engine]:
    with postgresql_server() as server:
        database = postgresql_ledger.create_ledger(server, "clinic", rows)
        source = server.source(method, database)
        programs = {
            "physical": {"pg_basebackup", "pg_verifybackup", "postgres", "pg_amcheck"},
            "logical": {"pg_dump", "pg_restore", "postgres", "initdb"},
        }
        opened = _data_folder if method == "physical" else _dump
        yield Engine(
            options=options_of(source),
            secrets=tuple(ACCOUNTS.values()),
            programs=frozenset(programs[method]),
            writer=lambda: postgresql_ledger.writing(server, database),
            opened=lambda path: opened(server, path),
        )


@contextmanager
def _data_folder(server: PostgresqlServer, data: Path) -> Iterator[Any]:
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as sockets,
        started(data, Path(sockets)),
        _postgresql_connection(sockets, 5432, server, "clinic") as connection,
    ):
        yield connection


@contextmanager
def _dump(server: PostgresqlServer, dump: Path) -> Iterator[Any]:
    """Into a server that never saw the database."""
    with postgresql_server() as fresh:
        fresh.program("createdb", "-T", "template0", "back")
        fresh.program("pg_restore", "--no-owner", "--no-privileges", "-d", "back", dump)
        with _postgresql_connection(fresh.host, fresh.port, fresh, "back") as connection:
            yield connection


@contextmanager
def _postgresql_connection(host: Any, port: int, server: PostgresqlServer, database: str) -> Iterator[Any]:
    from tasks.sources.postgresql.connection import PostgresqlLogin

    pass_file = server.folder / f"{SUPERUSER}.pass"
    with PostgresqlLogin(str(host), port, SUPERUSER, database, pass_file=pass_file).connected() as connection:
        yield connection


@contextmanager
def _mariadb(method: str, folder: Path, rows: int) -> Iterator[Engine]:
    # What is measured is whether the backup holds up commits, not how the disk takes their fsync beside it.
    with mariadb_server("--debug-no-sync") as server:
        mariadb_ledger.create_ledger(server, rows)
        source = mariadb_ledger.backup_account(server, method, folder / "mariadb.password")
        programs = {
            "physical": {"mariadb-backup", "mariadbd"},
            "dump": {"mariadb-dump", "mariadbd", "mariadb"},
        }
        yield Engine(
            options=options_of(source),
            secrets=(mariadb_ledger.PASSWORD,),
            programs=frozenset(programs[method]),
            writer=lambda: mariadb_ledger.writing(server),
            opened=mariadb_ledger.open_restored,
        )


@contextmanager
def _sqlanywhere(folder: Path) -> Iterator[Engine]:
    with ExitStack() as stack:
        standin = stack.enter_context(sqlanywhere_office.installed(folder / "sqlanywhere17"))
        production = stack.enter_context(standin.production(folder / "DATA"))
        yield Engine(
            options=options_of(sqlanywhere_office.office(standin)),
            secrets=(PASSWORDS["BU_BILL"], PASSWORDS["CHECKER"]),
            programs=frozenset({"dbbackup", "dbvalid", "dbeng17", "dbping"}),
            writer=production.writer,
            opened=lambda path: sqlanywhere_office.started(standin, path),
            commits=sqlanywhere_office.commits_in,
        )


@contextmanager
def _sqlserver(folder: Path) -> Iterator[Engine]:
    with sqlserver_ledger.ledger_site(folder) as site:
        source = site.source()

        @contextmanager
        def opened(path: Path) -> Iterator[Any]:
            with (
                tempfile.TemporaryDirectory() as scratch,
                source.open(path.parent, Path(scratch)) as connection,
            ):
                yield connection

        yield Engine(
            options=options_of(source),
            secrets=(site.secret.read_text(),),
            programs=frozenset(),
            writer=lambda: sqlserver_ledger.writing(site),
            opened=opened,
        )


_ENGINES: dict[str, Callable[[Path, int], AbstractContextManager[Engine]]] = {
    "postgresql physical": lambda _folder, rows: _postgresql("physical", rows),
    "postgresql logical": lambda _folder, rows: _postgresql("logical", rows),
    "mariadb physical": lambda folder, rows: _mariadb("physical", folder, rows),
    "mariadb dump": lambda folder, rows: _mariadb("dump", folder, rows),
    "sqlanywhere": lambda folder, _rows: _sqlanywhere(folder),
    "sqlserver": lambda folder, _rows: _sqlserver(folder),
}
REAL_SERVERS = [name for name in _ENGINES if name.partition(" ")[0] in ("postgresql", "mariadb")]
ENGINES = list(_ENGINES)
