"""An office that an earlier version left on its disks: this version reads, restores, retries and undoes it.

``tests/golden/earlier/make.py`` says what is in it and how it was made. Its paths are absolute, so each test
unpacks it at the one place where it is good, and removes it afterwards. The program is used as a user types
it, with the Prefect home that lies in the office: a process of its own each time, no server, today's clock.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from filelock import FileLock

from tests.flows.warm import Warm
from tests.golden.earlier.make import EXPECTED, MARKER, MOUNT, OFFICE, contents, digest, tree

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(os.name != "posix", reason="the sample's paths are absolute, and below /tmp"),
]

FACTS: dict[str, Any] = json.loads(EXPECTED.read_text("utf-8"))
ROOT = Path(FACTS["root"])
FAILED: dict[str, Any] = FACTS["failed"]
UNPACKED = "unpacked-by-a-test"
SOURCES = ("clinic", "clinic.programs")
PATIENCE = 300


@pytest.fixture
def earlier() -> Iterator[Path]:
    """The office as it was left: the marker of a target is away, and the newest backup failed there."""
    # Test sessions in several checkouts of one machine take turns.
    with FileLock(f"{ROOT}.lock"):
        _remove()
        ROOT.mkdir(mode=0o700)
        (ROOT / UNPACKED).touch()
        with tarfile.open(OFFICE) as tar:
            tar.extractall(ROOT, filter="tar")
        yield ROOT
        _remove()


@pytest.fixture
def mended(earlier: Path) -> Path:
    """The same, when that target is there again."""
    (earlier / "marker-of-nas.json").rename(earlier / FAILED["target"] / MARKER)
    return earlier


def _remove() -> None:
    """Remove what an earlier test unpacked, and nothing else."""
    if not os.path.lexists(ROOT):
        return
    ours = not ROOT.is_symlink() and ROOT.stat().st_uid == os.getuid() and (ROOT / UNPACKED).exists()
    assert ours, f"{ROOT} holds something else: move it away"
    shutil.rmtree(ROOT)


@pytest.fixture(autouse=True, scope="module")
def _started_by(warm: Warm) -> None:
    """Commands are children of this process."""
    run.by = warm  # type: ignore[attr-defined]


def run(*arguments: str | Path, plan: str = "clinic.yaml", passphrase: str = "") -> tuple[int, str]:
    """A command as a user types it; its exit status and what it printed."""
    # The Prefect that the other tests share is not the one that lies in the office.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    own = {"DATASAVE_PLAN": str(ROOT / plan), "DATASAVE_PASSPHRASE": passphrase, "COLUMNS": "160"}
    warm: Warm = run.by  # type: ignore[attr-defined]
    with TemporaryDirectory() as folder:
        log, errors = Path(folder, "log"), Path(folder, "errors")
        done = warm.start("datasave", [*map(str, arguments)], log, {**kept, **own}, errors=errors)
        status, said = done.wait(PATIENCE), done.said
    assert "Traceback" not in said, said
    return status, said


def datasave(*arguments: str | Path, status: int = 0, plan: str = "clinic.yaml", passphrase: str = "") -> str:
    """The same for a command that must end with that status; what it printed."""
    ended, said = run(*arguments, plan=plan, passphrase=passphrase)
    assert ended == status, f"{arguments}: {ended}\n{said}"
    return said


def key(holder: str) -> tuple[str, Path]:
    """The words of a command that name a holder's key."""
    return "--identity", ROOT / FACTS["keys"][holder]


def verified(said: str) -> list[int]:
    """The numbers of the backups that a list calls verified."""
    return [int(number) for number in re.findall(r"#(\d+)\b.*\bverified", said)]


def archives(place: str) -> dict[str, dict[str, list[str]]]:
    """The archives in a folder, by source and number: the path and the digest of each."""
    found: dict[str, dict[str, list[str]]] = {}
    for path in (ROOT / place).rglob("*.tar.zst.age"):
        named = re.fullmatch(r"(.+)-\d{8}T\d{6}Z-0*(\d+)(?:\.r\d+)?\.tar\.zst\.age", path.name)
        assert named, path
        name = path.relative_to(ROOT / place).as_posix()
        found.setdefault(named[1], {})[named[2]] = [name, digest(path)]
    return found


def untouched(place: str) -> dict[str, tuple[int, int]]:
    """What tells whether a backup's file is still the one that was there."""
    files = ((path, path.stat()) for path in (ROOT / place).rglob("clinic*") if path.is_file())
    return {str(path): (stat.st_ino, stat.st_mtime_ns) for path, stat in files}


def arrived() -> dict[str, list[str]]:
    """What of the failed run lies on the target that it had missed: the path and digest of each archive."""
    there = archives(FAILED["target"])
    return {source: there[source][str(FAILED["number"])] for source in SOURCES}


def waited() -> dict[str, list[str]]:
    """The same of what waited in staging when the sample was made."""
    slot, sealed = FAILED["slot"], FAILED["sealed"]
    return {source: [f"{slot}/{name}", sha256] for source, (name, sha256) in sealed.items()}


