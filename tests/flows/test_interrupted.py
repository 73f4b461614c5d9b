"""Ctrl-C and SIGTERM in the middle of a step: one line, nothing readable left, and a way on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from deployments.serving.environment import home_of
from tests.conftest import migrated_database
from tests.flows.counting import counted
from tests.flows.family import family, kill_all, one_of
from tests.flows.site import Site
from tests.flows.test_targets import unmounted
from tests.flows.warm import Child, Warm

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no signals between programs")

# A run of this size ends its running step within a second; the rest is Prefect's own farewell.
PATIENCE = 30


def _environment(site: Site) -> dict[str, str]:
    """A Prefect of the site's own, with a database that is migrated already and no server yet."""
    home = home_of(site.plan)
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "prefect.db").exists():
        shutil.copy(migrated_database(), home / "prefect.db")
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    own = {name: value for name, value in environment.items() if not name.endswith("_AUTH_STRING")}
    return {**own, "PREFECT_HOME": str(home)}


def _datasave(warm: Warm, site: Site, *arguments: str) -> Child:
    """A command with a Prefect of the site's own, once it has ended well or not."""
    return _ended(warm, "datasave", site, *arguments)


def _ended(warm: Warm, program: str, site: Site, *arguments: str) -> Child:
    log = site.root / f"{program}.log"
    child = warm.start(program, [*arguments, "--plan", str(site.plan)], log, _environment(site))
    child.wait()
    return child


def start_halting(
    warm: Warm,
    site: Site,
    step: str,
    flag: Path,
    targets: Sequence[str] = ("nas",),
    *,
    leashed: bool = False,
) -> Child:
    """A backup in a process group of its own, as a terminal starts it, halted in the middle of ``step``."""
    chosen = [word for target in targets for word in ("--target", target)]
    command = [step, str(flag), "backup", *chosen, "--plan", str(site.plan)]
    log, errors = site.root / "halted.log", site.root / "halted.errors"
    process = warm.start("halting", command, log, _environment(site), errors=errors, leashed=leashed)
    process.wait_for(flag)
    return process


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def readable(site: Site) -> list[Path]:
    """Files in staging, by their content: a database, a compressed archive, a private key."""
    begins = (b"SQLite format 3", b"\x28\xb5\x2f\xfd", b"AGE-SECRET-KEY")
    files = [path for path in site.staging.rglob("*") if path.is_file()]
    return [path for path in files if path.read_bytes()[:16].startswith(begins)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "sent"),
    [
        ("live copy", signal.SIGINT),
        pytest.param("archive and encrypt", signal.SIGTERM, marks=pytest.mark.long),
        pytest.param("rehearse", signal.SIGINT, marks=pytest.mark.long),
        ("deliver to nas", signal.SIGTERM),
    ],
)
def test_interrupted(site: Site, warm: Warm, tmp_path: Path, step: str, sent: signal.Signals) -> None:
    process = start_halting(warm, site, step, tmp_path / "in the middle")
    try:
        # SQLite writes the pages of a copy when it ends: in its middle there may be an empty file.
        assert readable(site) or step in ("live copy", "deliver to nas"), "the fault fired too late to matter"
        helpers = [pid for pid in family(process.pid) if pid != process.pid]
        if sent == signal.SIGINT:
            os.killpg(process.pid, sent)  # a terminal sends Ctrl-C to all programs started from it
        else:
            os.kill(process.pid, sent)
        status = process.wait(PATIENCE)
    finally:
        if process.ended() is None:
            process.kill()
    err = process.errors.read_text("utf-8")
    assert status == 130, process.said
    assert err.splitlines()[0] == "✗ interrupted" and "datasave retry" in err
    assert "Traceback" not in process.said and "ERROR" not in process.said, process.said
    assert readable(site) == [] and site.plaintext() == []
    assert not [pid for pid in helpers if alive(pid)], "no program of the run goes on"
    assert site.manifests("nas") == []
    again = _datasave(warm, site, "retry")
    assert again.ended() == 0, again.said
    assert [manifest["sequence"] for manifest in site.manifests("nas")] == [1 if "deliver" in step else 2]
    assert readable(site) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="programs are found in /proc")
def test_a_killed_run_leaves_no_program_running(site: Site, warm: Warm, tmp_path: Path) -> None:
    """Prefect's temporary server by itself would outlive a kill -9: some 200 MB, at work for ever."""
    flag = tmp_path / "in the middle"
    process = start_halting(warm, site, "archive and encrypt", flag, leashed=True)
    server = one_of(process.pid, "prefect.server")
    helpers = [pid for pid in family(process.pid) if pid != process.pid]
    assert server in helpers
    process.kill()
    deadline = time.monotonic() + PATIENCE
    while left := [pid for pid in helpers if alive(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


@pytest.mark.slow
def test_a_server_that_does_not_start_is_one_line(site: Site) -> None:
    environment = {**_environment(site), "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "true"}
    (home_of(site.plan) / "prefect.db").write_bytes(b"no database at all, but something else" * 1000)
    command = [sys.executable, "-m", "deployments", "audit", "--plan", str(site.plan)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "✗ the temporary Prefect server did not start"
    assert "Its log: " in done.stderr and "Traceback" not in done.stdout + done.stderr
    assert "file is not a database" in (home_of(site.plan) / "server.log").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="programs are found in /proc")
def test_a_retry_after_a_power_cut_does_only_what_is_missing(site: Site, warm: Warm, tmp_path: Path) -> None:
    """Program and server are killed in the middle of one delivery: no state was left but Running."""
    flag, log = tmp_path / "in the middle", tmp_path / "steps"
    process = start_halting(warm, site, "deliver to nas", flag, ["nas", "second-disk", "cellar"])
    try:
        deadline = time.monotonic() + 60
        # With the last of a target's steps begun, the results of those before it are on record.
        while {path.name for path in site.staging.rglob("pruned-*")} != {
            "pruned-cellar",
            "pruned-second-disk",
        }:
            assert time.monotonic() < deadline, "the other targets are independent of a slow one"
            time.sleep(0.1)
    finally:
        kill_all(process.pid)
        process.wait()
    assert site.manifests("nas") == []
    arrived = {path: path.stat().st_mtime_ns for path in site.archives("cellar")}
    assert _counting(warm, site, log, "retry") == Counter(deliver=1, read_back=1)
    assert [manifest["sequence"] for manifest in site.manifests("nas")] == [1]
    assert {path: path.stat().st_mtime_ns for path in site.archives("cellar")} == arrived
    assert not any(site.staging.glob("*/sealed/*")), "nothing waits any more"


@pytest.mark.slow
def test_a_retry_by_a_new_process_does_only_what_is_missing(site: Site, warm: Warm, tmp_path: Path) -> None:
    """Each command starts and ends a server of its own: what stands is known from what lies on the disk."""
    log = tmp_path / "steps"
    with unmounted(site):
        assert _datasave(warm, site, "backup").ended() == 1
    waiting = list(site.staging.glob("*/sealed/*.age"))
    assert len(waiting) == 1 and readable(site) == [], "only what is encrypted waits"
    assert _counting(warm, site, log, "retry") == Counter(deliver=1, read_back=1)
    assert len(site.manifests("nas")) == 1
    assert not any(site.staging.glob("*/sealed/*")), "nothing waits any more"


def _counting(warm: Warm, site: Site, log: Path, command: str) -> Counter[str]:
    done = _ended(warm, "counting", site, str(log), command)
    assert done.ended() == 0, done.said
    return counted(log)
