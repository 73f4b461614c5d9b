"""kill -9 in the middle of each step: nothing half is listed, no plaintext stays, the next run works."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.flows.conftest import clinic, running_site, site
from tests.flows.site import Site
from tests.flows.warm import Warm

__all__ = ["clinic", "running_site", "site"]

STEPS = ["live copy", "archive and encrypt", "rehearse", "deliver to nas", "read back from nas"]
PLAINTEXT_ON_DISK = {"live copy", "archive and encrypt", "rehearse"}


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_kill_9(
    running_site: Site,
    prefect_server: str,
    warm: Warm,
    step: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    site = running_site
    flag = tmp_path / "in the middle"
    command = ["backup", "--target", "nas", "--plan", str(site.plan)]
    environment = {**os.environ, "PREFECT_API_URL": prefect_server}
    backup = warm.start("halting", [step, str(flag), *command], site.root / "killed.log", environment)
    backup.wait_for(flag)
    assert backup.kill() == -9
    if step in PLAINTEXT_ON_DISK:
        assert site.plaintext(), "the fault fired too late to matter"
    capsys.readouterr()
    assert site.run("list") == 0
    shown = capsys.readouterr().out
    assert "verified" not in shown and shown.count("no backups") == 3
    assert site.manifests("nas") == []
    assert site.run("backup", "--target", "nas") == 0
    assert site.plaintext() == []
    assert [manifest["sequence"] for manifest in site.manifests("nas")] == [2]
    # A cut-off upload stays hidden, and goes with a later delivery once it is a day old (tasks/targets).
    assert all(Path(name).name.startswith(".") for name in site.objects("nas") if ".part" in name)
