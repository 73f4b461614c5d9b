"""SQL Server against the contract, on the stand-in of tests/standins/sqlserver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tasks.checks.measure import profile
from tests.contract.source_contract import SourceCase, SourceContract, fresh
from tests.contract.sqlite_ledger import damage_text
from tests.contract.sqlserver_ledger import DATABASE, Site, ledger_site, writing


class TestSqlserver(SourceContract):
    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[Site]:
        with ledger_site(fresh(tmp_path / "site")) as site:
            yield site

    @pytest.fixture
    def case(self, site: Site, tmp_path: Path) -> SourceCase:
        site.server.knobs.backup_seconds = 0.5
        source = site.source()

        def open_restored(path: Path) -> AbstractContextManager[Any]:
            return source.open(path.parent, fresh(tmp_path / "restored-scratch"))

        return SourceCase(
            source=source,
            missing=site.source(database="gone"),
            writer=lambda: writing(site),
            damage=lambda copy: damage_text(copy / "database.bak"),
            open_restored=open_restored,
        )

    def test_nothing_stays_on_the_server(self, case: SourceCase, site: Site, tmp_path: Path) -> None:
        base = site.server.find(DATABASE).differential_base
        copy, scratch = fresh(tmp_path / "copy"), fresh(tmp_path / "v")
        case.source.copy_live(copy)
        assert list(site.folder.iterdir()) == []
        assert all(finding.passed for finding in case.source.validate(copy, scratch))
        assert len(site.scratch_databases()) == 1
        with case.source.open(copy, scratch) as connection:
            assert len(site.scratch_databases()) == 1, "validate's database was not used"
            held = profile(connection, case.source.tables(connection))
        objects = {table.name: table.rows for table in held.tables if table.name.startswith("(")}
        assert objects == {"(functions)": 1, "(indexes)": 2, "(procedures)": 1, "(triggers)": 1, "(views)": 1}
        assert "lab.odd ]name" in [table.name for table in held.tables]
        assert site.scratch_databases() == []
        assert list(site.folder.iterdir()) == []
        assert site.server.find(DATABASE).differential_base == base
        assert not [sql for sql in site.server.statements if "REPLACE" in sql]
