"""Restore in place: DATA becomes DATASAVE, the backup takes its place; killed anywhere, one is whole."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from deployments.cli.demo_clinic import make_clinic
from tests.flows.killing import contents
from tests.flows.site import Site, counts

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="stop and start are shell commands here")


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Site:
    """An office with one backup, whose database lies in a folder of its own and has moved on since."""
    assert prefect_server
    root = tmp_path_factory.mktemp("office")
    (root / "data").mkdir()
    make_clinic(root / "data" / "clinic.db", 200_000, wal=True)
    commands = {"stop": ["rm", "-f", str(root / "running")], "start": ["touch", str(root / "running")]}
    source = {"kind": "sqlite", "path": "data/clinic.db", "in_place": commands}
    site = Site.make(root, ["nas"], source=source)
    assert site.run("backup") == 0
    # The old data to be: with a WAL that holds what the file does not, as a killed program leaves it.
    (root / "template").mkdir()
    with closing(sqlite3.connect(root / "data" / "clinic.db", isolation_level=None)) as database:
        database.execute("CREATE TABLE since (entry)")
        for path in (root / "data").glob("clinic.db*"):
            shutil.copy(path, root / "template")
    assert sorted(path.name for path in (root / "template").iterdir()) == [
        "clinic.db",
        "clinic.db-shm",
        "clinic.db-wal",
    ]
    return site


@pytest.fixture
def office(backed_up: Site) -> Iterator[Site]:
    """The same, set up anew."""
    root = backed_up.root
    for path in (root / "data", backed_up.context.state / "in-place"):
        shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(root / "template", root / "data")
    (root / "running").touch()
    yield backed_up


def restore(site: Site, *more: str) -> int:
    return site.run("restore", "--in-place", "--yes", "--identity", str(site.keys[0]), *more)


def test_the_old_data_is_put_aside_and_comes_back(office: Site, capsys: pytest.CaptureFixture[str]) -> None:
    old = contents(office.root / "template")
    assert restore(office) == 0
    said = capsys.readouterr().out
    assert "content identical" in said and "--discard-old" in said
    found = contents(office.root / "data")
    assert {f"DATASAVE/{name}": data for name, data in old.items()}.items() <= found.items()
    assert counts(office.root / "data" / "clinic.db")["patients"] > 0
    assert (office.root / "running").exists()
    assert office.run("restore", "--undo", "--yes") == 0
    assert contents(office.root / "data") == old
    assert office.run("restore", "--undo", "--yes") == 1


def test_datasave_goes_only_when_told(office: Site) -> None:
    assert restore(office) == 0
    assert restore(office, "--discard-old") == 0
    names = sorted(path.name for path in (office.root / "data").iterdir())
    assert len(names) == 2 and names[0] == "DATASAVE", "a second restore takes another name, and removes that"
    assert office.run("restore", "--undo", "--yes") == 1, "what was removed cannot be taken back"


def test_what_was_entered_since_is_kept_by_an_undo(office: Site) -> None:
    assert restore(office) == 0
    with closing(sqlite3.connect(office.root / "data" / "clinic.db")) as database, database:
        database.execute("CREATE TABLE entered_after_the_restore (entry)")
    assert office.run("restore", "--undo", "--yes") == 0
    [kept] = (office.root / "data").glob("clinic.db.UNDONE-*")
    with closing(sqlite3.connect(kept / "clinic.db")) as database:
        assert database.execute("SELECT count(*) FROM entered_after_the_restore").fetchone() == (0,)
    left = {name: data for name, data in contents(office.root / "data").items() if "UNDONE" not in name}
    assert left == contents(office.root / "template")


def test_an_undo_without_the_old_data_leaves_what_is_there(
    office: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert restore(office) == 0
    live = (office.root / "data" / "clinic.db").read_bytes()
    (office.root / "data" / "DATASAVE").rename(office.root / "data" / "old")
    assert office.run("restore", "--undo", "--yes") == 1
    assert "not in" in capsys.readouterr().err
    assert (office.root / "data" / "clinic.db").read_bytes() == live
    assert (office.root / "running").exists(), "nothing was stopped for it"
    (office.root / "data" / "old").rename(office.root / "data" / "DATASAVE")
    assert office.run("restore", "--undo", "--yes") == 0
    assert contents(office.root / "data") == contents(office.root / "template")


def test_a_strange_file_beside_the_old_data_does_not_hinder_an_undo(office: Site) -> None:
    assert restore(office) == 0
    (office.root / "data" / "DATASAVE" / "Thumbs.db").write_text("a file manager's")
    assert office.run("restore", "--undo", "--yes") == 0
    assert (office.root / "running").exists()
    found = contents(office.root / "data")
    assert found.pop("DATASAVE/Thumbs.db")
    assert found == contents(office.root / "template")


def test_a_dry_run_shows_the_steps_and_does_nothing(office: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert office.run("restore", "--in-place", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "clinic.db-wal" in said and "DATASAVE" in said and "rm -f" in said
    assert contents(office.root / "data") == contents(office.root / "template")
    assert (office.root / "running").exists()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["--in-place", "--logs", "."], "--logs"),
        (["--in-place", "--until", "2026-11-23 14:30"], "--until"),
        (["--in-place", "--only", "patients"], "--only"),
        (["--in-place", "--to", "elsewhere"], "--to"),
        (["--in-place", "--accept-damage"], "--accept-damage"),
        (["--to", "elsewhere", "--only", "patients", "--logs", "."], "--logs"),
        (["--to", "elsewhere", "--dry-run"], "--dry-run"),
        (["--undo", "--dry-run"], "--dry-run"),
    ],
)
def test_what_would_be_ignored_is_refused(
    office: Site, given: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert office.run("restore", "--yes", "--identity", str(office.keys[0]), *given) == 1
    assert named in capsys.readouterr().err.splitlines()[0]
    assert contents(office.root / "data") == contents(office.root / "template")
    assert not Path("elsewhere").exists()


def test_without_a_terminal_it_wants_yes(office: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert office.run("restore", "--in-place", "--identity", str(office.keys[0])) == 1
    assert "not confirmed" in capsys.readouterr().err
    assert contents(office.root / "data") == contents(office.root / "template")


def test_a_program_that_has_it_open_is_named(office: Site, capsys: pytest.CaptureFixture[str]) -> None:
    source = {"kind": "sqlite", "path": "data/clinic.db"}
    before = office.plan.read_text("utf-8")
    office.change_plan(source=source)
    holder = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM patients'); "
        "print('open', flush=True); input()"
    )
    path = str(office.root / "data" / "clinic.db")
    try:
        with subprocess.Popen(
            [sys.executable, "-c", holder, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as program:
            assert program.stdout and program.stdout.readline() == b"open\n"
            assert restore(office) == 1
            assert f"(process {program.pid})" in capsys.readouterr().err
            program.communicate(b"\n")
        assert "in_place" not in office.plan.read_text("utf-8")
        assert restore(office) == 0, "closed, it needs no command"
    finally:
        office.plan.write_text(before, "utf-8")


HOLDER = """
import os, sys, time
live, running = sys.argv[1:]
with open(live, "rb") as held:
    print("open", flush=True)
    while os.path.exists(running):
        time.sleep(0.01)
    time.sleep(float(sys.stdin.readline()))
    print(os.path.exists(live) and os.path.samestat(os.stat(live), os.fstat(held.fileno())), flush=True)
