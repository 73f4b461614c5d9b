"""`datasave deploy` and `datasave worker` with a Prefect server: re-runs, reboots, a cut network."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.serving.environment import given_password_file, home_of
from tests.flows import holding
from tests.flows.family import kill_all, one_of
from tests.flows.serving import Served, clean_environment
from tests.flows.site import Site
from tests.flows.test_machine_dies import alarms, soon
from tests.flows.test_served import MISSING_BRANCH
from tests.flows.test_targets import unmounted
from tests.servers.ports import free_port
from tests.servers.tcp_proxy import tcp_proxy_to

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals and /proc")
PASSWORD = "site-7:correct-horse"
PLACE = ("--pool", "offices", "--queue", "front-office")


@pytest.mark.slow
@pytest.mark.heartbeats
def test_a_worker_of_a_site(site: Site, tmp_path: Path) -> None:
    port = free_port()
    with ExitStack() as network:
        proxy = network.enter_context(tcp_proxy_to(port))
        with server(tmp_path / "server", port) as api:
            office = _site_of(site, api, proxy.port)
            _without_the_password_nothing_is_registered(site, office)
            _a_broken_plan_registers_nothing(site, office)
            _prefect_deploy_says_the_same(site, office)
            with worker(site, office) as pid:
                with unmounted(site):
                    failed = office.start("backup")
                    assert office.wait(failed)["state"]["message"].startswith("1 of 3 targets failed")
                    again = office.start("backup")
                    assert office.wait(again)["state_type"] == "FAILED"
                _retried(site, office, failed)
                _cut_network_costs_no_backup(site, office, proxy, pid)
                _killed_worker_costs_no_backup(site, office, pid)
                kill_all(pid)
        with server(tmp_path / "server", port) as api, worker(site, office):
            office = replace(office, api=api)
            _retried(site, office, again)
            _silence_alarms(site, office)


def _without_the_password_nothing_is_registered(site: Site, office: Served) -> None:
    given = given_password_file(home_of(site.plan))
    given.unlink()
    refused = _datasave(site, office, "deploy", *PLACE)
    assert refused.returncode == 1 and "wants a name and password" in refused.stderr
    given.write_text(PASSWORD, "utf-8")
    open_to_all = _datasave(site, office, "deploy", *PLACE)
    assert open_to_all.returncode == 1 and "others can read" in open_to_all.stderr
    given.chmod(0o600)
    assert office.api.post("/deployments/filter", json={}).json() == []


def _a_broken_plan_registers_nothing(site: Site, office: Served) -> None:
    good = site.plan.read_text("utf-8")
    site.change_plan(schedule={"backup": "0 25 * * *"})
    for command in (("deploy", *PLACE), ("serve", "--port", str(free_port()))):
        refused = _datasave(site, office, *command)
        assert refused.returncode == 1 and "schedule.backup" in refused.stderr
        assert "Traceback" not in refused.stderr
    site.plan.write_text(good, "utf-8")
    assert office.api.post("/deployments/filter", json={}).json() == []


def _prefect_deploy_says_the_same(site: Site, office: Served) -> None:
    """`prefect deploy --all` with the file that deploy writes changes nothing that deploy registered."""
    site.change_plan(schedule={"backup": "0 2 * * *", "audit": "0 8 * * *", "timezone": "Europe/Berlin"})
    assert _datasave(site, office, "deploy", *PLACE).returncode == 0
    site.change_plan(schedule={"backup": "0 2 * * *", "timezone": "Europe/Berlin"})
    done = _datasave(site, office, "deploy", *PLACE)
    assert done.returncode == 0, done.stderr
    assert "datasave worker --pool offices --queue front-office" in done.stdout
    registered = _deployments(office)
    assert registered["audit"]["schedules"] == [], "a schedule that left the plan is gone"
    written = site.root / "prefect.yaml"
    assert _datasave(site, office, "deploy", *PLACE, "--write", str(written)).returncode == 0
    by_prefect = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(written)],
        env={**office.environment, "PREFECT_API_AUTH_STRING": PASSWORD},
        cwd=site.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert by_prefect.returncode == 0, by_prefect.stdout + by_prefect.stderr
    assert _deployments(office) == registered


def _cut_network_costs_no_backup(site: Site, office: Served, proxy: Any, pid: int) -> None:
    """The worker's machine loses the server in the middle of a run, and finds it again ten seconds later."""
    passed, runner = proxy.connections, one_of(pid, "deployments.serving.runner")
    with holding.held(site.root, "rehearse"):
        run = office.start("backup")
        holding.wait_until_held(site.root)
        proxy.upstream, port = free_port(), proxy.upstream
        proxy.cut()
        time.sleep(10)
        assert proxy.connections > passed, "nobody missed the server"
        proxy.upstream = port
    assert office.wait(run)["state_type"] == "COMPLETED"
    # After an outage another takes its place, once nothing is under way: what it takes on then may be lost.
    soon(lambda: one_of(pid, "deployments.serving.runner") != runner, "a new worker", 60)


