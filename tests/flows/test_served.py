"""Runs of ``datasave serve``: seen in the Prefect UI, re-run from there and from the command line."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter
from html import unescape
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.flows.serving import Served, browser_page, picture, served
from tests.flows.site import Site, counts
from tests.flows.test_targets import unmounted

MISSING_BRANCH = Counter({"deliver to nas": 1, "read back from nas": 1, "prune nas": 1, "report": 1})


@pytest.mark.slow
def test_a_run_is_started_watched_and_mended_in_the_browser(site: Site, tmp_path: Path) -> None:
    """One of two chosen targets is missing: Retry delivers only there, counted by what executed."""
    with served(site) as office:
        stranger = httpx.post(f"{office.url}/api/deployments/filter", json={})
        assert stranger.status_code == 401, "without the password nobody may start a run or see one"
        with browser_page(office, width=1280) as page:
            with unmounted(site):
                run = _start_from_the_form(office, page, {"Targets": ["nas", "cellar"]}, tmp_path)
                page.get_by_text("Failed", exact=True).first.wait_for(timeout=120_000)
                failed = office.wait(run)
            assert failed["parameters"]["targets"] == ["nas", "cellar"]
            assert failed["state"]["message"].startswith("1 of 2 targets failed")
            assert failed["name"].startswith("backup clinic 20") and failed["name"].endswith("#1")
            executed = office.executed(run)
            assert executed["live copy"] == 1 and executed["deliver to cellar"] == 1
            assert "deliver to second-disk" not in executed
            _read_artifact(
                office,
                page,
                run,
                "report-clinic",
                "Not good: the backup of clinic reached only 1 of 2 targets",
                "What to do: Mount the drive or the share.",
                f"Full report: {site.context.reports}",
            )
            picture(page, "failed", tmp_path, height=560)
            rows = [(name, f"{count:,}") for name, count in counts(site.database).items()]
            _read_artifact(office, page, run, "tables-clinic", *(text for row in rows for text in row))
            picture(page, "tables", tmp_path)
            _read_artifact(office, page, run, "steps-clinic", "deliver nas")
            picture(page, "steps", tmp_path)

            arrived = {path: path.stat().st_mtime_ns for path in site.archives("cellar")}
            _press_retry(office, page, run)
            done = office.wait(run, attempt=2)
            assert done["state_type"] == "COMPLETED", done["state"]["message"]
            assert office.executed(run, attempt=2) == MISSING_BRANCH
            assert {path: path.stat().st_mtime_ns for path in site.archives("cellar")} == arrived
            assert len(site.manifests("nas")) == 1 and not site.archives("second-disk")
            _read_artifact(office, page, run, "report-clinic", "There is nothing to do.")
            page.goto(f"{office.url}/runs/flow-run/{run}")
            page.get_by_text("Completed", exact=True).first.wait_for()
            page.wait_for_timeout(2500)  # the graph is drawn a while after its data came
            picture(page, "run", tmp_path, height=510)
        _mended_by_the_command(office, site)


def _mended_by_the_command(office: Served, site: Site) -> None:
    with unmounted(site):
        run = office.start("backup")
        assert office.wait(run)["state"]["message"].startswith("1 of 3 targets failed")
    command = [sys.executable, "-m", "deployments", "retry", "--plan", str(site.plan)]
    done = subprocess.run(command, env=office.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert office.wait(run, attempt=2)["state_type"] == "COMPLETED"
    assert office.executed(run, attempt=2) == MISSING_BRANCH
    assert len(site.manifests("nas")) == 2


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
            deployment = office.deployment(flow)
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
        _home_tells_of_it(office)


def _home_tells_of_it(office: Served) -> None:
    """The address that is served: our page, behind the password of the API; Prefect's UI is beside it."""
    assert httpx.get(office.url).status_code == httpx.codes.UNAUTHORIZED
    page = httpx.get(office.url, auth=office.api.auth).raise_for_status().text
    home = unescape(re.sub("<[^>]*>", "", page))  # as a person reads it
    assert "What can be restored" in home
    assert "--backup 1 --identity" in home
    assert "cellar is empty" in home, "it was left out of the only run"
    there = httpx.get(f"{office.url}/dashboard", headers={"Accept": "text/html"})
    assert "prefect" in there.raise_for_status().text.lower()


def _markdown_pages(office: Served) -> list[str]:
    found = office.api.post("/artifacts/filter", json={}).raise_for_status().json()
    return [str(artifact["data"]) for artifact in found if artifact["type"] == "markdown"]


def _start_from_the_form(office: Served, page: Page, chosen: dict[str, list[str]], folder: Path) -> str:
    """Fill in the form of a custom run by clicking, submit it, follow it to its page; the run's id."""
    deployment = office.deployment("backup")
    page.goto(f"{office.url}/deployments/deployment/{deployment['id']}/run")
    for field, names in chosen.items():
        label = page.locator(".p-label").filter(has_text=f"{field} (Optional)")
        label.locator(".p-select-button__icon").first.click()
        offered = page.locator(".p-select-option")
        expect(offered).to_have_text(["nas", "second-disk", "cellar"])
        for name in names:
            offered.filter(has_text=name).click()
        picture(page, "form", folder)
        page.keyboard.press("Escape")
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("scheduled to start").first.wait_for()
    (run,) = office.api.post("/flow_runs/filter", json={}).raise_for_status().json()
    page.goto(f"{office.url}/runs/flow-run/{run['id']}")
    return str(run["id"])


def _read_artifact(office: Served, page: Page, run: str, key: str, *texts: str) -> None:
    """Open the newest artifact of that name from the run's page; it says each of ``texts``."""
    query = {"flow_runs": {"id": {"any_": [run]}}, "artifacts": {"key": {"any_": [key]}}}
    found = office.api.post("/artifacts/filter", json=query).raise_for_status().json()
    # The list on the page has one from each execution, in no order that holds.
    newest = max(found, key=lambda artifact: str(artifact["created"]))
    page.goto(f"{office.url}/runs/flow-run/{run}")
    page.get_by_text("Artifacts", exact=True).last.click()
    page.locator(f"a[href$='/artifacts/artifact/{newest['id']}']", has_text=key).first.click()
    page.wait_for_url("**/artifacts/artifact/*")
    for text in texts:
        # the artifact is drawn after its frame, on a busy machine seconds after
        expect(page.locator("body")).to_contain_text(text, use_inner_text=True, timeout=30_000)


def _press_retry(office: Served, page: Page, run: str) -> None:
    page.goto(f"{office.url}/runs/flow-run/{run}")
    page.get_by_role("button", name="Retry").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Retry").click()
    page.wait_for_timeout(1000)
