"""What is proven of a restored copy, and what stands already because its bytes are the copy's."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.backup.rehearse import Proof
from tasks.checks.measure import profile
from tasks.platform.files import private_folder
from tasks.records import Finding, Profile
from tasks.sources.shared.folders import copied_files
from tasks.sources.sqlite.source import SqliteOptions, SqliteSource


class Watched(SqliteSource):
    """SQLite, which notes how often its own check was asked for."""

    def __init__(self) -> None:
        super().__init__(SqliteOptions(path=Path("clinic.db"), foreign_keys="report"))
        self.checks = 0

    def validate(self, copy: Path, scratch: Path) -> list[Finding]:
        self.checks += 1
        return super().validate(copy, scratch)


class Dumping(Watched):
    """The same, whose copies count as statements that are run anew."""

    def is_dump(self, copy: Path) -> bool:
        return copy.is_dir()


class Desk:
    """A restored copy with its proof; ``findings`` judges it."""

    def __init__(self, root: Path, source: Watched) -> None:
        self.source = source
        self.scratch = private_folder(root / "scratch")
        self.restored = private_folder(root / "restored")
        self.file = self.restored / "clinic.db"
        with closing(sqlite3.connect(self.file)) as made, made:
            made.execute("CREATE TABLE visits (id INTEGER PRIMARY KEY, note TEXT)")
            made.execute("CREATE TABLE ledger (id INTEGER)")
            made.executemany("INSERT INTO visits (note) VALUES (?)", [(f"note {n}",) for n in range(500)])
        with source.open(self.restored, self.scratch) as connection:
            self.recorded = profile(connection, source.tables(connection))
        self.files = copied_files(self.restored)

    def findings(self, *, checked: bool) -> tuple[Finding, ...]:
        proof = Proof(self.files, self.recorded, (), datetime.now(UTC))
        return proof.of(self.source, self.restored, self.scratch, checked=checked)

    def sql(self, statement: str) -> None:
        with closing(sqlite3.connect(self.file)) as opened, opened:
            opened.execute(statement)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Profile]:
    """The profiles that were taken, in order: each reads every row."""
    taken: list[Profile] = []

    def noted(*arguments: object) -> Profile:
        taken.append(profile(*arguments))  # type: ignore[arg-type]
        return taken[-1]

    monkeypatch.setattr("tasks.backup.rehearse.profile", noted)
    return taken


def passed(findings: tuple[Finding, ...]) -> list[str]:
    assert all(finding.passed for finding in findings), findings
    return [finding.check for finding in findings]


def test_what_was_proven_of_the_same_bytes_stands(tmp_path: Path, measured: list[Profile]) -> None:
    desk = Desk(tmp_path, Watched())
    checks = passed(desk.findings(checked=True))
    assert checks == ["files identical", "same bytes", "row count", "row count", "restored copy opens"]
    assert desk.source.checks == 0 and measured == []


def test_on_another_day_the_engine_checks_the_same_bytes_anew(
    tmp_path: Path, measured: list[Profile]
) -> None:
    desk = Desk(tmp_path, Watched())
    checks = passed(desk.findings(checked=False))
    assert {"same bytes", "integrity", "row count"} <= set(checks)
    assert desk.source.checks == 1 and measured == []


@pytest.mark.parametrize("checked", [True, False])
def test_the_rows_of_a_dump_are_read_though_its_file_is_the_same(
    tmp_path: Path, measured: list[Profile], checked: bool
) -> None:
    desk = Desk(tmp_path, Dumping())
    checks = passed(desk.findings(checked=checked))
    assert "same bytes" not in checks and checks.count("content") == 2
    assert desk.source.checks == 1 and len(measured) == 1


def one_byte(desk: Desk) -> None:
    data = bytearray(desk.file.read_bytes())
    data[data.index(b"note 250") + 5] ^= 1
    desk.file.write_bytes(data)


def an_unused_byte(desk: Desk) -> None:
    """In no row and no page's structure: the engine cannot know of it."""
    data = bytearray(desk.file.read_bytes())
    data[70] ^= 1
    desk.file.write_bytes(data)


def a_row_less(desk: Desk) -> None:
    desk.sql("DELETE FROM visits WHERE id = 7")


def a_table_less(desk: Desk) -> None:
    desk.sql("DROP TABLE visits")


def cut_off(desk: Desk) -> None:
    desk.file.write_bytes(desk.file.read_bytes()[:5000])


def a_file_more(desk: Desk) -> None:
    (desk.restored / "clinic.db-journal").write_bytes(b"x")


def gone(desk: Desk) -> None:
    desk.file.unlink()


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize(
    "damage", [one_byte, an_unused_byte, a_row_less, a_table_less, cut_off, a_file_more, gone]
)
def test_no_proof_stands_for_other_bytes(
    tmp_path: Path, measured: list[Profile], damage: Callable[[Desk], None], checked: bool
) -> None:
    desk = Desk(tmp_path, Watched())
    damage(desk)
    findings = desk.findings(checked=checked)
    failed = {finding.check for finding in findings if not finding.passed}
    assert "files identical" in failed
    assert "same bytes" not in {finding.check for finding in findings}
    assert desk.source.checks == 1, "the engine says what is wrong"
    if damage in (one_byte, a_row_less, a_table_less):
        assert "visits" in {finding.table for finding in findings if not finding.passed}
        assert len(measured) == 1


def test_a_table_that_cannot_be_counted_is_no_good_copy(tmp_path: Path) -> None:
    """Whatever the bytes are: opening and counting are what a restore promises."""
    desk = Desk(tmp_path, Watched())
    desk.recorded = Profile(tables=desk.recorded.tables[:1])
    failed = [finding for finding in desk.findings(checked=True) if not finding.passed]
    assert [finding.table for finding in failed] == ["visits"]
