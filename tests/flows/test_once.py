"""What a run does once: read its plan, open each target, write its report."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

from tasks import context
from tasks.backup import deliver
from tasks.targets import registry
from tests.flows.site import Site
from tests.flows.test_targets import unmounted
from tests.servers.hooks import hooks

pytestmark = pytest.mark.slow


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    """The first argument of each call from now on."""
    calls: list[Any] = []
    real = getattr(module, name)

    def counting(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments[0])
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, counting)
    return calls


def test_the_plan_is_read_once_and_a_delivery_opens_its_target_once(
    running_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = running_site
    assert site.run("backup") == 0
    # However slow this machine is just now.
    monkeypatch.setattr(context, "_IDLE_SECONDS", 3600.0)
    opened = counted(monkeypatch, registry, "make_target")
    read = counted(monkeypatch, context, "load_plan")
    context._plans.clear()
    assert site.run("backup") == 0
    assert Counter(opened) == Counter({"nas": 1, "second-disk": 1, "cellar": 1})
    assert read == [site.plan]


def test_the_report_is_written_once_and_amended_when_people_were_told(
    running_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.steps import report

    site = running_site
    judged = counted(monkeypatch, report, "posture_of")
    remembered = counted(monkeypatch, report, "remember")
    with hooks() as switch:
        site.change_plan(notices={"heartbeat": f"{switch.url}/beat"})
        assert site.run("backup", "--target", "nas") == 0
    assert len(judged) == len(remembered) == 1
    page = site.report()
    assert "Who was told" in page and "heartbeat" in page
    assert "points by" in page, "the posture stays"
    (artifact,) = newest_report(1)
    assert "heartbeat" in artifact and "Posture" in artifact


def newest_report(count: int) -> list[str]:
    """What the UI shows of the newest reports, by the time they were made."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["report-clinic"])),
            sort=ArtifactSort.CREATED_DESC,
            limit=count,
        )
    return [str(artifact.data) for artifact in found]


def test_a_retry_by_another_version_delivers_the_archive_that_waits(
    running_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that the failed run's steps returned can be found: as after an upgrade of this program."""
    site = running_site
    with unmounted(site):
        assert site.run("backup") == 1
    (waiting,) = site.staging.glob("*/sealed/*.age")
    sealed = waiting.read_bytes()
    arrived = {path: path.stat().st_mtime_ns for path in site.archives("cellar")}
    monkeypatch.setattr(
        "tasks.steps.declaration.StepName.compute_key", lambda self, *_, **__: f"new {self.name}"
    )
    sent = counted(monkeypatch, deliver, "deliver")
    read = counted(monkeypatch, deliver, "read_back")
    site.database.rename(site.root / "gone.db")
    assert site.run("retry") == 0
    assert [path.read_bytes() for path in site.archives("nas")] == [sealed]
    assert [manifest["sequence"] for manifest in site.manifests("nas")] == [1]
    assert len(sent) == len(read) == 1, "only what failed is done again"
    assert {path: path.stat().st_mtime_ns for path in site.archives("cellar")} == arrived
    page = site.report()
    assert page.count("Kept from the earlier attempt") == 5 + 2 * 3
    assert not any(site.staging.glob("*/sealed/*")), "nothing waits any more"
