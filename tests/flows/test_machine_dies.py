"""`datasave serve` under kill -9 of a run, the server, the runner, of all at once, and asleep for a night.

One server for all of it, since each start takes seconds. The times that README promises are those of the
plain settings: here a run counts as dead after 75 s without a heartbeat, for users after 150 s.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deployments.serving.automations import SECONDS_WITHOUT_HEARTBEAT
from deployments.serving.deployments import deployment_name
from tests.flows import holding
from tests.flows.family import asleep, kill_all, one_of
from tests.flows.serving import Served, served
from tests.flows.site import Site
from tests.flows.test_served import MISSING_BRANCH
from tests.flows.test_targets import unmounted
from tests.servers.hooks import Hooks, hooks
from tests.servers.ports import free_port

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals and /proc")
SHORT = 75


@pytest.fixture
def phone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hooks]:
    """What a channel of the plan's notices receives."""
    with hooks() as room:
        monkeypatch.setenv("PHONE", f"json://127.0.0.1:{room.port}/")
        yield room


@pytest.mark.slow
@pytest.mark.heartbeats
@pytest.mark.timeout(900)
def test_whatever_dies(site: Site, phone: Hooks) -> None:
    site.change_plan(
        schedule={"backup": "0 2 * * *", "timezone": "Europe/Berlin"},
        notices={"channels": [{"name": "phone", "url": "env:PHONE"}]},
    )
    port = free_port()
    with served(site, port, **holding.settings(site.root)) as office:
        dead = _automation(office, "clinic: a run that died counts as Crashed")
        assert dead["trigger"]["within"] == SECONDS_WITHOUT_HEARTBEAT
        _cancelled_run_leaves_nothing_readable(site, office)
        _killed_run_is_crashed_at_once(site, office, phone)
        _killed_server_costs_no_backup_and_hears_cancel_again(site, office)
        _killed_runner_costs_no_backup(site, office)
        _sooner(office, dead)
        with unmounted(site):
            failed = office.start("backup")
            assert office.wait(failed)["state"]["message"].startswith("1 of 3 targets failed")
        cut = _power_cut(site, office)
    with served(site, port, **holding.settings(site.root)) as office:
        _a_night_asleep_is_caught_up_once(office)
        _the_run_of_the_power_cut_is_crashed(site, office, cut, phone)
        _retry_after_the_reboot_does_what_failed(site, office, failed)


def _cancelled_run_leaves_nothing_readable(site: Site, office: Served) -> None:
    with holding.held(site.root, "rehearse"):
        run = office.start("backup")
        holding.wait_until_held(site.root)
        assert site.plaintext(), "cancelled too late to matter"
        _cancel(office, run)
        assert office.wait(run)["state_type"] == "CANCELLED"
        soon(lambda: not site.plaintext(), "nothing readable", 20)


def _killed_run_is_crashed_at_once(site: Site, office: Served, phone: Hooks) -> None:
    with holding.held(site.root, "rehearse"):
        run = office.start("backup")
        holding.wait_until_held(site.root)
        assert site.plaintext(), "killed too late to matter"
        os.kill(one_of(office.process, "deployments.serving.engine"), signal.SIGKILL)
        killed = office.wait(run)
    assert killed["state_type"] == "CRASHED"
    soon(lambda: any("stopped before its end" in body for _, body in phone.requests), "a notice", 60)
    soon(lambda: not site.plaintext(), "nothing readable", 20)


def _killed_server_costs_no_backup_and_hears_cancel_again(site: Site, office: Served) -> None:
    runner = one_of(office.process, "deployments.serving.runner")
    with holding.held(site.root, "rehearse"):
        run = office.start("backup")
        holding.wait_until_held(site.root)
        server = one_of(office.process, "deployments.serving.home")
        os.kill(server, signal.SIGKILL)
        soon(lambda: one_of(office.process, "deployments.serving.home") != server, "a new server", 60)
        soon(office.answers, "the server answers", 60)
    assert office.wait(run)["state_type"] == "COMPLETED"
    # What started before the outage no longer hears Cancel: another process has taken its place by now.
    soon(lambda: one_of(office.process, "deployments.serving.runner") != runner, "a new runner", 60)
    with holding.held(site.root, "rehearse"):
        run = office.start("backup")
        holding.wait_until_held(site.root)
        _cancel(office, run)
        assert office.wait(run)["state_type"] == "CANCELLED"


def _killed_runner_costs_no_backup(site: Site, office: Served) -> None:
    with holding.held(site.root, "rehearse"):
        run = office.start("backup")
        holding.wait_until_held(site.root)
        os.kill(one_of(office.process, "deployments.serving.runner"), signal.SIGKILL)
    assert office.wait(run)["state_type"] == "COMPLETED"


