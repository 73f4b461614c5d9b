"""Whole runs with a bucket among the targets: locked, and with keys none of which may delete."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tasks.errors import TargetError
from tasks.health.audit import audit_target
from tests.contract.s3_targets import credentials, secrets_in
from tests.flows.site import Site, counts
from tests.servers.http_proxy import Fault, proxy_to
from tests.servers.radosgw import Keys, Radosgw, s3

__all__ = ["s3"]

pytestmark = pytest.mark.slow

SAID_YES = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def staff(s3: Radosgw) -> dict[str, Keys]:
    return {role: s3.user(role) for role in ("writer", "reader", "pruner")}


@pytest.fixture
def office(running_site: Site, s3: Radosgw, staff: dict[str, Keys], monkeypatch: pytest.MonkeyPatch) -> Site:
    """An office with a folder and a locked bucket, with keys to write and others to read."""
    secrets_in(monkeypatch, s3.admin, *staff.values())
    with_bucket(running_site, s3, s3.bucket(lock=True), staff["writer"], reader=credentials(staff["reader"]))
    return running_site


def with_bucket(site: Site, s3: Radosgw, bucket: str, keys: Keys, **more: Any) -> None:
    cloud = {
        "name": "cloud",
        "kind": "s3",
        "bucket": bucket,
        "prefix": "clinic",
        "endpoint": s3.endpoint,
        "lock": {"mode": "compliance", "days": 30},
        **credentials(keys),
        **more,
    }
    site.change_plan(targets=[{"name": "nas", "kind": "folder", "path": "nas"}, cloud])
    with site.context.target("cloud") as target:
        s3.grant(bucket, target.policies())  # type: ignore[attr-defined]


def bucket_of(site: Site) -> str:
    return str(site.context.entry("cloud").bucket)  # type: ignore[attr-defined]


def test_backup_with_least_rights_and_restore(
    office: Site, s3: Radosgw, staff: dict[str, Keys], tmp_path: Path
) -> None:
    assert office.run("backup") == 0
    client, bucket = s3.client(), bucket_of(office)
    keys = [item["Key"] for item in client.list_objects_v2(Bucket=bucket)["Contents"]]
    assert len(keys) == 7, "archive, manifest, its signature, the journal, and three pages for the worst day"
    for key in keys:
        retention = s3.client(staff["reader"]).get_object_retention(Bucket=bucket, Key=key)["Retention"]
        assert retention["RetainUntilDate"] > datetime.now(UTC) + timedelta(days=29), key
    assert office.run("backup") == 0
    found = client.list_object_versions(Bucket=bucket)["Versions"]
    for page in ("RECOVER.md", "RUNBOOK.md", "RUNBOOK.html"):
        assert [item["Key"] for item in found].count(f"clinic/{page}") == 1, "it had not changed"
    with_bucket(office, s3, bucket, staff["reader"])
    back = tmp_path / "back"
    words = ("restore", "--target", "cloud", "--identity", str(office.keys[0]), "--to", str(back))
    assert office.run(*words) == 0
    [restored] = back.rglob("clinic.db")
    assert counts(restored) == counts(office.database)


def test_a_whole_run_with_keys_that_only_write(
    running_site: Site,
    s3: Radosgw,
    staff: dict[str, Keys],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No other keys in the plan at all: sent, proven without a download, locked, and nothing can be read."""
    secrets_in(monkeypatch, s3.admin, *staff.values())
    site, bucket = running_site, s3.bucket(lock=True)
    with_bucket(site, s3, bucket, staff["writer"], keep="forever")
    for _ in range(2):
        assert site.run("backup") == 0
    keys = [item["Key"] for item in s3.client().list_objects_v2(Bucket=bucket)["Contents"]]
    assert len([key for key in keys if key.endswith(".manifest.json")]) == 2
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.client(staff["writer"]).get_object(Bucket=bucket, Key=keys[0])
    with site.context.target("cloud") as target:
        for key in keys:
            with pytest.raises(TargetError):
                target.delete(key.removeprefix("clinic/"))
    assert [item["Key"] for item in s3.client().list_objects_v2(Bucket=bucket)["Contents"]] == keys
    capsys.readouterr()
    back = ("restore", "--target", "cloud", "-i", str(site.keys[0]), "--to", str(tmp_path / "back"))
    assert site.run(*back) == 1
    assert "Traceback" not in capsys.readouterr().err
    with_bucket(site, s3, bucket, staff["writer"], keep="forever", reader=credentials(staff["reader"]))
    assert site.run(*back) == 0
    assert counts(tmp_path / "back" / "clinic.db") == counts(site.database)


