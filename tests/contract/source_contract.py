"""What every source must do, run by each engine against the real thing.

To plug in an engine (tasks/sources/README.md has all steps), add test_source_<kind>.py::

    class TestMyEngine(SourceContract):
        @pytest.fixture
        def case(self, tmp_path: Path) -> Iterator[SourceCase]:
            ...start the engine, create the ledger (below), fill it...
            yield SourceCase(source=..., missing=..., ...)
            ...stop it...

The ledger is four tables that any torn copy shows in: ``entries(id, amount)``, ``left_half(id, value,
filler)`` and ``right_half(id, value, filler)`` of a few megabytes together, ``counter(commits)`` with one
row. Each commit adds two entries that sum to zero, gives one id the same new value in both halves, and
counts itself. ``SourceCase.writer`` starts a *separate process* that commits about 20 times a second and
prints each commit's duration (sqlite_writer.py is one; ``running_writer`` follows it). A source without
SQL keeps the same promise in its own form and gives its own ``assert_consistent``.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tasks.checks.measure import profile
from tasks.errors import SourceError, SourceMissing, ValidationError
from tasks.records import Profile
from tasks.sources.base import Source

COMMITS_DURING_COPY = 6


class Writer:
    """A running writer: how many commits it has made, and how long each took."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self._news = threading.Condition()

    def follow(self, lines: Any) -> None:
        """Collect durations, a line each, until the writer ends."""
        for line in lines:
            with self._news:
                self.waits.append(float(line))
                self._news.notify_all()

    @property
    def commits(self) -> int:
        return len(self.waits)

    def wait_for_commit(self, seconds: float) -> bool:
        """Wait until one more commit is made; False if none is within ``seconds``."""
        with self._news:
            before = len(self.waits)
            return self._news.wait_for(lambda: len(self.waits) > before, timeout=seconds)


@contextmanager
def running_writer(command: list[str]) -> Iterator[Writer]:
    """Run a writer program beside the block; it ends when its standard input is closed."""
    writer = Writer()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        follower = threading.Thread(target=writer.follow, args=(process.stdout,))
        follower.start()
        try:
            assert writer.wait_for_commit(30), "the writer never committed"
            yield writer
        finally:
            assert process.stdin is not None
            process.stdin.close()
            follower.join(90)
    assert process.returncode == 0, "the writer failed"


def one_value(connection: Any, sql: str) -> Any:
    cursor = connection.cursor()
    cursor.execute(sql)
    return cursor.fetchone()[0]


def ledger_commits(connection: Any) -> int:
    """How many of the writer's commits a copy holds; fails where it holds half of one."""
    commits = int(one_value(connection, "SELECT commits FROM counter"))
    assert one_value(connection, "SELECT COALESCE(SUM(amount), 0) FROM entries") == 0
    assert one_value(connection, "SELECT COUNT(*) FROM entries") == 2 * commits
    apart = "SELECT COUNT(*) FROM left_half l JOIN right_half r ON l.id = r.id WHERE l.value <> r.value"
    assert one_value(connection, apart) == 0
    return commits


@dataclass
class SourceCase:
    """One engine under test. The callables get folders that the source itself has written.

    ``writer`` commits while the copy is made. ``damage`` alters three bytes of a row inside a copy.
    ``open_restored`` opens what ``restore`` returned. ``commits_in`` reads the ledger of an open copy.
    """

    source: Source
    missing: Source
    writer: Callable[[], AbstractContextManager[Writer]]
    damage: Callable[[Path], None]
    open_restored: Callable[[Path], AbstractContextManager[Any]]
    commits_in: Callable[[Any], int] = field(default=ledger_commits)