@contextmanager
def plugged_in(label: str) -> Iterator[None]:
    """A medium of the office: a file system of its own with what it held."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting file systems needs root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=0755", "tmpfs", MOUNT], check=True)
    try:
        shutil.copytree(ROOT / "shelf" / label, MOUNT, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", MOUNT], check=True)


def test_the_sample_is_what_was_made(earlier: Path) -> None:
    assert OFFICE.stat().st_size < 400_000
    for place, shelves in FACTS["places"].items():
        assert archives(place) == shelves
    assert [oct(path.stat().st_mode & 0o777) for path in (earlier / "keys").glob("*.txt")] == ["0o600"] * 6


def test_listed(mended: Path) -> None:
    assert verified(datasave("list", "--target", "nas")) == [3, 2, 1, 3, 2, 1]
    assert verified(datasave("list", "--target", "disk")) == [4, 3, 4, 3]
    assert verified(datasave("list", "--target", "forever")) == [4, 3, 2, 1, 4, 3, 2, 1]
    for server in ("billing", "stock"):
        assert verified(datasave("list", plan=f"{server}.yaml")) == [1]
    said = datasave("rescue", mended / "shelf" / "WED" / "datasave", "--list")
    assert all(source in said for source in SOURCES)
    said = datasave("keys", "opens", "Former manager", "--target", "nas", "--target", "forever")
    assert [line for line in said.splitlines() if "#" in line and "nas" not in line] == []
    assert said.count("#1") == 2, "what was sealed anew is closed to the holder of before"


@pytest.mark.parametrize(
    ("place", "backup", "holder", "number"),
    [
        ("nas", "latest", "Owner", "3"),
        pytest.param("nas", "1", "Former manager", "1", marks=pytest.mark.long),
        ("forever", "1", "Bank safe", "1"),
        pytest.param("forever", "2026-11-24", "Owner", "2", marks=pytest.mark.long),
    ],
)
def test_restored(mended: Path, place: str, backup: str, holder: str, number: str) -> None:
    to = mended / "restored"
    datasave("restore", "--target", place, "--backup", backup, *key(holder), "--to", to)
    assert contents(to / "clinic.db") == FACTS["tables"][number]


@pytest.mark.long
def test_restored_in_part(earlier: Path) -> None:
    chosen = ("--target", "forever", *key("Bank safe"))
    datasave("restore", *chosen, "--source", "programs", "--to", earlier / "programs again")
    assert tree(earlier / "programs again") == FACTS["programs"]
    assert os.access(earlier / "programs again" / "start.sh", os.X_OK)
    datasave("restore", *chosen, "--backup", "1", "--only", "patients", "--to", earlier / "one")
    [table] = (earlier / "one").iterdir()
    assert len(table.read_text("utf-8").splitlines()) == 1 + FACTS["tables"]["1"]["patients"][0]


@pytest.mark.long
@pytest.mark.parametrize(("server", "program"), [("billing", "pg_restore"), ("stock", "mariadbd")])
def test_restored_into_a_server(earlier: Path, server: str, program: str) -> None:
    if not shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin"):
        pytest.skip(f"not installed: {program}")
    words = ("--identity", earlier / "keys" / f"{server}.key.txt", "--to", earlier / "restored")
    said = datasave("restore", *words, plan=f"{server}.yaml")
    assert "restored with the key of Owner" in said
    assert len(re.findall(r"ok .*left_half.* 20 rows, content identical", said)) == 1


@pytest.mark.long
def test_a_medium_is_known(earlier: Path) -> None:
    with plugged_in("WED"):
        assert verified(datasave("list", "--target", "drives")) == [3, 3]
        datasave("restore", "--target", "drives", *key("Bank safe"), "--to", earlier / "restored")
        said = datasave("media", "list")
    assert contents(earlier / "restored" / "clinic.db") == FACTS["tables"]["3"]
    assert all(
        re.search(f"{label} .* {day}", said)
        for label, day in (("MON", "Mon 23 Nov 2026"), ("TUE", "Tue 24 Nov 2026"))
    )
    assert re.search(rf"WED .*{str(MOUNT)[:12]}.* Wed 25 Nov 2026", said)


@pytest.mark.long
def test_keys(earlier: Path) -> None:
    shares = [earlier / "keys" / "shares" / f"owner.share-{number}-of-3.txt" for number in (1, 3)]
    datasave("keys", "join", *shares, "--out", earlier / "joined")
    owners = (earlier / FACTS["keys"]["Owner"]).read_text("utf-8")
    assert (earlier / "joined").read_text("utf-8").splitlines()[-1] == owners.splitlines()[-1]
    protected = ("--identity", earlier / "keys" / "owner.protected.txt", "--to", earlier / "restored")
    datasave("restore", "--target", "disk", *protected, passphrase=FACTS["passphrase"])
    assert contents(earlier / "restored" / "clinic.db") == FACTS["tables"]["4"]
    said = datasave("keys", "status")
    assert re.search(r"key of Owner .*drill on nas, Tue 24 Nov 2026", said)
    assert re.search(r"(?s)key of Bank safe .*Wed 25 Nov 2026", said)


@pytest.mark.long
def test_what_the_machine_remembers(mended: Path) -> None:
    said = datasave("status", status=1)
    assert "1 of 3 targets failed for clinic #4" in " ".join(said.split())
    assert re.search(r"nas .*newest proven backup: #3", said)
    assert re.search(r"disk .*newest proven backup: #4", said)
    assert re.search(r"backup .* failed .*26 Nov 2026", said) and "ALARM: clinic #2" in said
    page = (mended / ".datasave" / "clinic" / "status.html").read_text("utf-8")
    assert "clinic" in page and page.count("<html") == 1
    said = datasave("drills", status=1)  # not all were drilled
    assert re.search(r"nas .* Owner .*24 Nov 2026.* Passed", said)
    assert re.search(r"disk .* Bank safe .*24 Nov 2026.* Passed", said)
    said = datasave("posture", status=1)  # nobody is told
    assert "the last one that passed was" in said
    datasave("runbook")


def test_the_restore_in_place_is_undone(earlier: Path) -> None:
    since = FACTS["tables"]["4"]
    assert contents(earlier / "data" / "clinic.db") == since
    datasave("restore", "--undo", "--yes")
    assert contents(earlier / "data" / "clinic.db") == FACTS["before_the_restore"]
    assert not (earlier / "data" / "DATASAVE").exists()
    [kept] = (earlier / "data").glob("clinic.db.UNDONE-*")
    assert contents(kept / "clinic.db") == since


def test_the_failed_run_is_retried(mended: Path) -> None:
    before = {place: untouched(place) for place in ("disk", "forever", "shelf")}
    said = datasave("retry")
    assert "clinic #4" in said
    assert arrived() == waited(), "the archive of the failed run, not a new one"
    assert {place: untouched(place) for place in before} == before, "nothing was done there again"
    staging = mended / ".datasave" / "clinic" / "staging"
    assert not [path for path in staging.glob(f"{FAILED['run']}*") if path.is_dir()]
    assert _state_of(FAILED["run"]) == "COMPLETED"
    assert verified(datasave("list", "--target", "nas")) == [4, 3, 2, 1, 4, 3, 2, 1]
    datasave("audit", "--read-all")


def _state_of(flow_run: str) -> str:
    with closing(sqlite3.connect(ROOT / ".datasave" / "prefect" / "prefect.db")) as database:
        asked = "SELECT state_type FROM flow_run WHERE id = ?"
        return str(database.execute(asked, [flow_run]).fetchone()[0])


def test_the_office_goes_on(mended: Path) -> None:
    """A drill; the next backup goes on with the numbers, and is compared with what was seen before."""
    datasave("drill", "--target", "nas", *key("Bank safe"))
    assert len(list((mended / "nas" / "WED").glob("*.drill-*.json"))) == len(SOURCES)
    assert re.search(r"nas .* Bank safe .* Passed", datasave("drills", status=1))  # of others none passed
    with closing(sqlite3.connect(mended / "data" / "clinic.db", isolation_level=None)) as database:
        database.execute("INSERT INTO visits (at, patient) VALUES (?, 1)", [datetime.now().isoformat()])
    now = contents(mended / "data" / "clinic.db")
    status, said = run("backup", "--skip", "drives")
    # Two months after the last run of the sample: with dates so far apart nothing is removed at first.
    assert "ALARM" not in said and (status == 0 or "pruning suspended" in said), said
    assert all("5" in archives(place)[source] for place in ("nas", "disk", "forever") for source in SOURCES)
    assert ("3" in archives("disk")["clinic"]) == (status != 0)
    datasave("restore", "--target", "disk", *key("Owner"), "--to", mended / "newest")
    assert contents(mended / "newest" / "clinic.db") == now


def test_what_waits_is_delivered(mended: Path) -> None:
    said = datasave("deliver", "--target", "nas")
    assert "clinic #4 delivered to nas" in said and "clinic.programs #4 delivered to nas" in said
    assert arrived() == waited()
    datasave("audit", "--target", "nas", "--read-all")


def test_pruned(mended: Path) -> None:
    plan = mended / "clinic.yaml"
    plan.write_text(plan.read_text("utf-8").replace("keep: {last: 2}", "keep: {last: 1}"), "utf-8")
    before = tree(mended / "disk")
    said = datasave("prune", "--target", "disk")
    assert re.findall(r"(keep|remove) .*clinic-\S+-(\d{6})\.tar", said) == [
        ("keep", "000004"),
        ("remove", "000003"),
    ]
    assert tree(mended / "disk") == before
    datasave("prune", "--target", "disk", "--apply")
    assert all(list(archives("disk")[source]) == ["4"] for source in SOURCES)
    gone = before.keys() - tree(mended / "disk").keys()
    assert {re.sub(r".*-(\d{6})\..*", r"\1", name) for name in gone} == {"000003"} and len(gone) == 4
