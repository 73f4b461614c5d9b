"""What waits in staging is bounded by number, age and size; the newest always waits."""

from __future__ import annotations

import os
import time
from pathlib import Path
from uuid import uuid4

import pytest

from tasks.backup.workspace import Workspace, locked, sweep
from tasks.options import Spool

MB = 1_000_000


def spooled(staging: Path, days_old: float, size: int = MB, part: str = "") -> Workspace:
    workspace = Workspace(staging / f"{uuid4()}{part}")
    workspace.sealed.mkdir(parents=True)
    archive = workspace.sealed / "clinic.tar.zst.age"
    archive.touch()
    os.truncate(archive, size)
    workspace.mark("sealed")
    then = time.time() - days_old * 24 * 3600
    os.utime(workspace.folder, (then, then))
    return workspace


def left(*workspaces: Workspace) -> list[bool]:
    return [workspace.folder.exists() for workspace in workspaces]


def test_by_number(tmp_path: Path) -> None:
    kept = [spooled(tmp_path, days) for days in (1, 2, 3, 4)]
    sweep(tmp_path, Spool(runs=2))
    assert left(*kept) == [True, True, False, False]


def test_by_age(tmp_path: Path) -> None:
    kept = [spooled(tmp_path, days) for days in (1, 2, 3, 8)]
    sweep(tmp_path, Spool(runs=9, days=3))
    assert left(*kept) == [True, True, False, False]


def test_by_size_but_for_the_newest(tmp_path: Path) -> None:
    kept = [spooled(tmp_path, 1, 5 * MB), spooled(tmp_path, 2, MB), spooled(tmp_path, 3, 4 * MB)]
    sweep(tmp_path, Spool(gigabytes=0.002))
    assert left(*kept) == [True, False, False]
    kept = [spooled(tmp_path, 0.5, MB), spooled(tmp_path, 0.6, 9 * MB), spooled(tmp_path, 0.7, MB)]
    sweep(tmp_path, Spool(gigabytes=0.002))
    assert left(*kept) == [True, False, True]


@pytest.mark.parametrize("spare", [True, False])
def test_the_run_about_to_start_keeps_its_own(tmp_path: Path, spare: bool) -> None:
    newest, oldest = spooled(tmp_path, 1), spooled(tmp_path, 30)
    sweep(tmp_path, spare=oldest.folder.name if spare else "")
    assert left(newest, oldest) == [True, spare]


@pytest.mark.parametrize("proven", [True, False])
def test_however_a_run_ends_nothing_readable_is_left(tmp_path: Path, proven: bool) -> None:
    workspace = spooled(tmp_path, 0)
    if not proven:
        workspace.unmark("sealed")
    with pytest.raises(RuntimeError), locked(workspace.folder):
        for path in (
            workspace.copy / "clinic.db",
            workspace.folder / "archive.tar.zst",
            workspace.listing,
        ):
            path.parent.mkdir(exist_ok=True)
            path.write_text("readable")
        raise RuntimeError
    assert workspace.plaintext() == []
    assert workspace.holds_sealed() is proven
    assert workspace.folder.exists() is proven


def test_of_a_killed_run_only_what_is_sealed_waits(tmp_path: Path) -> None:
    workspace = spooled(tmp_path, 0)
    # The key of a version before this one, which opens what that delivered.
    (workspace.folder / "run.key").write_text("the run's secret key")
    workspace.copy.mkdir()
    assert sweep(tmp_path) == [workspace.folder]
    assert workspace.plaintext() == []
    assert workspace.holds_sealed()
