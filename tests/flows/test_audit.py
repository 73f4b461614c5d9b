"""The audit: fresh by the schedule, whole by a sample that goes round, and from any machine with the plan."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.calendars import WEEKDAYS
from tasks.context import PlanContext
from tasks.health.audit import audit_target
from tasks.records import Finding
from tests.flows.site import Site

pytestmark = pytest.mark.slow

NIGHTLY = {"backup": "0 2 * * *", "timezone": "UTC"}


def failed(findings: tuple[Finding, ...]) -> dict[str, str]:
    return {finding.check: finding.detail for finding in findings if not finding.passed}


def later(context: PlanContext, target: str, **after: float) -> dict[str, str]:
    """What an audit finds some time after now."""
    return failed(audit_target(context, target, now=datetime.now(UTC) + timedelta(**after)))


@pytest.fixture
def backed_up(running_site: Site) -> Site:
    """An office with a backup of today on a nightly, a weekly and a weekday's target."""
    site = running_site
    today = WEEKDAYS[datetime.now(UTC).weekday()]
    site.change_plan(
        schedule=NIGHTLY,
        targets=[
            {"name": "nas", "kind": "folder", "path": "nas", "keep": "forever"},
            {"name": "cellar", "kind": "folder", "path": "cellar", "when": {"weekly": today}},
            {"name": "second-disk", "kind": "folder", "path": "second-disk", "slots": "weekday"},
        ],
    )
    assert site.run("backup") == 0
    return site


def test_fresh_by_the_schedule(backed_up: Site) -> None:
    context = backed_up.context
    assert later(context, "nas") == later(context, "cellar") == {}
    stale = later(context, "nas", days=2, hours=3)["newest is fresh"]
    assert "by the plan there should be one since" in stale
    assert later(context, "cellar", days=5) == {}, "a weekly target has a week"
    assert "newest is fresh" in later(context, "cellar", days=8, hours=5)
    slots = later(context, "second-disk", days=16)
    assert "missed two turns" in slots["slot is fresh"]

    target = {"name": "nas", "kind": "folder", "path": "nas"}
    far_month = (datetime.now(UTC).month + 5) % 12 + 1
    backed_up.change_plan(schedule={"backup": f"0 2 1 {far_month} *"}, targets=[target])
    assert later(backed_up.context, "nas", days=2) == {}, "no run was due since"
    backed_up.change_plan(targets=[{**target, "fresh_hours": 30}])
    assert "newest is fresh" in later(backed_up.context, "nas", days=2), "as the plan says it"
    backed_up.change_plan(schedule={}, targets=[target])
    assert later(backed_up.context, "nas", hours=20) == {}
    assert "newest is fresh" in later(backed_up.context, "nas", hours=30)


def test_an_empty_target_is_a_finding(backed_up: Site) -> None:
    for path in (backed_up.root / "nas").glob("clinic-*"):
        path.unlink()
    assert set(later(backed_up.context, "nas")) == {
        "backups on the shelf",
        "newest is fresh",
        "what was delivered is there",
    }


def test_every_older_backup_is_read_in_its_turn(backed_up: Site) -> None:
    site = backed_up
    for _ in range(3):
        assert site.run("backup", "--target", "nas") == 0
    second = site.archives("nas")[1]
    data = bytearray(second.read_bytes())
    data[-1] ^= 1
    second.write_bytes(data)
    context = site.context
    found = [bool(later(context, "nas", days=number).get("archive reads back")) for number in range(3)]
    assert found == sorted(found) and found[-1], "of three older ones another each day; then it is known"
    assert "sha256" in failed(audit_target(context, "nas", read_all=True))["archive reads back"]


def test_on_another_machine_with_the_plan_alone(
    backed_up: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No database there, another state folder and key: the plan's signers say whose backups count."""
    away: Path = tmp_path_factory.mktemp("away")
    shutil.copy(backed_up.plan, away / "clinic.yaml")
    shutil.copytree(backed_up.root / "nas", away / "nas")
    elsewhere = Site(away, away / "clinic.yaml", backed_up.keys)
    assert "signed by another machine" in later(elsewhere.context, "nas")["backup counts"]
    machine = backed_up.manifests("nas")[0]["machine"]
    elsewhere.change_plan(signers=[machine])
    assert (
        PlanContext(elsewhere.plan).machine_key().public_key() != backed_up.context.machine_key().public_key()
    )
    assert later(elsewhere.context, "nas") == {}
    assert elsewhere.run("audit", "--target", "nas") == 0, "the whole flow needs no database"
    (forged,) = (away / "nas").glob("*.manifest.json")
    forged.write_text(forged.read_text().replace('"copy_bytes": ', '"copy_bytes": 1'))
    assert "signature does not match" in later(elsewhere.context, "nas")["backup counts"]