def _killed_worker_costs_no_backup(site: Site, office: Served, pid: int) -> None:
    with holding.held(site.root, "rehearse"):
        run = office.start("backup")
        holding.wait_until_held(site.root)
        os.kill(one_of(pid, "deployments.serving.runner"), signal.SIGKILL)
    assert office.wait(run)["state_type"] == "COMPLETED"
    assert office.wait(office.start("backup"))["state_type"] == "COMPLETED"


def _silence_alarms(site: Site, office: Served) -> None:
    """No backup for a while, here 18 s: the automation alarms, though nothing ran and nothing failed."""
    site.change_plan(schedule={"backup": "0 2 * * *", "alarm_hours": 0.005})
    assert _datasave(site, office, "deploy", *PLACE).returncode == 0
    soon(lambda: bool(alarms(office)), "an alarm", 120)
    told = alarms(office)[0]["state"]["message"]
    assert told.startswith("ALARM: No backup of clinic succeeded for 0.005 hours"), told


def _retried(site: Site, office: Served, run: str) -> None:
    done = _datasave(site, office, "retry", run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert office.executed(run, attempt=2) == MISSING_BRANCH


def _deployments(office: Served) -> dict[str, Any]:
    """What was registered, by flow, without what each registration makes anew.

    And without the forms: their choices are the plan's own names, which a prefect.yaml cannot say.
    """
    volatile = {"updated", "created", "last_polled", "status", "pull_steps", "parameter_openapi_schema"}
    # Inside a git checkout Prefect makes the version of the commit, outside of the entrypoint.
    volatile |= {"version", "version_id", "version_info"}
    found = office.api.post("/deployments/filter", json={}).raise_for_status().json()
    return {
        entry["tags"][-1] if "alarm" in entry["tags"] else entry["entrypoint"].rpartition(".")[2]: {
            **{key: value for key, value in entry.items() if key not in volatile},
            "schedules": [schedule["schedule"] for schedule in entry["schedules"]],
        }
        for entry in found
    }


def _datasave(site: Site, office: Served, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deployments", *arguments, "--plan", str(site.plan)]
    return subprocess.run(command, env=office.environment, capture_output=True, text=True, check=False)


def _site_of(site: Site, api: httpx.Client, port: int) -> Served:
    """The site's machine: it reaches the server by a proxy, with the password in a private file."""
    home = home_of(site.plan)
    environment = {
        **clean_environment(home),
        **holding.settings(site.root),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
    }
    given_password_file(home).touch(mode=0o600)
    return Served(str(api.base_url).removesuffix("/api/"), api, environment, PASSWORD)


@contextmanager
def server(home: Path, port: int) -> Iterator[httpx.Client]:
    """A Prefect server as an administrator starts it, with a password."""
    from deployments.serving.environment import SETTINGS

    environment = {**clean_environment(home), **SETTINGS, "PREFECT_SERVER_API_AUTH_STRING": PASSWORD}
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    with (home / "server.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    auth = httpx.BasicAuth(*PASSWORD.split(":"))
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api", timeout=120, auth=auth) as api:
            soon(lambda: Served("", api, {}, "").answers(), "the server", 120)
            yield api
    finally:
        kill_all(process.pid)
        process.wait()


@contextmanager
def worker(site: Site, office: Served) -> Iterator[int]:
    """`datasave worker` for as long as the block runs; its id."""
    command = [sys.executable, "-m", "deployments", "worker", *PLACE, "--plan", str(site.plan)]
    with (site.root / "worker.log").open("ab") as log:
        process = subprocess.Popen(command, env=office.environment, stdout=log, stderr=log)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)
