"""Runs of ``datasave serve``: seen in the Prefect UI, re-run from there and from the command line."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter

import httpx
import pytest

from tests.flows.serving import Served, browser_page, served
from tests.flows.site import Site
from tests.flows.test_targets import unmounted

MISSING_BRANCH = Counter({"deliver to nas": 1, "read back from nas": 1, "prune nas": 1, "report": 1})


@pytest.mark.slow
def test_retry_from_the_ui_and_from_the_command_line(site: Site) -> None:
    """One of three targets is missing: a re-run delivers only there, counted by what executed."""
    with served(site) as office:
        stranger = httpx.post(f"{office.url}/api/deployments/filter", json={})
        assert stranger.status_code == 401, "without the password nobody may start a run or see one"
        for attempt, press in enumerate((_press_retry, _command_retry), start=1):
            with unmounted(site):
                run = office.start("backup")
                failed = office.wait(run)
            assert failed["state_type"] == "FAILED"
            assert failed["state"]["message"].startswith("1 of 3 targets failed")
            assert failed["name"].startswith("backup clinic 20") and failed["name"].endswith(f"#{attempt}")
            executed = office.executed(run)
            assert executed["live copy"] == 1 and executed["deliver to cellar"] == 1
            arrived = {path: path.stat().st_mtime_ns for path in site.archives("cellar")}
            press(office, site, run)
            done = office.wait(run, attempt=2)
            assert done["state_type"] == "COMPLETED", done["state"]["message"]
            assert office.executed(run, attempt=2) == MISSING_BRANCH
            assert {path: path.stat().st_mtime_ns for path in site.archives("cellar")} == arrived
            assert len(site.manifests("nas")) == attempt


@pytest.mark.slow
def test_schedules_and_names_come_from_the_plan(site: Site) -> None:
    site.change_plan(
        schedule={
            "backup": "0 2 * * *",
            "drill": "0 6 * * sun",
            "audit": "0 8 * * *",
            "timezone": "America/New_York",
        },
        drill={"identity": f"file:{site.keys[0]}"},
    )
    with served(site) as office:
        for flow, cron in (("backup", "0 2 * * *"), ("drill", "0 6 * * sun"), ("audit", "0 8 * * *")):
            deployment = office.api.get(f"/deployments/name/{flow}/clinic").json()
            (schedule,) = deployment["schedules"]
            assert schedule["schedule"]["cron"] == cron
            assert schedule["schedule"]["timezone"] == "America/New_York"
            assert deployment["global_concurrency_limit"]["limit"] == 1
            assert {"clinic", flow} <= set(deployment["tags"])
        assert office.wait(office.start("backup", targets=["nas"]))["state_type"] == "COMPLETED"
        assert site.archives("nas") and not site.archives("cellar")
        drilled = office.wait(office.start("drill"))
        assert drilled["state_type"] == "COMPLETED", drilled["state"]["message"]
        assert [name for name in site.objects("nas") if ".drill-" in name]
        deadline = time.monotonic() + 30
        while not (pages := _markdown_pages(office)) and time.monotonic() < deadline:
            time.sleep(0.5)
        assert any("clinic" in page for page in pages)


def _markdown_pages(office: Served) -> list[str]:
    found = office.api.post("/artifacts/filter", json={}).raise_for_status().json()
    return [str(artifact["data"]) for artifact in found if artifact["type"] == "markdown"]


def _press_retry(office: Served, site: Site, run: str) -> None:
    with browser_page(office) as page:
        page.goto(f"{office.url}/runs/flow-run/{run}")
        page.get_by_role("button", name="Retry").first.click()
        page.get_by_role("dialog").get_by_role("button", name="Retry").click()
        page.wait_for_timeout(1000)


def _command_retry(office: Served, site: Site, run: str) -> None:
    command = [sys.executable, "-m", "deployments", "retry", "--plan", str(site.plan)]
    done = subprocess.run(command, env=office.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
