"""Whoever has a Prefect server's password starts our flows with it and nothing else: real attacks."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.serving.environment import home_of
from tasks.journal.kinds import Kind
from tests.flows.serving import Served, clean_environment, served
from tests.flows.site import Site
from tests.flows.test_machine_dies import soon

pytestmark = pytest.mark.slow
QUEUE = ("offices", "clinic")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, clinic: Path) -> Site:
    """The office whose server it is."""
    return _office(tmp_path_factory.mktemp("office"), clinic)


@pytest.fixture(scope="module")
def office(site: Site) -> Iterator[Served]:
    """Served: the runner of `datasave serve` does its runs."""
    with served(site) as running:
        yield running


@pytest.fixture(scope="module")
def branch(
    office: Served, tmp_path_factory: pytest.TempPathFactory, clinic: Path
) -> Iterator[tuple[Site, Served]]:
    """An office of a fleet: a worker does its runs, which come by a queue of the same server."""
    site = _office(tmp_path_factory.mktemp("branch"), clinic, name="branch")
    environment = {
        **clean_environment(home_of(site.plan)),
        "PREFECT_API_URL": f"{office.url}/api",
        "PREFECT_API_AUTH_STRING": office.password,
    }
    with _worker(site, environment) as process:
        yield site, Served(office.url, office.api, environment, office.password, process)


def _office(root: Path, clinic: Path, **options: Any) -> Site:
    shutil.copy(clinic, root / "clinic.db")
    return Site.make(root, ["nas"], **options)


@contextmanager
def _worker(site: Site, environment: dict[str, str]) -> Iterator[int]:
    place = ("--plan", str(site.plan), "--pool", QUEUE[0], "--queue", QUEUE[1])
    command = [sys.executable, "-m", "deployments"]
    with (site.root / "worker.log").open("ab") as log:
        subprocess.run([*command, "deploy", *place], env=environment, check=True, stdout=log, stderr=log)
        process = subprocess.Popen([*command, "worker", *place], env=environment, stdout=log, stderr=log)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


def told(site: Site) -> list[str]:
    """What the journal says was refused or ignored."""
    return [str(entry.facts["detail"]) for entry in site.context.journal.entries(Kind.REFUSED)]


def planting(planted: Path) -> dict[str, Any]:
    """Prefect's own step that runs a command, here one that makes a file."""
    return {"prefect.deployments.steps.run_shell_script": {"script": f"touch {planted}"}}


def deployment(office: Served, flow: str, plan: str) -> dict[str, Any]:
    from deployments.serving.deployments import deployment_name

    name = deployment_name(flow, plan)
    found: dict[str, Any] = office.api.get(f"/deployments/name/{flow}/{name}").raise_for_status().json()
    return found


def start(office: Served, flow: str, plan: str, **run: Any) -> dict[str, Any]:
    """A run made by hand, with whatever fields; how it ended."""
    found = deployment(office, flow, plan)
    body = {"state": {"type": "SCHEDULED"}, "parameters": found["parameters"], **run}
    made = office.send("POST", f"/deployments/{found['id']}/create_flow_run", body)
    return office.wait(str(made.json()["id"]))


def patch(office: Served, flow: str, plan: str, **fields: Any) -> None:
    found = deployment(office, flow, plan)
    office.send("PATCH", f"/deployments/{found['id']}", fields)


def test_s2_a_patched_deployment_starts_its_flow_and_no_command(
    site: Site, office: Served, tmp_path: Path
) -> None:
    planted = tmp_path / "planted"
    patch(
        office,
        "check",
        "clinic",
        pull_steps=[planting(planted)],
        entrypoint=f"{_flow_file(tmp_path, planted)}:check",
    )
    ended = start(office, "check", "clinic")
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
    assert not planted.exists()
    assert any("run_shell_script" in line and "another entrypoint" in line for line in told(site)), told(site)


