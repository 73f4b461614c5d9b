"""What holds for folders holds on servers too: a late delivery without a new copy, and why something goes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from copy import deepcopy
from typing import Any

import pytest

from tests.contract.s3_targets import credentials, secrets_in
from tests.flows.site import Site, counts
from tests.servers.radosgw import Radosgw, s3
from tests.servers.sshd import Sshd, sshd

__all__ = ["s3", "sshd"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DEAD = "http://127.0.0.1:9"  # discard: nobody listens


def far_targets(site: Site, s3: Radosgw, sshd: Sshd, bucket: str, endpoint: str, **more: Any) -> None:
    cloud = {"name": "cloud", "kind": "s3", "bucket": bucket, "endpoint": endpoint} | credentials(s3.admin)
    vault = sshd.options(sshd.data / "far").model_dump(mode="json", exclude_none=True) | {"name": "vault"}
    site.change_plan(
        targets=[{"name": "nas", "kind": "folder", "path": "nas"}, cloud | more, vault | deepcopy(more)]
    )


def test_catching_up_and_explaining_on_servers(
    running_site: Site,
    s3: Radosgw,
    sshd: Sshd,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    site, bucket = running_site, s3.bucket()
    secrets_in(monkeypatch, s3.admin)
    monkeypatch.setattr("tasks.steps.backup.deliver.task.retries", 0)
    sshd.place("far")
    far_targets(site, s3, sshd, bucket, DEAD)
    site.init_target("vault")
    sshd.stop()
    assert site.run("backup") == 1
    said = capsys.readouterr().err
    assert "2 of 3 targets failed" in said
    assert s3.client().list_objects_v2(Bucket=bucket).get("KeyCount") == 0, "the fault fired"

    # The servers are back, and the database is gone: what is delivered is the archive that waited.
    sshd.start()
    far_targets(site, s3, sshd, bucket, s3.endpoint, floor=1, keep={"last": 1})
    rows = counts(site.database)
    gone = site.database.rename(site.root / "gone.db")
    assert site.run("deliver") == 0
    assert "clinic #1 delivered to cloud, vault" in " ".join(capsys.readouterr().out.split())
    for target in ("cloud", "vault"):
        assert (
            site.run("restore", "--target", target, "-i", str(site.keys[0]), "--to", str(tmp_path / target))
            == 0
        )
        assert counts(tmp_path / target / "clinic.db") == rows

    # Another one there, kept for the while: what would go, and what that rests on.
    gone.rename(site.database)
    with closing(sqlite3.connect(site.database)) as database, database:
        database.execute("INSERT INTO visits (patient, at, note) VALUES (1, '2026-11-23', 'one more')")
    far_targets(site, s3, sshd, bucket, s3.endpoint, floor=1, keep="forever")
    assert site.run("backup") == 0
    far_targets(site, s3, sshd, bucket, s3.endpoint, floor=1, keep={"last": 1})
    assert site.run("prune", "--accept-change") == 0
    capsys.readouterr()
    assert site.run("prune", "--explain", "--target", "cloud", "--target", "vault") == 0
    explained = capsys.readouterr().out
    for target in ("cloud", "vault"):
        assert f"{target}: what must hold before anything is removed" in explained
    for check in ("newest read back", "enough others", "clock", "row counts", "signed"):
        assert explained.count(check) >= 2
    assert explained.count("remove") >= 2, "#1 is beyond `last: 1`"
    assert len(_manifests(s3, bucket)) == len(list((sshd.data / "far").glob("*.manifest.json"))) == 2
    assert site.run("prune", "--apply") == 0
    assert len(_manifests(s3, bucket)) == len(list((sshd.data / "far").glob("*.manifest.json"))) == 1


def _manifests(s3: Radosgw, bucket: str) -> list[str]:
    found = s3.client().list_objects_v2(Bucket=bucket)["Contents"]
    return [item["Key"] for item in found if item["Key"].endswith(".manifest.json")]
