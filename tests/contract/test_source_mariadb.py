"""MariaDB against the contract of source_contract.py, with accounts that have just the rights it asks for."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.mariadb_ledger import case_of, create_ledger
from tests.contract.source_contract import SourceCase, SourceContract, fresh
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

    def test_the_words_in_recover_are_true(self, case: SourceCase, tmp_path: Path) -> None:
        """The commands for a day without this program, on the files as they lie in an archive."""
        folder, place = fresh(tmp_path / "copy"), fresh(tmp_path / "place")
        case.source.copy_live(folder)
        commands = re.findall(r"`(mariadb-backup --[^`]+)`", case.source.after_restore)
        assert [command.split()[1] for command in commands] == ["--prepare", "--copy-back"]
        for command in commands:
            words = command.replace("/var/lib/mysql", str(place)).split()
            done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
            assert "completed OK!" in done.stderr
        with case.open_restored(place) as connection:
            case.commits_in(connection)


class TestMariadbDump(SourceContract):
    @pytest.fixture
    def case(self, ledger: MariadbServer, tmp_path: Path) -> SourceCase:
        return case_of(ledger, "dump", tmp_path)