def test_s2_nothing_runs_by_the_hooks_of_a_run_that_was_cut_off(
    site: Site, office: Served, tmp_path: Path
) -> None:
    """A cancelled run's hooks were looked for by the pull steps of its deployment."""
    planted = tmp_path / "planted"
    patch(office, "backup", "clinic", pull_steps=[planting(planted)])
    found = deployment(office, "backup", "clinic")
    body = {"state": {"type": "SCHEDULED"}, "parameters": found["parameters"]}
    run = office.send("POST", f"/deployments/{found['id']}/create_flow_run", body).json()["id"]
    soon(lambda: office.api.get(f"/flow_runs/{run}").json()["state_type"] == "RUNNING", "the run", 120)
    office.send("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}, "force": True})
    office.wait(run)
    assert not planted.exists()


@pytest.mark.parametrize(
    ("flow", "parameters", "says"),
    [
        ("check", {"plan": "{elsewhere}"}, "is served here"),
        ("check", {"plan": "{plan}/../elsewhere.yaml"}, "is served here"),
        ("check", {"plan": 7}, "is served here"),
        ("check", {}, "is served here"),
        ("deliver", {"plan": "{plan}", "targets": "nas"}, "a value that it cannot have"),
        ("deliver", {"plan": "{plan}", "targets": ["../../etc"]}, "a value that it cannot have"),
        ("restore", {"plan": "{plan}", "target": {"nas": 1}}, "a value that it cannot have"),
        ("check", {"plan": "{plan}", "command": "touch"}, "has no parameter command"),
    ],
)
def test_s2_a_forged_run_with_foreign_parameters_is_refused(
    site: Site, office: Served, flow: str, parameters: dict[str, Any], says: str
) -> None:
    """Runs that no form made: `POST /flow_runs` checks nothing."""
    elsewhere = site.root / "elsewhere.yaml"
    other = yaml.safe_load(site.plan.read_text("utf-8"))
    planted = site.root / "planted-by-plan"
    other["notices"] = {"command": ["touch", str(planted)]}
    elsewhere.write_text(yaml.safe_dump(other), "utf-8")
    given = {
        name: value.format(plan=site.plan, elsewhere=elsewhere) if isinstance(value, str) else value
        for name, value in parameters.items()
    }
    ended = _forged(office, flow, given)
    assert ended["state_type"] == "FAILED"
    assert says in ended["state"]["message"], ended["state"]["message"]
    assert not planted.exists() and any(says in line for line in told(site))


def test_s2_a_flow_of_a_foreign_name_is_refused(site: Site, office: Served) -> None:
    office.send("POST", "/flows/", {"name": "prefect.deployments.steps"})
    ended = _forged(office, "prefect.deployments.steps", {"plan": str(site.plan)}, by="check")
    assert ended["state_type"] == "FAILED" and "none of ours" in ended["state"]["message"]


def test_s2_results_are_kept_here_whatever_the_server_says(
    site: Site, office: Served, tmp_path: Path
) -> None:
    """A server's default storage takes the results of steps, and gives pickles back."""
    kind = office.api.get("/block_types/slug/local-file-system").raise_for_status().json()
    schemas = office.send(
        "POST", "/block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [kind["id"]]}}}
    )
    there = tmp_path / "there"
    block = {
        "name": "there",
        "data": {"basepath": str(there)},
        "block_type_id": kind["id"],
        "block_schema_id": schemas.json()[0]["id"],
    }
    made = office.send("POST", "/block_documents/", block).json()["id"]
    office.send("PUT", "/admin/storage", {"default_result_storage_block_id": made})
    patch(office, "backup", "clinic", pull_steps=None)
    ended = start(office, "backup", "clinic")
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
    assert not there.exists()


def test_s2_a_worker_takes_no_command_from_a_run(branch: tuple[Site, Served], tmp_path: Path) -> None:
    site, office = branch
    planted = tmp_path / "planted"
    ended = start(
        office,
        "check",
        "branch",
        job_variables={"command": f"touch {planted}", "env": {"PYTHONPATH": "/nowhere"}},
    )
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
    assert not planted.exists()
    assert any("job variables of the run (command, env)" in line for line in told(site)), told(site)


def test_s2_a_worker_takes_none_from_its_work_pool_or_deployment(
    branch: tuple[Site, Served], tmp_path: Path
) -> None:
    site, office = branch
    planted = tmp_path / "planted"
    pool = office.api.get(f"/work_pools/{QUEUE[0]}").raise_for_status().json()
    template = pool["base_job_template"]
    template["job_configuration"]["command"] = f"touch {planted}"
    office.send("PATCH", f"/work_pools/{QUEUE[0]}", {"base_job_template": template})
    patch(office, "check", "branch", pull_steps=[planting(planted)], job_variables={"working_dir": "/"})
    ended = start(office, "check", "branch")
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
    assert not planted.exists()
    assert any("job variables of its deployment" in line for line in told(site)), told(site)


def test_s2_a_foreign_deployment_in_an_offices_queue_is_refused(
    branch: tuple[Site, Served], tmp_path: Path
) -> None:
    site, office = branch
    planted = tmp_path / "planted"
    flow = office.send("POST", "/flows/", {"name": "payload"}).json()["id"]
    body = {
        "name": "payload",
        "flow_id": flow,
        "entrypoint": f"{_flow_file(tmp_path, planted)}:check",
        "work_pool_name": QUEUE[0],
        "work_queue_name": QUEUE[1],
        "pull_steps": [planting(planted)],
    }
    made = office.send("POST", "/deployments/", body).json()["id"]
    run = office.send("POST", f"/deployments/{made}/create_flow_run", {"state": {"type": "SCHEDULED"}})
    ended = office.wait(run.json()["id"], attempt=0)
    assert ended["state_type"] == "FAILED" and "none of ours" in ended["state"]["message"]
    assert not planted.exists() and any("payload" in line for line in told(site))


def _forged(office: Served, flow: str, parameters: dict[str, Any], by: str = "") -> dict[str, Any]:
    """A run of a deployment of ours, made past every form."""
    flow_id = office.api.get(f"/flows/name/{flow}").raise_for_status().json()["id"]
    body = {
        "flow_id": flow_id,
        "deployment_id": deployment(office, by or flow, "clinic")["id"],
        "parameters": parameters,
        "state": {"type": "SCHEDULED"},
    }
    return office.wait(office.send("POST", "/flow_runs/", body).json()["id"], attempt=0)


def _flow_file(folder: Path, planted: Path) -> Path:
    """A file that makes the planted one when it is imported."""
    path = folder / "payload.py"
    path.write_text(f"open({str(planted)!r}, 'w').close()\nfrom flows.copying import check\n", "utf-8")
    return path
