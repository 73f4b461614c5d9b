"""``datasave serve`` as a user starts it, and a browser to look at it with."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page, sync_playwright

from deployments.serving.deployments import deployment_name
from deployments.serving.environment import home_of, password_file
from tests.conftest import migrated_database
from tests.flows.site import Site
from tests.servers.ports import free_port

CHROMIUM = "/usr/bin/chromium"
QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"
)
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True)
class Served:
    """A plan being served: the address of its UI, and a client of its API."""

    url: str
    api: httpx.Client
    environment: dict[str, str]
    password: str
    process: int = 0

    def answers(self) -> bool:
        """Whether the server is there."""
        try:
            return self.api.get("/health").is_success
        except httpx.HTTPError:
            return False

    def deployment(self, flow: str) -> dict[str, Any]:
        """The plan's deployment of a flow."""
        name = deployment_name(flow, "clinic")
        found: dict[str, Any] = self.api.get(f"/deployments/name/{flow}/{name}").raise_for_status().json()
        return found

    def start(self, flow: str, **parameters: Any) -> str:
        """Start a run of a deployment as the form in the UI does; its id."""
        deployment = self.deployment(flow)
        body = {"state": {"type": "SCHEDULED"}, "parameters": {**deployment["parameters"], **parameters}}
        made = self.send("POST", f"/deployments/{deployment['id']}/create_flow_run", body)
        return str(made.json()["id"])

    def send(self, method: str, path: str, body: Any) -> httpx.Response:
        """A change by the API. A server on SQLite answers 503 while another write holds its database."""
        deadline = time.monotonic() + 60
        while True:
            answer = self.api.request(method, path, json=body)
            # Ask again, as clients do.
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                return answer.raise_for_status()
            time.sleep(0.5)

    def wait(self, run: str, attempt: int = 1) -> dict[str, Any]:
        """The run once its ``attempt``-th execution has ended; one that was refused never ran."""
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            found: dict[str, Any] = self.api.get(f"/flow_runs/{run}").raise_for_status().json()
            if found["state_type"] in FINAL and found["run_count"] >= attempt:
                return found
            time.sleep(0.2)
        raise AssertionError(f"run {run} did not end")

    def executed(self, run: str, attempt: int = 1) -> Counter[str]:
        """How often each step ran in the run's ``attempt``-th execution; reused results don't count."""
        found = self._settled(run, attempt)
        return Counter(
            task["name"]
            for task in found
            if task["flow_run_run_count"] == attempt and task["start_time"] and task["state_name"] != "Cached"
        )

    def _settled(self, run: str, attempt: int) -> list[dict[str, Any]]:
        """The run's tasks; they reach the database some moments after the flow run's own state."""
        query = {"flow_runs": {"id": {"any_": [run]}}}
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found: list[dict[str, Any]] = self.api.post("/task_runs/filter", json=query).json()
            reported = any(t["name"] == "report" and t["flow_run_run_count"] == attempt for t in found)
            at_rest = all(t["state_type"] in FINAL or t["state_name"] == "NotReady" for t in found)
            if reported and at_rest:
                return found
            time.sleep(0.5)
        raise AssertionError(f"the tasks of run {run} did not come to rest")


@contextmanager
def served(site: Site, port: int = 0, **settings: str) -> Iterator[Served]:
    """``datasave serve`` for as long as the block runs."""
    port = port or free_port()
    home = home_of(site.plan)
    environment = {**clean_environment(home), **settings}
    command = [sys.executable, "-m", "deployments", "serve", "--plan", str(site.plan), "--port", str(port)]
    log = site.root / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=output,
            stderr=output,
            preexec_fn=hear_ctrl_c,  # noqa: PLW1509
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api", timeout=120) as api:
            _wait_until_served(process, api, log, home)
            password = password_file(home).read_text()
            yield Served(f"http://127.0.0.1:{port}", api, environment, password, process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def clean_environment(home: Path) -> dict[str, str]:
    """An environment for a Prefect of its own in ``home``, with a database that is migrated already."""
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "prefect.db").exists():
        shutil.copy(migrated_database(), home / "prefect.db")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not (
            name.startswith("PREFECT_SERVER_SERVICES")
            or name.endswith("_AUTH_STRING")
            or name in ("PREFECT_API_URL", "PREFECT_SERVER_UI_ENABLED")
        )
    }
    return {**kept, "PREFECT_HOME": str(home)}


def hear_ctrl_c() -> None:
    """Undo what a test run in the background inherits: there Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def browser_page(office: Served, width: int = 1400, height: int = 1000) -> Iterator[Page]:
    """A page in headless Chromium, logged in to the office's UI."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=QUIET.split())
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            # What the UI's own log-in page keeps once the password was typed there.
            known = base64.b64encode(office.password.encode()).decode()
            page.add_init_script(f"localStorage.setItem('prefect-password', '{known}')")
            yield page
        finally:
            browser.close()


def picture(page: Page, name: str, folder: Path, height: int = 1000) -> None:
    """Keep what the page shows as a PNG in ``folder``, and in $DATASAVE_PICTURES where that is set."""
    for place in {folder, Path(os.environ.get("DATASAVE_PICTURES", folder))}:
        place.mkdir(exist_ok=True)
        size = page.viewport_size or {"width": 1280, "height": height}
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(height, size["height"])}
        page.screenshot(path=place / f"{name}.png", clip=clip)


def _wait_until_served(process: subprocess.Popen[bytes], api: httpx.Client, log: Path, home: Path) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text("utf-8")
        if password_file(home).exists():
            user, _, password = password_file(home).read_text().partition(":")
            api.auth = httpx.BasicAuth(user, password)
        try:
            # Said once everything is registered, the automations too.
            if "serving clinic" in log.read_text("utf-8") and api.get("/health").is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.3)
    raise AssertionError(f"nothing is served: {log.read_text('utf-8')}")
