"""SQL Anywhere against the contract of source_contract.py, on the stand-in for its programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.source_contract import SourceCase, SourceContract, fresh, snapshot
from tests.contract.sqlanywhere_office import commits_in, database_of, installed, number, office, started
from tests.standins.sqlanywhere.install import StandIn
from tests.standins.sqlanywhere.production import Production, damage_row


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with installed(tmp_path_factory.mktemp("install") / "sqlanywhere17") as found:
        yield found


@pytest.fixture
def production(standin: StandIn, tmp_path: Path) -> Iterator[Production]:
    with standin.production(tmp_path / "data") as running:
        yield running


class TestSqlanywhere(SourceContract):
    @pytest.fixture
    def case(self, standin: StandIn, production: Production) -> SourceCase:
        return SourceCase(
            source=office(standin),
            missing=office(standin, server="nobody_home"),
            writer=production.writer,
            damage=lambda copy: damage_row(database_of(copy)),
            open_restored=lambda path: started(standin, path),
            commits_in=commits_in,
        )

    def test_commits_pass_while_the_copy_is_made(
        self, standin: StandIn, case: SourceCase, tmp_path: Path
    ) -> None:
        standin.fault("dbbackup", pause=0.05)
        try:
            with case.writer() as writer:
                before = writer.commits
                case.source.copy_live(fresh(tmp_path / "copy"))
                assert writer.commits > before + 2
        finally:
            standin.clear_faults()
        assert all(
            finding.passed for finding in case.source.validate(tmp_path / "copy", fresh(tmp_path / "v"))
        )


def test_by_dsn_with_an_account_that_may_only_back_up(
    standin: StandIn, production: Production, tmp_path: Path
) -> None:
    """The usual setting: DSN SOSDATA, a backup user; another account reads the copies."""
    source = office(
        standin,
        "BU_BILL",
        dsn="SOSDATA",
        server=None,
        database_name=None,
        read_user="CHECKER",
        read_password="env:SQLANYWHERE_TEST_CHECKER",
    )
    copy, scratch = fresh(tmp_path / "copy"), fresh(tmp_path / "v")
    assert source.check().version.startswith("17.")
    source.copy_live(copy)
    assert all(finding.passed for finding in source.validate(copy, scratch))
    with source.open(copy, scratch) as connection:
        assert number(connection, 'SELECT COUNT(*) FROM "DBA"."patients"') == 3
        assert number(connection, 'SELECT COUNT(*) FROM "sos"."notes"') == 3


def test_tables_of_every_owner_and_what_else_must_come_back(
    standin: StandIn, production: Production, tmp_path: Path
) -> None:
    production.execute("CREATE PROCEDURE DBA.count_visits() BEGIN SELECT COUNT(*) FROM visits END")
    source, copy = office(standin), fresh(tmp_path / "copy")
    source.copy_live(copy)
    with source.open(copy, fresh(tmp_path / "o")) as connection:
        tables = {table.name: table for table in source.tables(connection)}
        extra = {
            name: number(connection, f"SELECT COUNT(*) FROM {table.reference}")
            for name, table in tables.items()
            if name.startswith("(")
        }
    assert extra == {"(procedures)": 1, "(triggers)": 1, "(views)": 1}
    assert {"DBA.notes", "sos.notes", "sos.documents", "DBA.patients"} < tables.keys()
    assert tables["sos.notes"].reference == '"sos"."notes"'
    assert tables["DBA.patients"].columns == ('"id"', '"name"', '"born"')


def test_tables_that_belong_to_the_account_number_one(standin: StandIn, tmp_path: Path) -> None:
    """DBA's number; a catalogue query that leaves it out would find no table at all."""
    with standin.production(tmp_path / "data", rows=10, dba_id=1):
        source, copy = office(standin), fresh(tmp_path / "copy")
        source.copy_live(copy)
        with source.open(copy, fresh(tmp_path / "o")) as connection:
            assert "DBA.patients" in [table.name for table in source.tables(connection)]


def test_restored_files_are_those_that_dbbackup_wrote(
    standin: StandIn, production: Production, tmp_path: Path
) -> None:
    source, copy = office(standin), fresh(tmp_path / "copy")
    source.copy_live(copy)
    restored = source.restore(copy, tmp_path / "place")
    assert restored == tmp_path / "place" / "sosdata.db"
    assert snapshot(tmp_path / "place") == snapshot(copy / "database")
    assert snapshot(tmp_path / "place").keys() == {"sosdata.db", "documents.db", "sosdata.log"}


def test_on_a_bare_machine(
    standin: StandIn, production: Production, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No plan: programs from where the machine says, the account from the environment."""
    from tasks.errors import ValidationError
    from tasks.sources.registry import source_for_copies

    copy, bare = fresh(tmp_path / "copy"), source_for_copies("sqlanywhere")
    office(standin).copy_live(copy)
    production.stop()
    monkeypatch.delenv("SQLANY17", raising=False)
    findings = bare.validate(copy, fresh(tmp_path / "v1"))
    assert [finding.check for finding in findings if not finding.passed] == ["engine"]
    assert "DATASAVE_SQLANYWHERE_USER" in findings[-1].detail
    monkeypatch.setenv("DATASAVE_SQLANYWHERE_USER", "CHECKER")
    monkeypatch.setenv("DATASAVE_SQLANYWHERE_PASSWORD", "chEck=17 it")
    findings = bare.validate(copy, fresh(tmp_path / "v2"))
    assert "SQL Anywhere 17 is not on this machine" in findings[-1].detail
    with pytest.raises(ValidationError, match="not on this machine"), bare.open(copy, tmp_path / "v2"):
        pass
    monkeypatch.setenv("SQLANY17", str(standin.folder))
    assert all(finding.passed for finding in bare.validate(copy, fresh(tmp_path / "v3")))
    with bare.open(copy, tmp_path / "v3") as connection:
        assert number(connection, 'SELECT COUNT(*) FROM "DBA"."patients"') == 3
    assert bare.restore(copy, tmp_path / "place").is_file()


@pytest.mark.slow
def test_every_assumption_holds_on_the_stand_in(
    standin: StandIn, production: Production, tmp_path: Path
) -> None:
    before = standin.servers()
    findings = office(standin).conformance(fresh(tmp_path / "scratch"))
    for finding in findings:
        print(f"{finding.check}: {finding.detail}")
    assert [finding.check for finding in findings if not finding.passed] == []
    assert len(findings) == 25
    assert standin.servers() == before
