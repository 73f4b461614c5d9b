"""Each engine against the contract of source_contract.py."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tasks.sources.sqlite.source import SqliteOptions, SqliteSource
from tests.contract.source_contract import SourceCase, SourceContract, fresh
from tests.contract.sqlite_ledger import create_ledger, damage_text, writing


def sqlite_case(database: Path) -> SourceCase:
    return SourceCase(
        source=SqliteSource(SqliteOptions(path=database)),
        missing=SqliteSource(SqliteOptions(path=database.with_name("gone.db"))),
        writer=lambda: writing(database),
        damage=lambda copy: damage_text(copy / database.name),
        open_restored=lambda path: closing(_as_bytes(sqlite3.connect(path))),
    )


def _as_bytes(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.text_factory = bytes
    return connection


class TestSqliteWal(SourceContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> SourceCase:
        return sqlite_case(create_ledger(tmp_path / "clinic.db", "wal"))

    def test_commits_pass_while_the_copy_is_made(self, case: SourceCase, tmp_path: Path) -> None:
        passed: list[bool] = []
        with case.writer() as writer:
            case.source.copy_live(
                fresh(tmp_path / "copy"),
                lambda _done, _total: passed.append(len(passed) > 2 or writer.wait_for_commit(10)),
            )
        assert len(passed) >= 3
        assert all(passed)


class TestSqliteRollbackJournal(SourceContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> SourceCase:
        return sqlite_case(create_ledger(tmp_path / "clinic.db", "delete"))

    def test_copy_restarts_then_holds_the_lock(self, case: SourceCase, tmp_path: Path) -> None:
        """Commits between the first steps make it start over; then the lock keeps them out."""
        copy = fresh(tmp_path / "copy")
        done: list[int] = []
        let_through: list[bool] = []
        with case.writer() as writer:

            def progress(now: int, _total: int) -> None:
                done.append(now)
                if len(done) <= 8:
                    let_through.append(writer.wait_for_commit(10 if len(done) <= 4 else 0.25))

            case.source.copy_live(copy, progress)
        assert sum(later <= earlier for earlier, later in itertools.pairwise(done)) >= 3
        assert let_through[:4] == [True] * 4
        assert let_through[-1] is False
        assert all(finding.passed for finding in case.source.validate(copy, fresh(tmp_path / "v")))
