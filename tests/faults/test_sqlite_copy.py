"""What goes wrong while an SQLite database is copied: the fault is shown to have happened each time."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.errors import CopyError
from tasks.records import Progress
from tasks.sources.sqlite.source import SqliteOptions, SqliteSource
from tests.contract.source_contract import fresh, ledger_commits
from tests.contract.sqlite_ledger import create_ledger, writing


@pytest.fixture(params=["wal", "delete"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return create_ledger(fresh(tmp_path / "office") / "clinic.db", request.param)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB; the ledger has 4."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small disk")
    place = fresh(tmp_path / "disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def source_of(database: Path) -> SqliteSource:
    return SqliteSource(SqliteOptions(path=database))


def assert_copies_now(database: Path, tmp_path: Path) -> None:
    folder = fresh(tmp_path / "second")
    source = source_of(database)
    source.copy_live(folder)
    assert all(finding.passed for finding in source.validate(folder, folder))
    with source.open(folder, folder) as connection:
        ledger_commits(connection)


def test_staging_disk_full(database: Path, small_disk: Path, tmp_path: Path) -> None:
    staging, least_free = fresh(small_disk / "copy"), [1 << 40]

    def watch(_done: int, _total: int) -> None:
        least_free.append(shutil.disk_usage(small_disk).free)

    with pytest.raises(CopyError, match="SQLITE_FULL") as caught:
        source_of(database).copy_live(staging, watch)
    assert min(least_free) < 1 << 20
    assert "space" in caught.value.hint
    assert not list(staging.iterdir())
    assert_copies_now(database, tmp_path)


def moved(database: Path) -> None:
    database.rename(database.with_name("moved.db"))


def replaced(database: Path) -> None:
    other = create_ledger(database.with_name("other.db"), "delete", rows=10)
    other.replace(database)


def cut(database: Path) -> None:
    os.truncate(database, 4096 * 3)


def strike_once(fault: Callable[[Path], None], database: Path, fired: list[int]) -> Progress:
    """A progress that breaks the source after the first step."""

    def strike(done: int, total: int) -> None:
        if not fired:
            assert done < total
            fault(database)
            fired.append(done)

    return strike


@pytest.mark.skipif(os.name != "posix", reason="Windows lets nobody move an open database")
@pytest.mark.parametrize(("fault", "words"), [(moved, "vanished"), (replaced, "another file")])
def test_source_lost_in_mid_copy(
    database: Path, tmp_path: Path, fault: Callable[[Path], None], words: str
) -> None:
    staging = fresh(tmp_path / "copy")
    fired: list[int] = []
    with pytest.raises(CopyError, match=words) as caught:
        source_of(database).copy_live(staging, strike_once(fault, database, fired))
    assert fired
    assert caught.value.hint
    assert not list(staging.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="Windows lets nobody cut an open database")
def test_source_cut_in_mid_copy(database: Path, tmp_path: Path) -> None:
    """SQLite may take the missing pages for zeros: then it is the validation that catches it."""
    staging = fresh(tmp_path / "copy")
    fired: list[int] = []
    source = source_of(database)
    try:
        source.copy_live(staging, strike_once(cut, database, fired))
    except CopyError:
        assert not list(staging.iterdir())
    else:
        assert any(not finding.passed for finding in source.validate(staging, staging))
    assert fired


def test_killed_in_mid_copy(database: Path, tmp_path: Path) -> None:
    """The killed copy's locks are gone, the writer goes on, the next copy is whole."""
    staging = fresh(tmp_path / "copy")
    program = (
        "import sys; from pathlib import Path; from tasks.sources.sqlite.source import *;"
        "SqliteSource(SqliteOptions(path=Path(sys.argv[1]))).copy_live("
        "Path(sys.argv[2]), lambda done, total: (print(done, total, flush=True), sys.stdin.read()))"
    )
    with writing(database) as writer:
        command = [sys.executable, "-c", program, str(database), str(staging)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as copying:
            assert copying.stdout is not None
            done, total = map(int, copying.stdout.readline().split())
            copying.kill()
        assert 0 < done < total
        assert copying.returncode != 0
        assert writer.wait_for_commit(30)
        assert_copies_now(database, tmp_path)
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