def test_the_pruner_has_keys_of_its_own(
    running_site: Site, s3: Radosgw, staff: dict[str, Keys], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions are on: what goes, goes for good, and only by those keys."""
    secrets_in(monkeypatch, s3.admin, *staff.values())
    site, bucket = running_site, s3.bucket(versions=True)
    own = {role: credentials(staff[role]) for role in ("reader", "pruner")}
    with_bucket(site, s3, bucket, staff["writer"], lock=None, keep={"last": 1}, floor=1, **own)
    for _ in range(2):
        assert site.run("backup") == 0
    versions = s3.client().list_object_versions(Bucket=bucket)["Versions"]
    manifests = [item["Key"] for item in versions if item["Key"].endswith(".manifest.json")]
    assert len(manifests) == 1 and manifests[0].endswith("-000002.manifest.json")
    assert not [item for item in versions if "-000001" in item["Key"]], "no older version is left either"


def test_the_audit_asks_for_every_lock(office: Site, s3: Radosgw, staff: dict[str, Keys]) -> None:
    assert office.run("backup") == 0
    with_bucket(office, s3, bucket_of(office), staff["reader"])
    before = {finding.check: finding for finding in audit_target(office.context, "cloud")}
    assert all(finding.passed for finding in before.values())
    assert "2 of 2 archives and manifests" in before["locks"].detail

    # Whoever may write can put a copy over a manifest that is locked: the newest version has no lock then.
    client, bucket = s3.client(), bucket_of(office)
    keys = [item["Key"] for item in client.list_objects_v2(Bucket=bucket)["Contents"]]
    (manifest,) = (key for key in keys if key.endswith(".manifest.json"))
    body = s3.client(staff["reader"]).get_object(Bucket=bucket, Key=manifest)["Body"].read()
    s3.client(staff["writer"]).put_object(Bucket=bucket, Key=manifest, Body=body)
    after = [finding for finding in audit_target(office.context, "cloud") if not finding.passed]
    assert {finding.check for finding in after} == {"locked", "locks"}
    assert any("UNLOCKED" in finding.detail and ".manifest.json" in finding.detail for finding in after)

    # The newest one's lock must hold today, not only have been there.
    soon = datetime.now(UTC) + timedelta(days=31)
    lapsed = [
        finding.detail for finding in audit_target(office.context, "cloud", now=soon) if not finding.passed
    ]
    assert any("the newest, ended on" in detail for detail in lapsed)


def test_a_backup_that_ends_unlocked_fails_the_run(office: Site, s3: Radosgw, staff: dict[str, Keys]) -> None:
    bucket = bucket_of(office)
    with proxy_to(s3.endpoint) as proxy:
        proxy.rule = lambda request: (
            Fault(answer=SAID_YES) if request.method == "PUT" and "retention" in request.query else None
        )
        with_bucket(office, s3, bucket, staff["writer"], endpoint=proxy.endpoint)
        assert office.run("backup") != 0
        assert proxy.fired, "the fault fired"
    assert "UNLOCKED" in office.report()
    assert len(office.archives("nas")) == 1, "the other target got it"
    keys = [item["Key"] for item in s3.client().list_objects_v2(Bucket=bucket)["Contents"]]
    assert [key for key in keys if key.endswith(".age")] == keys, (
        "kept, and without a manifest it counts for nothing"
    )
