"""Programs of all engines are looked for in folders that this account may not even enter."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.backup.workspace import Workspace
from tasks.errors import SourceError, StateError
from tasks.platform.processes import find_program, is_program
from tasks.sources.mariadb.programs import Programs as MariadbPrograms
from tasks.sources.postgresql.programs import programs_for
from tasks.sources.sqlanywhere.programs import find_install
from tests.servers.account import another_account


@pytest.fixture
def forbidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The first folder of the PATH, which only its owner may enter."""
    folder = tmp_path / "bin"
    folder.mkdir(mode=0o700)
    for name in ("pg_basebackup", "mariadb-dump", "sh"):
        (folder / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.mark.parametrize(
    "look", [lambda: MariadbPrograms(None).find("mariadb-dump"), lambda: find_program("sh")]
)
def test_c6_a_folder_of_the_path_that_may_not_be_entered_is_skipped(
    forbidden: Path, look: Callable[[], Path]
) -> None:
    with another_account():
        assert look().parent != forbidden


def test_c6_postgresql_says_what_is_missing_where_a_folder_may_not_be_entered(forbidden: Path) -> None:
    with another_account(), pytest.raises(SourceError, match="pg_basebackup of PostgreSQL 99 are not in"):
        programs_for(("pg_basebackup",), lambda _: True, "99", forbidden)


def test_c6_an_installation_that_may_not_be_entered_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLANY17", str(tmp_path))
    with another_account(), pytest.raises(SourceError, match="SQL Anywhere 17 is not on this machine"):
        find_install(None, 17)
    assert is_program(Path(shutil.which("sh") or ""))


def test_c6_only_a_full_disk_asks_for_room(tmp_path: Path) -> None:
    """What the system refused for lack of rights names the file, and the hint is about rights."""
    workspace = Workspace(tmp_path / "staging" / "run")
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    refused = pytest.raises(StateError, match=f"{secret}/x: Permission denied")
    with refused as caught, workspace.timed("preflight"), another_account():
        (secret / "x").read_bytes()
    assert "right to read" in caught.value.hint and "Free some space" not in caught.value.hint
    with pytest.raises(StateError) as full, workspace.timed("live copy"):
        Path("/dev/full").write_bytes(b"x")
    assert "Free some space" in full.value.hint
