"""Archives in cold storage: drill, restore and rescue ask for them, come back or wait, and count the wait."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deployments.cli import app as cli
from flows.drill import drill
from tests.contract.s3_targets import credentials, secrets_in
from tests.flows.site import Site, counts
from tests.servers.ministack import Ministack, aws

__all__ = ["aws"]

pytestmark = pytest.mark.slow

VAULTS = ("hand", "schedule", "back", "bare")
SOME_SECONDS = "0.02"  # hours; the emulator takes two seconds to thaw


@pytest.fixture
def vaults(running_site: Site, aws: Ministack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An office with a backup in each of four places in cold storage."""
    secrets_in(monkeypatch, aws.admin)
    aws.client().create_bucket(Bucket="vault")
    site = running_site
    site.change_plan(targets=[_vault(aws, name) for name in VAULTS])
    assert site.run("backup") == 0
    yield site


def _vault(aws: Ministack, name: str) -> dict[str, Any]:
    place = {"name": name, "kind": "s3", "bucket": "vault", "prefix": name, "endpoint": aws.endpoint}
    return place | {"storage_class": "DEEP_ARCHIVE"} | credentials(aws.admin)


def certificate(aws: Ministack, name: str) -> dict[str, Any]:
    client = aws.client()
    found = client.list_objects_v2(Bucket="vault", Prefix=f"{name}/")["Contents"]
    (key,) = (item["Key"] for item in found if ".drill-" in item["Key"])
    read: dict[str, Any] = json.loads(client.get_object(Bucket="vault", Key=key)["Body"].read())
    return read


def names_thaw(drilled: dict[str, Any]) -> bool:
    return any(check["check"] == "thaw" for check in drilled["checks"])


def test_cold_storage_on_the_worst_day(
    vaults: Site,
    aws: Ministack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    site, key = vaults, ("--identity", str(vaults.keys[0]))

    # By hand: it is asked for, and says when to come back; that time is in the certificate.
    began = datetime.now(UTC)
    assert site.run("drill", "--target", "hand", *key) == 1
    said = capsys.readouterr().err
    assert "in cold storage: it was asked for" in said and "in about 12 h" in said and "--wait" in said
    assert site.plaintext() == []
    assert site.run("drill", "--target", "hand", *key, "--wait", SOME_SECONDS) == 0
    elapsed = (datetime.now(UTC) - began).total_seconds()
    drilled = certificate(aws, "hand")
    assert drilled["passed"] and names_thaw(drilled)
    assert 2 <= drilled["seconds"] <= elapsed, "from the first asking on, over both commands"

    # As served on a schedule: the plan's patience, nobody is there to come back.
    site.change_plan(drill={"target": "schedule", "identity": f"file:{site.keys[1]}"})
    assert drill(plan=site.plan, return_state=True).is_completed()
    drilled = certificate(aws, "schedule")
    assert drilled["holder"] == "Bank safe" and drilled["seconds"] >= 2 and names_thaw(drilled)
    told = [entry.facts for entry in site.context.journal.entries("thaw")]
    asked = {(facts["target"], facts["name"]): facts["done"] for facts in told}
    assert len(asked) == 2 and all(asked.values()), "nothing is waited for any more"

    restore = ("restore", "--target", "back", *key, "--to", str(tmp_path / "restored"))
    assert site.run(*restore) == 1
    assert "asked for" in capsys.readouterr().err and not (tmp_path / "restored").exists()
    assert site.run(*restore, "--wait", SOME_SECONDS) == 0
    assert counts(tmp_path / "restored" / "clinic.db") == counts(site.database)

    # With no plan at all.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", aws.admin.access)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", aws.admin.secret)
    rescue = ["rescue", "s3://vault/bare", "--endpoint", aws.endpoint, "-i", str(vaults.keys[0])]
    rescue += ["--to", str(tmp_path / "rescued"), *vaults.signer]
    assert cli.main([*rescue, "--list"]) == 0, "manifests are at hand"
    assert cli.main(rescue) == 1
    assert "asked for" in capsys.readouterr().err
    assert cli.main([*rescue, "--wait", SOME_SECONDS]) == 0
    assert "thaw" in capsys.readouterr().out
    assert counts(tmp_path / "rescued" / "clinic.db") == counts(vaults.database)