def _power_cut(site: Site, office: Served) -> str:
    """Everything ends in the middle of a run, whose id is returned."""
    with holding.held(site.root, "rehearse"):
        run = office.start("backup")
        holding.wait_until_held(site.root)
        time.sleep(2)  # its first heartbeat is on its way
        kill_all(office.process)
    assert site.plaintext(), "the power was cut too late to matter"
    return run


def _a_night_asleep_is_caught_up_once(office: Served) -> None:
    _every(office, "audit", 5)
    time.sleep(7)  # the scheduler looks after changed deployments each 5 s
    began = time.time()
    with asleep(office.process):
        time.sleep(26)
    _caught_up_once(office, began + 1, time.time() - 1)
    _every(office, "audit", 0)


def _caught_up_once(office: Served, began: float, ended: float) -> None:
    """Of the audits that were due in a time in which nothing ran, each 5 s, one was done."""
    at_rest = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")

    def missed(*states: str) -> list[dict[str, Any]]:
        found = _runs(office, "audit", *states)
        return [run for run in found if began < _seconds(run["expected_start_time"]) < ended]

    soon(lambda: len(missed(*at_rest)) >= 4, "runs that were missed", 120)
    soon(lambda: not missed("SCHEDULED", "PENDING", "RUNNING"), "missed runs at rest", 120)
    ends = [run["state_type"] for run in missed(*at_rest)]
    assert ends.count("CANCELLED") >= len(ends) - 1, ends
    # Where none of these is the one, it was due in the second before the night or after it.
    soon(
        lambda: any(
            _seconds(run["expected_start_time"]) > began - 6 for run in _runs(office, "audit", "COMPLETED")
        ),
        "an audit",
        60,
    )


def _the_run_of_the_power_cut_is_crashed(site: Site, office: Served, run: str, phone: Hooks) -> None:
    crashed = office.wait(run)
    assert crashed["state_type"] == "CRASHED"
    assert crashed["state"]["message"].startswith("No sign of life")
    assert _alarm(office, crashed["name"])["state"]["message"].startswith("ALARM: A run died without a word")
    soon(lambda: any("A run died without a word" in body for _, body in phone.requests), "a notice", 60)
    assert site.plaintext() == []


def _retry_after_the_reboot_does_what_failed(site: Site, office: Served, failed: str) -> None:
    retry = [sys.executable, "-m", "deployments", "retry", failed, "--plan", str(site.plan)]
    done = subprocess.run(retry, env=office.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert office.executed(failed, attempt=2) == MISSING_BRANCH
    good = office.wait(office.start("backup"))
    assert good["state_type"] == "COMPLETED", good["state"]["message"]


def _cancel(office: Served, run: str) -> None:
    """As the UI's Cancel does it."""
    body = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    office.send("POST", f"/flow_runs/{run}/set_state", body)


def _alarm(office: Served, about: str) -> dict[str, Any]:
    """The alarm whose message holds ``about``, once it is out."""
    soon(lambda: any(about in run["state"]["message"] for run in alarms(office)), f"an alarm: {about}", 120)
    return next(run for run in alarms(office) if about in run["state"]["message"])


def alarms(office: Served) -> list[dict[str, Any]]:
    """Alarms that are out, newest first."""
    return _runs(office, "alarm", "FAILED")


def _runs(office: Served, flow: str, *states: str) -> list[dict[str, Any]]:
    """Runs of a deployment in these states whose time has come, newest first."""
    query = {
        "deployments": {"name": {"any_": [deployment_name(flow, "clinic")]}},
        "flows": {"name": {"any_": [flow]}},
        "flow_runs": {"state": {"type": {"any_": list(states)}}},
        "sort": "EXPECTED_START_TIME_DESC",
    }
    found: list[dict[str, Any]] = office.api.post("/flow_runs/filter", json=query).raise_for_status().json()
    return [run for run in found if _seconds(run["expected_start_time"]) < time.time()]


def _every(office: Served, flow: str, seconds: int) -> None:
    """Let a deployment run every few seconds; 0 ends that."""
    deployment = office.deployment(flow)
    schedules = [{"schedule": {"interval": seconds}, "active": True}] if seconds else []
    body = {"schedules": schedules}
    office.send("PATCH", f"/deployments/{deployment['id']}", body)


def _automation(office: Served, name: str) -> dict[str, Any]:
    found = office.api.post("/automations/filter", json={}).raise_for_status().json()
    return next(automation for automation in found if automation["name"] == name)


def _sooner(office: Served, automation: dict[str, Any]) -> None:
    """Let a run count as dead after a shorter silence, as someone may set it in the UI."""
    fields = ("name", "description", "enabled", "trigger", "actions")
    body = {**{field: automation[field] for field in fields}}
    body["trigger"]["within"] = SHORT
    office.send("PUT", f"/automations/{automation['id']}", body)


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def soon(holds: Callable[[], bool], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds} s for: {what}"
        time.sleep(0.3)
