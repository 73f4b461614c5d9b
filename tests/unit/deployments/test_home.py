"""The page that people bookmark: behind the password, read only, and never a way to another file."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from starlette.applications import Starlette

from deployments.serving.home import PLAN, routes
from tasks.health.posture import PAGE, posture_of, write_posture
from tasks.health.runbook import write_runbook
from tasks.health.status import write_status
from tasks.notices.report_page import report_html
from tests.flows.site import Site
from tests.unit.notices import sample_reports as samples

PASSWORD = ("office", "put a long one here")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site.make(tmp_path, ["nas"], schedule={"backup": "0 2 * * *"})
    monkeypatch.setenv(PLAN, str(made.context.path))
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", ":".join(PASSWORD))
    return made


class Browser:
    """Asks our pages without a server."""

    def get(self, address: str, auth: tuple[str, str] | None = None) -> httpx.Response:
        """What a GET answers."""
        return self.request("GET", address, auth)

    def request(self, method: str, address: str, auth: tuple[str, str] | None) -> httpx.Response:
        """What any request answers."""
        return asyncio.run(self._ask(method, address, auth))

    async def _ask(self, method: str, address: str, auth: tuple[str, str] | None) -> httpx.Response:
        transport = httpx.ASGITransport(app=Starlette(routes=routes()))
        async with httpx.AsyncClient(transport=transport, base_url="http://office") as client:
            return await client.request(method, address, auth=auth)


@pytest.fixture
def browser() -> Browser:
    return Browser()


def test_nothing_is_shown_without_the_password(site: Site, browser: Browser) -> None:
    pages = ("metrics", "runbook", "posture.html", "reports", "reports/x.html")
    for address in ("/", *(f"/office/{page}" for page in pages)):
        for given in (None, ("office", "wrong"), ("", ""), ("office", "put a long one here!")):
            answer = browser.get(address, auth=given)
            assert answer.status_code == 401
            assert "Basic" in answer.headers["WWW-Authenticate"]
            assert site.context.plan.name not in answer.text


def test_home_tells_the_verdict_and_until_when_it_is_good(site: Site, browser: Browser) -> None:
    page = browser.get("/", auth=PASSWORD)
    assert page.status_code == 200
    assert "needs attention" in page.text, "no backup was made yet"
    assert "The next backup should have ended by" in page.text
    assert 'href="/dashboard"' in page.text
    assert page.headers["Cache-Control"] == "no-store"


def test_home_can_change_nothing(site: Site, browser: Browser) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert browser.request(method, "/", auth=PASSWORD).status_code == 405


def test_reports_are_found_by_name_and_nothing_else_is(site: Site, browser: Browser) -> None:
    site.context.reports.mkdir(parents=True, exist_ok=True)
    (site.context.reports / "clinic-1.html").write_text("<p>a report</p>")
    write_runbook(site.context)
    write_posture(site.context, posture_of(site.context))
    report = report_html(
        samples.success().model_copy(update={"posture": posture_of(site.context)}), None, f"../{PAGE}"
    )
    (address,) = re.findall(r'href="([^"]*)"', report)
    leads = urljoin("http://office/office/reports/clinic-1.html", address)
    assert "What is open" in browser.get(leads.removeprefix("http://office"), auth=PASSWORD).text
    assert "/office/posture.html" in browser.get("/", auth=PASSWORD).text
    assert (site.context.state / "machine.key").is_file()
    assert "clinic-1" in browser.get("/office/reports", auth=PASSWORD).text
    assert "a report" in browser.get("/office/reports/clinic-1.html", auth=PASSWORD).text
    assert browser.get("/office/runbook", auth=PASSWORD).status_code == 200
    for name in ("..%2fmachine.key", "%2e%2e%2fmachine.key", "machine.key", "clinic-2.html", "..", "%00"):
        assert browser.get(f"/office/reports/{name}", auth=PASSWORD).status_code == 404


def test_a_plan_that_cannot_be_read_is_told_in_red(site: Site, browser: Browser) -> None:
    site.context.path.write_text("name: [")
    page = browser.get("/", auth=PASSWORD)
    assert page.status_code == 500
    assert "is-bad" in page.text
    assert "plan" in page.text
    assert str(site.plan) in page.text


def test_figures_are_openmetrics(site: Site, browser: Browser) -> None:
    page = browser.get("/office/metrics", auth=PASSWORD)
    assert page.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert 'datasave_verdict{office="clinic"} 2' in page.text
    assert page.text.endswith("# EOF\n")
    assert (write_status(site.context).parent / "status.prom").read_text().endswith("# EOF\n")


def test_prefects_second_ui_is_not_offered(site: Site, browser: Browser) -> None:
    settings = browser.get("/ui-settings").json()
    assert settings["available_uis"] == ["v1"]
    assert settings["auth"] in ("BASIC", None)
