"""Many offices on one server: registered from a folder of plans, and who is late."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName
from prefect.events.actions import RunDeployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed, Failed

from deployments.cli import app as cli
from deployments.serving.deployments import deployment_name
from deployments.serving.fleet import OfficeStatus, statuses_of
from tests.flows.site import Site

POOL = "offices-under-test"


@pytest.fixture
def plans(tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the plans of two offices, and the server they are registered with."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    folder = tmp_path / "plans"
    folder.mkdir()
    for name in ("north", "south"):
        root = tmp_path / name
        root.mkdir()
        office = Site.make(root, ["nas"], schedule={"backup": "0 2 * * *"})
        office.change_plan(name=name)
        shutil.copy(office.plan, folder / f"{name}.yaml")
    yield folder


def names(found: list[OfficeStatus]) -> list[str]:
    return [site.name for site in found]


def end(office: str, state: object) -> None:
    """A backup of the office that ended just now in that state."""
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(f"backup/{deployment_name('backup', office)}")
        run = client.create_flow_run_from_deployment(deployment.id)
        client.set_flow_run_state(run.id, state, force=True)  # type: ignore[arg-type]


def test_offices_are_registered_and_the_late_one_stands_first(
    plans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["fleet", "register", str(plans), "--pool", POOL, "--at", "/srv/{name}/plan.yaml"]) == 0
    with get_client(sync_client=True) as client:
        north = client.read_deployment_by_name("backup/Back up north")
        assert north.parameters["plan"] == "/srv/north/plan.yaml"
        assert (north.work_pool_name, north.work_queue_name) == (POOL, "north")
        assert "key" not in str(north.parameters).lower()
        # What the automations start reads the plan there, too: this machine's path means nothing to it.
        (died,) = client.read_automations_by_name("north: a run that died counts as Crashed")
        (start,) = [action for action in died.actions if isinstance(action, RunDeployment)]
        assert start.deployment_id is not None
        alarm = client.create_flow_run_from_deployment(start.deployment_id, parameters=start.parameters)
        assert alarm.parameters["plan"] == "/srv/north/plan.yaml"
        assert alarm.parameters["reason"] == "A run died without a word"
        client.delete_flow_run(alarm.id)
    now = datetime.now(UTC)
    assert [(site.name, site.late) for site in statuses_of(POOL, now)] == [("north", False), ("south", False)]

    end("south", Completed())
    end("north", Completed())
    end("north", Failed(message="1 of 1 targets failed"))
    later = statuses_of(POOL, now + timedelta(hours=25))
    assert [(site.name, site.late, site.newest) for site in later] == [
        ("north", False, "Failed"),
        ("south", False, "Completed"),
    ]
    assert all(site.late for site in statuses_of(POOL, now + timedelta(hours=27)))

    capsys.readouterr()
    assert cli.main(["fleet", "status", str(plans), "--pool", POOL]) == 0
    shown = capsys.readouterr().out
    assert "all 2 offices have a backup in time" in shown
    assert "north" in shown


def test_deployments_have_names_of_their_own_and_earlier_ones_go(plans: Path) -> None:
    """Each deployment once had its plan's name: what is registered so would start every run twice."""
    with get_client(sync_client=True) as client:
        flow = client.create_flow_from_name("backup")
        old = client.create_deployment(flow, "north", tags=["datasave", "north", "backup"])
        strange = client.create_deployment(flow, "north-2", tags=["datasave", "north-2", "backup"])
        assert cli.main(["fleet", "register", str(plans), "--pool", f"{POOL}-named"]) == 0
        with pytest.raises(ObjectNotFound):
            client.read_deployment(old)
        assert client.read_deployment(strange).name == "north-2"
        pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[f"{POOL}-named"]))
        found = [entry.name for entry in client.read_deployments(work_pool_filter=pool)]
        client.delete_deployment(strange)
    assert len(set(found)) == len(found) == 22
    assert {"Drill south", "Prune north backups", "Alarm of north"} <= set(found)


def test_one_wrong_plan_and_nothing_is_registered(plans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = yaml.safe_load((plans / "south.yaml").read_text("utf-8"))
    (plans / "west.yaml").write_text(yaml.safe_dump({**wrong, "name": "west", "targts": []}), "utf-8")
    (plans / "south-2.yaml").write_text(yaml.safe_dump(wrong), "utf-8")
    assert cli.main(["fleet", "register", str(plans), "--pool", f"{POOL}-wrong"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "nothing was registered" in said
    assert "west.yaml" in said and "targts" in said
    assert "2 plans have the name south" in said
    assert statuses_of(f"{POOL}-wrong", datetime.now(UTC)) == []


def test_an_empty_folder_and_no_server_are_told(
    tmp_path: Path, plans: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    assert cli.main(["fleet", "register", str(tmp_path / "empty")]) == 1
    assert "holds no plan" in capsys.readouterr().err
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    assert cli.main(["fleet", "status", str(plans)]) == 1
    assert "does not answer" in capsys.readouterr().err