"""
"""A program that has the database open for some seconds more when the stop command has returned. When it ends
it says whether what lies there is still what it has open."""


def held(office: Site) -> subprocess.Popen[bytes]:
    paths = [str(office.root / name) for name in ("data/clinic.db", "running")]
    program = subprocess.Popen(
        [sys.executable, "-c", HOLDER, *paths], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert program.stdout and program.stdout.readline() == b"open\n"
    return program


def test_a_program_that_closes_after_the_stop_is_waited_for(office: Site) -> None:
    with held(office) as program:
        assert program.stdin
        program.stdin.write(b"1\n")
        program.stdin.flush()
        assert restore(office) == 0
        assert program.communicate()[0] == b"True\n", "the data was moved from under it"
    assert counts(office.root / "data" / "clinic.db")["patients"] > 0


def test_nothing_is_moved_from_under_a_program_that_never_closes(
    office: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    before = yaml.safe_load(office.plan.read_text("utf-8"))["source"]
    office.change_plan(source={**before, "in_place": {**before["in_place"], "seconds": 1}})
    try:
        with held(office) as program:
            assert restore(office) == 1
            assert f"(process {program.pid})" in capsys.readouterr().err
            assert program.communicate(b"0\n")[0] == b"True\n"
        assert office.run("restore", "--undo", "--yes") == 0
    finally:
        office.change_plan(source=before)
    assert contents(office.root / "data") == contents(office.root / "template")
    assert (office.root / "running").exists()


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_another_one_in_the_same_folder_is_waited_for(
    office: Site, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    """Both would call the old data DATASAVE, and an undo of the one take the other's for its own."""
    room = office.root / "data" / ".datasave-in-place-billing"
    room.mkdir()
    before = contents(office.root / "data")
    assert restore(office, *more) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "a restore in place of billing is unfinished" in said and "--undo" in said
    assert contents(office.root / "data") == before
    room.rmdir()
    assert restore(office) == 0
    assert restore(office, "--discard-old") == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.long)])
def test_killed_at_every_step_one_of_two_states_is_whole(office: Site, every: int) -> None:
    """Real processes, SIGKILL; each step then undone or resumed; these killed in their midst too."""
    command = [sys.executable, "-m", "tests.flows.killing", str(office.root), str(every)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    cases = [json.loads(line) for line in done.stdout.splitlines()]
    killed = [case for case in cases if case["killed"] == -signal.SIGKILL]
    for case in killed:
        assert case["outcome"] in ("old", "new"), case
        assert not case["left"], case
        assert case["running"], case
        if case["way"] == "undo":
            assert case["outcome"] == "old" and not case["journal"], case
        if case["outcome"] == "old":
            assert case["status"] == (0 if case["begun"] and case["way"] == "undo" else 1), case
    points = {case["point"] for case in killed if case["what"] == "restore" and case["begun"]}
    resumed = [case for case in killed if case["way"] == "resume" and case["outcome"] == "new"]
    again = [case for case in killed if case["what"] != "restore"]
    assert len(points) >= 20 / every and len(resumed) >= 8 / every and len(again) >= 10 / every
    print(f"{len(points)} points of a restore, {len(again)} of undo and resume, {len(killed)} kills")
