"""Connections that others can read along on: told, and refused where the plan says hipaa: true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.context import PlanContext
from tasks.errors import PlanError
from tests.flows.site import Site

S3 = {"name": "cloud", "kind": "s3", "bucket": "backups", "baa": {"vendor": "Cloud", "signed": "2026-01-10"}}
SMB = {"name": "nas2", "kind": "smb", "server": "nas.lan", "share": "b", "user": "u", "password": "env:P"}
SQLSERVER = {"kind": "sqlserver", "database": "Practice", "backup_folder": "/srv/backup"}
CLEAR: list[tuple[str, dict[str, Any]]] = [
    ("endpoint", {"targets": [{**S3, "endpoint": "http://minio.office.lan:9000"}]}),
    ("endpoint", {"targets": [{**S3, "endpoint": "http://203.0.113.7"}]}),
    ("encrypt", {"targets": [{**SMB, "encrypt": False}]}),
    ("sslmode", {"source": {"kind": "postgresql", "database": "c", "host": "db.lan", "sslmode": "disable"}}),
    ("sslmode", {"source": {"kind": "postgresql", "database": "c", "host": "db.lan", "sslmode": "prefer"}}),
    ("encrypt", {"source": {**SQLSERVER, "server": "db.lan\\SOS", "encrypt": "no"}}),
    ("trust_certificate", {"source": {**SQLSERVER, "server": "db.lan,1433", "trust_certificate": True}}),
    ("backup", {"notices": {"heartbeat": "http://ping.example/abc"}}),
]
CLOSED: list[dict[str, Any]] = [
    {"targets": [{**S3, "endpoint": "https://s3.example.com"}]},
    {"targets": [{**S3, "endpoint": "http://127.0.0.1:9000"}]},
    {"targets": [S3]},
    {"targets": [SMB]},
    {"source": {"kind": "postgresql", "database": "c", "host": "db.lan"}},
    {"source": {"kind": "postgresql", "database": "c", "sslmode": "prefer"}},
    {"source": {**SQLSERVER, "server": "localhost\\SOS", "trust_certificate": True}},
    {"notices": {"heartbeat": "https://ping.example/abc"}},
]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.make(tmp_path, ["nas"])


@pytest.mark.parametrize(("option", "changed"), CLEAR)
def test_s8_a_line_in_the_clear_is_refused_beside_hipaa(
    site: Site, option: str, changed: dict[str, Any]
) -> None:
    site.change_plan(**changed, hipaa=True)
    with pytest.raises(PlanError) as refused:
        PlanContext(site.plan)
    assert f".{option}: would let others on the network read along" in str(refused.value)


@pytest.mark.parametrize(("option", "changed"), CLEAR)
def test_s8_without_hipaa_it_is_a_plan(site: Site, option: str, changed: dict[str, Any]) -> None:
    """An office whose storage has no TLS keeps its backups: `doctor` tells it."""
    site.change_plan(**changed)
    plan = PlanContext(site.plan).plan
    told = [*(target.in_the_clear for target in plan.targets), plan.source.in_the_clear]
    told += [plan.notices.heartbeat.in_the_clear] if plan.notices.heartbeat else []
    assert option in told


@pytest.mark.parametrize("changed", CLOSED, ids=lambda changed: yaml.safe_dump(changed)[:40])
def test_s8_encrypted_lines_and_this_machine_are_none(site: Site, changed: dict[str, Any]) -> None:
    site.change_plan(**changed, hipaa=True)
    assert PlanContext(site.plan).plan.hipaa
