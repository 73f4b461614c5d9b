"""Staging or source fails in the middle of a whole run: nothing delivered, pruned or left readable.

Failure stories 1, 2, 3 and 6. Staging lies on a small file system of its own; each test proves that its
fault fired.
"""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from tasks.backup.workspace import Workspace, sweep
from tasks.platform.files import atomic_writer
from tasks.steps import progress
from tests.flows.conftest import clinic, running_site, site
from tests.flows.site import Site, counts
from tests.mounts import run, tmpfs
from tests.servers.hooks import Hooks, hooks

__all__ = ["clinic", "running_site", "site"]

GOOD = ["/beat", "/beat/start"]
FAILED = ["/beat/fail", "/beat/start"]
TARGETS = ("nas", "second-disk", "cellar")


@pytest.fixture
def switch() -> Iterator[Hooks]:
    """The outside switch of ``small``; forgets what it heard of the first backup."""
    with hooks() as heard:
        yield heard


@pytest.fixture
def small(running_site: Site, switch: Hooks, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An office whose state lies on 16 MB, with one good backup; the next success would remove it."""
    monkeypatch.setattr("tasks.steps.backup.live_copy.task.retries", 0)
    running_site.change_plan(
        state="small/state",
        notices={"heartbeat": f"{switch.url}/beat"},
        targets=[
            {"name": name, "kind": "folder", "path": name, "keep": {"last": 1}, "floor": 1}
            for name in TARGETS
        ],
    )
    with tmpfs(running_site.root / "small", 16):
        assert running_site.run("backup") == 0
        assert sorted(switch.paths) == GOOD
        switch.requests.clear()
        yield running_site


def shelves(site: Site) -> dict[str, dict[str, bytes]]:
    """Every file on every target."""
    return {
        target: {name: (site.root / target / name).read_bytes() for name in site.objects(target)}
        for target in TARGETS
    }


def readable(site: Site) -> list[Path]:
    """Files in staging, by their content: a database, a compressed archive, a private key."""
    begins = (b"SQLite format 3", b"\x28\xb5\x2f\xfd", b"AGE-SECRET-KEY")
    files = [path for path in site.staging.rglob("*") if path.is_file()]
    return [path for path in files if path.read_bytes()[:16].startswith(begins)]


def clear_failure(captured: pytest.CaptureFixture[str]) -> str:
    """What was said: one line with a cross, at most its hint below, nothing a user can't read."""
    said = captured.readouterr().err
    lines = said.splitlines()
    assert lines and lines[0].startswith("✗ "), said
    assert all(line.startswith("  → ") for line in lines[1:]), said
    assert "Traceback" not in said and "unexpected" not in said, said
    return said


def once_at(step: str, fault: Callable[[], object], fired: list[str]) -> progress.Listener:
    """A listener that strikes at the first sign of progress of ``step``."""

    def strike(reported: str, done: int, _total: int) -> None:
        if reported == step and done > 0 and not fired:
            fired.append(step)
            fault()

    return strike


def fill(folder: Path) -> None:
    """Take all the room there is, to the last byte."""
    with pytest.raises(OSError) as caught, (folder / "filler").open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("step", ["live copy", "archive and encrypt", "rehearse"])
def test_staging_runs_full(small: Site, switch: Hooks, step: str, capsys: pytest.CaptureFixture[str]) -> None:
    site = small
    fired: list[str] = []
    before = shelves(site)
    capsys.readouterr()
    with progress.watched_by(once_at(step, lambda: fill(site.root / "small"), fired)):
        assert site.run("backup") == 1
    assert fired == [step]
    said = clear_failure(capsys)
    assert "No backup of clinic" in said
    assert "space" in said or "full" in said, said
    assert shelves(site) == before, "nothing delivered, nothing pruned"
    assert readable(site) == [] and site.plaintext() == []
    assert sorted(switch.paths) == FAILED, "a notice was sent"
    (site.root / "small" / "filler").unlink()
    assert site.run("backup") == 0
    assert sorted(switch.paths[2:]) == GOOD
    assert [manifest["sequence"] for manifest in site.manifests("nas")] == [3]


def test_staging_runs_full_while_delivering(small: Site) -> None:
    """What was proven before needs no more room: it reaches its targets, and the report is written."""
    site = small
    fired: list[str] = []
    with progress.watched_by(once_at("deliver to nas", lambda: fill(site.root / "small"), fired)):
        assert site.run("backup") == 0
    assert fired
    assert {tuple(m["sequence"] for m in site.manifests(target)) for target in TARGETS} == {(2,)}
    assert "#2" in site.report() and readable(site) == []


def test_a_report_that_cannot_be_written(running_site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """The run has failed then, but nobody is left to think that there is no backup."""
    site = running_site
    site.context.state.mkdir(parents=True)
    site.context.reports.write_text("in the way")
    assert site.run("backup") == 1
    said = clear_failure(capsys)
    assert "clinic #1 is backed up and proven at nas" in said and str(site.context.reports) in said
    assert [len(site.manifests(target)) for target in TARGETS] == [1, 1, 1]
    site.context.reports.unlink()
    assert site.run("retry") == 0
    assert "#1" in site.report()
    assert [len(site.manifests(target)) for target in TARGETS] == [1, 1, 1], "nothing is sent twice"


def test_an_archive_left_half_written_is_readable_too(running_site: Site) -> None:
    """Earlier versions wrote the archive before they encrypted it; what they left must go all the same."""
    site = running_site
    workspace = Workspace(site.staging / str(uuid4()))
    workspace.mark("sealed")
    unfinished = atomic_writer(workspace.folder / "archive.tar.zst")
    unfinished.__enter__().write(b"patients")
    (left,) = workspace.folder.glob("*.part")
    assert sweep(site.staging) == [workspace.folder]
    assert not left.exists() and workspace.done("sealed")


def test_too_little_room_is_seen_before_the_copy(
    small: Site, switch: Hooks, capsys: pytest.CaptureFixture[str]
) -> None:
    site = small
    before = shelves(site)
    (site.root / "small" / "filler").write_bytes(bytes(12 << 20))
    capsys.readouterr()
    assert site.run("backup") == 1
    said = clear_failure(capsys)
    assert "free" in said and "`state:`" in said
    assert shelves(site) == before
    assert sorted(switch.paths) == FAILED, "a notice was sent"


def test_staging_turns_read_only(small: Site, switch: Hooks, capsys: pytest.CaptureFixture[str]) -> None:
    """What a file system does after an error of its disk."""
    site = small
    before = shelves(site)
    capsys.readouterr()
    run("mount", "-o", "remount,ro", site.root / "small")
    assert site.run("backup") == 1
    said = clear_failure(capsys)
    assert "small/state" in said
    assert shelves(site) == before
    assert sorted(switch.paths) == FAILED, "a notice was sent"
    run("mount", "-o", "remount,rw", site.root / "small")
    assert site.run("backup") == 0


def test_a_staging_that_others_could_read_is_closed(running_site: Site) -> None:
    site = running_site
    site.staging.mkdir(parents=True)
    for folder in (site.staging, site.context.state):
        folder.chmod(0o777)
    seen: list[int] = []

    def look(step: str, _done: int, _total: int) -> None:
        if step == "archive and encrypt":
            seen.extend(stat.S_IMODE(folder.stat().st_mode) for folder in (site.staging, site.context.state))

    with progress.watched_by(look):
        assert site.run("backup", "--target", "nas") == 0
    assert seen and set(seen) == {0o700}


def test_a_file_in_place_of_staging(running_site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site = running_site
    site.context.state.mkdir(parents=True)
    site.staging.write_text("not a folder")
    assert site.run("backup") == 1
    assert str(site.staging) in clear_failure(capsys)
    assert site.staging.read_text() == "not a folder"
    assert site.objects("nas") == []


# The source


WRITER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size = 10")
database.execute("BEGIN IMMEDIATE")
database.execute("UPDATE visits SET note = 'torn ' || note")
database.execute("DELETE FROM ledger")
print("in the middle", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_a_writer_killed_in_its_transaction(running_site: Site, tmp_path: Path, mode: str) -> None:
    """A hot journal, or a WAL with half a transaction: what was committed is backed up, and only that."""
    site = running_site
    with closing(sqlite3.connect(site.database)) as database:
        database.execute(f"PRAGMA journal_mode={mode}")
    expected = counts(site.database)
    command = [sys.executable, "-c", WRITER, str(site.database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "in the middle\n"
        writer.kill()
    assert writer.returncode == -signal.SIGKILL
    beside = site.database.with_name(site.database.name + ("-journal" if mode == "DELETE" else "-wal"))
    assert beside.stat().st_size > 100_000, "the fault fired: half a transaction lies on the disk"
    if mode == "DELETE":
        assert b"torn " in site.database.read_bytes(), "and is in the database file already"
    assert site.run("backup", "--target", "nas") == 0
    assert site.run("restore", "-i", str(site.keys[0]), "--to", str(tmp_path / "new")) == 0
    assert counts(tmp_path / "new" / "clinic.db") == expected
    assert b"torn " not in (tmp_path / "new" / "clinic.db").read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="Windows lets nobody move an open database")
def test_the_source_vanishes_during_the_copy(
    small: Site, switch: Hooks, capsys: pytest.CaptureFixture[str]
) -> None:
    site = small
    fired: list[str] = []
    before, away = shelves(site), site.root / "away.db"
    capsys.readouterr()
    with progress.watched_by(once_at("live copy", lambda: site.database.replace(away), fired)):
        assert site.run("backup") == 1
    assert fired
    said = clear_failure(capsys)
    assert "vanished" in said and "clinic.db" in said
    assert sorted(switch.paths) == FAILED, "a notice was sent"
    assert shelves(site) == before and readable(site) == []
    assert not site.database.exists(), "no empty database was made in its place"
    away.replace(site.database)
    assert site.run("backup") == 0


def test_the_source_comes_back_and_the_copy_is_tried_again(
    running_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share that hiccups: the step's own second try makes the backup whole."""
    site = running_site
    fired: list[str] = []
    monkeypatch.setattr("tasks.steps.backup.live_copy.task.retry_delay_seconds", 0)
    away = site.root / "away.db"

    def hiccup(step: str, _done: int, _total: int) -> None:
        if step == "live copy" and not fired:
            fired.append("gone")
            site.database.replace(away)
        elif step == "live copy" and fired == ["gone"]:
            fired.append("back")
            away.replace(site.database)

    with progress.watched_by(hiccup):
        assert site.run("backup", "--target", "nas") == 0
    assert fired == ["gone", "back"]
    assert len(site.manifests("nas")) == 1