def fresh(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    return folder


def snapshot(folder: Path) -> dict[str, str]:
    """Every file below ``folder`` with its sha256."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


class SourceContract:
    """The tests; a subclass gives the fixture ``case``."""

    def _profile(self, case: SourceCase, copy: Path, scratch: Path) -> Profile:
        with case.source.open(copy, scratch) as connection:
            return profile(connection, case.source.tables(connection))

    def test_check_tells_what_answered(self, case: SourceCase) -> None:
        engine = case.source.check()
        assert engine.kind == case.source.kind
        assert engine.version
        assert engine.bytes > 1_000_000
        # Empty where the account may not know it.
        assert not engine.data or Path(engine.data).exists()

    def test_copy_beside_a_writer_is_consistent(self, case: SourceCase, tmp_path: Path) -> None:
        copy, calls = fresh(tmp_path / "copy"), 0
        with case.writer() as writer:

            def progress(done: int, total: int) -> None:
                # Commits fall into the copy, wherever the engine lets them through.
                nonlocal calls
                calls += 1
                if calls <= COMMITS_DURING_COPY:
                    writer.wait_for_commit(0.25)

            before = writer.commits
            case.source.copy_live(copy, progress)
            after = writer.commits
            assert writer.wait_for_commit(30), "the writer does not go on after the copy"
        assert calls > 1
        assert all(finding.passed for finding in case.source.validate(copy, fresh(tmp_path / "v")))
        with case.source.open(copy, fresh(tmp_path / "o")) as connection:
            held = case.commits_in(connection)
        # One commit may have been made but not yet read from the writer's output.
        assert before <= held <= after + 1
        print(f"{after - before} commits during the copy, a writer's worst wait {max(writer.waits):.3f} s")

    def test_copy_lists_exactly_its_files(self, case: SourceCase, tmp_path: Path) -> None:
        folder = fresh(tmp_path / "copy")
        copy = case.source.copy_live(folder)
        assert {file.path: file.sha256 for file in copy.files} == snapshot(folder)
        assert copy.folder == folder
        assert copy.bytes == sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        assert copy.started <= copy.finished
        assert copy.started.tzinfo is not None
        if os.name == "posix":
            assert {file.stat().st_mode & 0o777 for file in folder.rglob("*") if file.is_file()} == {0o600}

    def test_progress_counts_bytes_to_the_end(self, case: SourceCase, tmp_path: Path) -> None:
        seen: list[tuple[int, int]] = []
        copy = case.source.copy_live(fresh(tmp_path / "copy"), lambda done, total: seen.append((done, total)))
        done = [done for done, _ in seen]
        assert done == sorted(done)
        assert done[-1] == seen[-1][1]
        assert done[-1] == pytest.approx(copy.bytes, rel=0.1)

    def test_validate_and_open_leave_the_copy_as_it_is(self, case: SourceCase, tmp_path: Path) -> None:
        folder = fresh(tmp_path / "copy")
        case.source.copy_live(folder)
        before = snapshot(folder)
        findings = case.source.validate(folder, fresh(tmp_path / "v"))
        assert findings
        assert all(finding.passed for finding in findings)
        assert snapshot(folder) == before
        first = self._profile(case, folder, fresh(tmp_path / "o"))
        assert snapshot(folder) == before
        assert first.rows > 0
        assert self._profile(case, folder, fresh(tmp_path / "o2")) == first

    def test_restored_opens_and_is_the_same(self, case: SourceCase, tmp_path: Path) -> None:
        folder = fresh(tmp_path / "copy")
        case.source.copy_live(folder)
        restored = case.source.restore(folder, tmp_path / "new" / "place")
        assert restored.is_relative_to(tmp_path / "new" / "place")
        expected = self._profile(case, folder, fresh(tmp_path / "o"))
        with case.open_restored(restored) as connection:
            case.commits_in(connection)
            assert profile(connection, case.source.tables(connection)) == expected

    def test_restore_refuses_a_place_that_holds_anything(self, case: SourceCase, tmp_path: Path) -> None:
        folder, place = fresh(tmp_path / "copy"), fresh(tmp_path / "place")
        case.source.copy_live(folder)
        (place / "letter.txt").write_text("mine")
        before = snapshot(place)
        with pytest.raises(SourceError, match="not empty") as caught:
            case.source.restore(folder, place)
        assert caught.value.hint
        assert snapshot(place) == before

    def test_missing_source(self, case: SourceCase, tmp_path: Path) -> None:
        folder = fresh(tmp_path / "copy")
        for attempt in (case.missing.check, lambda: case.missing.copy_live(folder)):
            with pytest.raises(SourceMissing) as caught:
                attempt()
            assert caught.value.hint
        assert snapshot(folder) == {}

    def test_three_damaged_bytes_are_caught(self, case: SourceCase, tmp_path: Path) -> None:
        folder = fresh(tmp_path / "copy")
        case.source.copy_live(folder)
        before, whole = snapshot(folder), self._profile(case, folder, fresh(tmp_path / "o"))
        case.damage(folder)
        assert snapshot(folder) != before
        findings = case.source.validate(folder, fresh(tmp_path / "v"))
        if all(finding.passed for finding in findings):
            assert self._profile(case, folder, fresh(tmp_path / "o2")) != whole

    def test_truncated_copy_is_a_finding(self, case: SourceCase, tmp_path: Path) -> None:
        folder = fresh(tmp_path / "copy")
        copy = case.source.copy_live(folder)
        largest = max(copy.files, key=lambda file: file.bytes)
        os.truncate(folder / largest.path, largest.bytes // 2)
        findings = case.source.validate(folder, fresh(tmp_path / "v"))
        assert any(not finding.passed for finding in findings)

    def test_no_copy_is_a_finding_and_does_not_open(self, case: SourceCase, tmp_path: Path) -> None:
        nothing = fresh(tmp_path / "copy")
        assert any(not finding.passed for finding in case.source.validate(nothing, fresh(tmp_path / "v")))
        with pytest.raises(ValidationError), case.source.open(nothing, fresh(tmp_path / "o")):
            pass
        assert snapshot(nothing) == {}
