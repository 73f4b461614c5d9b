"""PostgreSQL against the contract of source_contract.py, by both methods, with accounts of few rights."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tasks.sources.postgresql.connection import PostgresqlLogin
from tests.contract.postgresql_ledger import create_ledger, damage_text, writing
from tests.contract.source_contract import SourceCase, SourceContract
from tests.servers.postgresql import SUPERUSER, PostgresqlServer, one_initdb, postgresql, started

__all__ = ["one_initdb", "postgresql"]

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def template(postgresql: PostgresqlServer) -> str:
    return create_ledger(postgresql, "ledger")


@pytest.fixture
def database(postgresql: PostgresqlServer, template: str) -> Iterator[str]:
    """A ledger of its own for one test."""
    name = postgresql.create(f"clinic{next(NUMBERS)}", template)
    yield name
    postgresql.drop(name)


@contextmanager
def connected(server: PostgresqlServer, host: str, port: int, database: str) -> Iterator[Any]:
    """As the superuser, over ODBC."""
    here = PostgresqlLogin(host, port, SUPERUSER, database, pass_file=server.folder / f"{SUPERUSER}.pass")
    with here.connected() as connection:
        yield connection


class TestPhysical(SourceContract):
    @pytest.fixture
    def case(self, postgresql: PostgresqlServer, database: str) -> SourceCase:
        source = postgresql.source("physical", database)
        return SourceCase(
            source=source,
            missing=postgresql.source("physical", "gone"),
            writer=lambda: writing(postgresql, database),
            damage=damage_text,
            open_restored=lambda data: self.started(postgresql, data, database),
        )

    @contextmanager
    def started(self, server: PostgresqlServer, data: Path, database: str) -> Iterator[Any]:
        with (
            tempfile.TemporaryDirectory(dir="/tmp") as sockets,
            started(data, Path(sockets)),
            connected(server, sockets, 5432, database) as connection,
        ):
            yield connection


@pytest.mark.usefixtures("one_initdb")
class TestLogical(SourceContract):
    @pytest.fixture
    def case(self, postgresql: PostgresqlServer, database: str) -> SourceCase:
        return SourceCase(
            source=postgresql.source("logical", database, host=str(postgresql.sockets)),
            missing=postgresql.source("logical", database, port=1),
            writer=lambda: writing(postgresql, database),
            damage=damage_text,
            open_restored=lambda dump: self.restored(postgresql, dump),
        )

    @contextmanager
    def restored(self, server: PostgresqlServer, dump: Path) -> Iterator[Any]:
        """By the programs that RECOVER.md names."""
        name = f"restored{next(NUMBERS)}"
        server.program("createdb", "-T", "template0", name)
        try:
            server.program("pg_restore", "-j", "2", "-d", name, dump)
            with connected(server, server.host, server.port, name) as connection:
                yield connection
        finally:
            server.drop(name)
