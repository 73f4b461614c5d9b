"""MariaDB against the contract of source_contract.py, with accounts that have just the rights it asks for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.mariadb_ledger import case_of, create_ledger
from tests.contract.source_contract import SourceCase, SourceContract
from tests.servers.mariadb import MariadbServer, mariadb_server


@pytest.fixture(scope="module")
def server() -> Iterator[MariadbServer]:
    with mariadb_server("--debug-no-sync") as running:
        yield running


@pytest.fixture(scope="class")
def ledger(server: MariadbServer) -> MariadbServer:
    create_ledger(server)
    return server


class TestMariadbPhysical(SourceContract):
    @pytest.fixture
    def case(self, ledger: MariadbServer, tmp_path: Path) -> SourceCase:
        return case_of(ledger, "physical", tmp_path)


class TestMariadbDump(SourceContract):
    @pytest.fixture
    def case(self, ledger: MariadbServer, tmp_path: Path) -> SourceCase:
        return case_of(ledger, "dump", tmp_path)
