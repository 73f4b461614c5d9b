"""kill -9 in the middle of each step: nothing half is listed, no plaintext stays, the next run works."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.flows.conftest import clinic, running_site, site
from tests.flows.site import Site

__all__ = ["clinic", "running_site", "site"]

STEPS = ["live copy", "archive", "encrypt", "rehearse", "deliver to nas", "read back from nas"]
PLAINTEXT_ON_DISK = {"live copy", "archive", "encrypt", "rehearse"}


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_kill_9(running_site: Site, step: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = running_site
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
    # A cut-off upload stays hidden, and goes with a later delivery once it is a day old (tasks/targets).
    assert all(Path(name).name.startswith(".") for name in site.objects("nas") if ".part" in name)


def _kill_in(site: Site, step: str, flag: Path) -> None:
    halting = [sys.executable, "-m", "tests.flows.halting", step, str(flag)]
    command = [*halting, "backup", "--target", "nas", "--plan", str(site.plan)]
    log = site.root / "killed.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=_environment(), stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 120
        while not flag.exists() and time.monotonic() < deadline:
            assert process.poll() is None, log.read_text("utf-8")
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()


def _datasave(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deployments", *arguments, "--plan", str(site.plan)]
    return subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)


def _environment() -> dict[str, str]:
    """The session's Prefect server: one of its own for each process would take most of the time."""
    from prefect.settings import PREFECT_API_URL

    return {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
