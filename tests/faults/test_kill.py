"""kill -9 in the middle of each step: nothing half is listed, no plaintext stays, the next run works."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deployments.environment import home_of
from tests.conftest import migrated_database
from tests.flows.conftest import clinic, site
from tests.flows.site import Site

__all__ = ["clinic", "site"]

STEPS = ["live copy", "archive", "encrypt", "rehearse", "deliver → nas", "read back ← nas"]
PLAINTEXT_ON_DISK = {"live copy", "archive", "encrypt", "rehearse"}


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_kill_9(site: Site, step: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flag = tmp_path / "in the middle"
    _kill_in(site, step, flag)
    assert flag.exists(), "the fault did not fire"
    if step in PLAINTEXT_ON_DISK:
        assert site.plaintext(), "the fault fired too late to matter"
    capsys.readouterr()
    assert site.run("list") == 0
    shown = capsys.readouterr().out
    assert "verified" not in shown and shown.count("no backups") == 3
    assert site.manifests("nas") == []
    done = _datasave(site, "backup", "--target", "nas")
    assert done.returncode == 0, done.stdout + done.stderr
    assert site.plaintext() == []
    assert [manifest["sequence"] for manifest in site.manifests("nas")] == [2]
    assert not [name for name in site.objects("nas") if ".part" in name]


def _kill_in(site: Site, step: str, flag: Path) -> None:
    halting = [sys.executable, "-m", "tests.flows.halting", step, str(flag)]
    command = [*halting, "backup", "--target", "nas", "--plan", str(site.plan)]
    process = subprocess.Popen(
        command, env=_environment(site), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        deadline = time.monotonic() + 120
        while not flag.exists() and time.monotonic() < deadline:
            assert process.poll() is None, (process.stdout.read() if process.stdout else b"").decode()
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def _datasave(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deployments", *arguments, "--plan", str(site.plan)]
    return subprocess.run(command, env=_environment(site), capture_output=True, text=True, check=False)


def _environment(site: Site) -> dict[str, str]:
    """This test's own Prefect, with a database that is migrated already."""
    import os

    home = home_of(site.plan)
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "prefect.db").exists():
        shutil.copy(migrated_database(), home / "prefect.db")
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    return {**environment, "PREFECT_HOME": str(home)}
