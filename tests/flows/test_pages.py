"""Every page that people get, in a browser: nothing keeps anybody from reading it, on screen or paper."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, sync_playwright

from deployments.cli import app as cli
from tasks.health.drills import write_drills
from tasks.health.posture import posture_of
from tasks.health.status import status_of
from tasks.notices.notice import notice_of
from tasks.notices.pages import page_html
from tasks.notices.posture_page import posture_html
from tasks.notices.report_page import report_html
from tasks.notices.runbook_page import runbook_html
from tasks.notices.status_page import Link, status_html
from tasks.reports import Notified, RunReport
from tests.accessibility import PAPER, faults
from tests.flows.serving import CHROMIUM, QUIET
from tests.flows.site import Site
from tests.pictures import made_up_office
from tests.unit.health.test_runbook import book
from tests.unit.notices import sample_reports as samples

pytestmark = pytest.mark.slow
ZONE = ZoneInfo("America/New_York")
LINKS = [Link("/office/runbook", "If the worst happens (runbook)"), Link("/office/reports", "Reports")]
# A4 within its margins of 12 mm, in CSS pixels.
PAPER_HEIGHT = 1031


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=QUIET.split())
        yield opened
        opened.close()


def usual_night(site: Site) -> RunReport:
    """A good night of an office with three targets, two people told, and something open in its posture."""
    told = tuple(Notified(channel=f"{who}@office.example", told=True) for who in ("owner", "manager"))
    return samples.success().model_copy(update={"posture": posture_of(site.context), "notices": told})


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each page as a file, by its name."""
    root = tmp_path_factory.mktemp("pages")
    site = made_up_office(root)
    context, night = site.context, usual_night(site)
    status = status_of(context)
    texts = {
        "home": status_html(status, ZONE, LINKS),
        "status": status_html(status, ZONE),
        "report": report_html(night, ZONE, "../posture.html"),
        "report of a failure": report_html(samples.one_missed(), ZONE),
        "report of many tables": report_html(samples.many_tables(), ZONE),
        "report of hostile names": report_html(samples.hostile(), ZONE),
        "posture": posture_html("clinic", posture_of(context), night.started, ZONE),
        "runbook": runbook_html(book(folder="/srv/office"), ZONE),
        "mail": notice_of(night, "clinic", timezone=ZONE).html,
        "mail of a failure": notice_of(samples.rehearsal_failed(), "clinic").html,
        "reports": page_html("reports.html", office="clinic", links=LINKS),
        "fault": page_html("fault.html", message="no plan", hint="Say `datasave doctor`.", ui="/dashboard"),
    }
    for name, text in texts.items():
        (root / f"{name}.html").write_text(text, "utf-8")
    found = {name: root / f"{name}.html" for name in texts}
    found["drills"] = write_drills(context)
    key = ["--identity", str(site.keys[0])]
    for name, command in {
        "sheet": ["keys", "sheet", *key, "--plan", str(site.plan), "--out", str(root / "sheet.html")],
        "share": ["keys", "split", *key, "--out", str(root / "shares")],
        "journal": [
            *("journal", "--plan", str(site.plan), "--export", "2026-01-01", "2026-12-31"),
            *("--out", str(root / "pack")),
        ],
    }.items():
        assert cli.main(command) == 0, name
    found["sheet"] = root / "sheet.html"
    found["share"] = min((root / "shares").glob("*.html"))
    found["journal"] = min((root / "pack").glob("*.html"))
    return found


NAMES = [
    "home",
    "status",
    "report",
    "report of a failure",
    "report of many tables",
    "report of hostile names",
]
NAMES += ["posture", "runbook", "mail", "mail of a failure", "reports", "fault", "drills", "sheet", "share"]
NAMES += ["journal"]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_keeps_anybody_from_reading(name: str, pages: dict[str, Path], browser: Browser) -> None:
    page = browser.new_page()
    page.goto(pages[name].as_uri())
    found = faults(page)
    page.close()
    assert found == []


GOOD = """<!DOCTYPE html><html lang="en"><head><title>t</title>
<style>body { color: #000; background: #fff; font: 16px monospace } code { font: inherit }</style></head>
<body><main><h1>One</h1><h2>Two</h2><p>Say <code><span class="word">datasave-backup</span></code>.</p>
<table><caption>Figures</caption><tr><th scope="col">Head</th></tr><tr><td>1</td></tr></table>
<p><a href="x.html" style="color: inherit; outline: 3px solid">All reports</a>
<span class="badge bad">FAILED</span></p>
</main></body></html>"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("", "", ""),
        (' lang="en"', "", "no language"),
        ("<title>t</title>", "", "no title"),
        ("<h2>Two</h2>", "<h1>Two</h1>", "not one h1"),
        ("<h2>Two</h2>", "<h3>Two</h3>", "h3 after h1"),
        ("<main>", "<div>", "not one main"),
        ("<caption>Figures</caption>", "", "without a caption"),
        (' scope="col"', "", "without a scope"),
        (">Head<", "><", "empty head"),
        ("<p>Say", '<img src=""><p>Say', "unnamed picture"),
        ("All reports", "here", "says nothing"),
        ("<p>Say", "<input><p>Say", "without a label"),
        ("color: #000", "color: #777", "contrast 4.4"),
        ("</style>", "@media (prefers-color-scheme: dark) { body { color: #888 } }</style>", "(dark)"),
        ("outline: 3px solid", "outline: none", "no visible focus"),
        ("<p>Say", '<p style="width: 500px">Say', "sideways at 390"),
        ("</style>", "@media print { .badge { display: none } }</style>", "hidden on paper: FAILED"),
        ("<p><a", "<details><summary>more</summary><p><a", "hidden on paper: FAILED"),
        ("</style>", "p { width: 17ch }</style>", "broken inside a word: datasave-backup"),
        ('<span class="word">datasave-backup</span>', "datasave backup", "not in words"),
    ],
)
def test_each_fault_is_found(old: str, new: str, told: str, browser: Browser) -> None:
    page = browser.new_page()
    page.set_content(GOOD.replace(old, new, 1))
    found = faults(page)
    page.close()
    assert any(told in fault for fault in found) if told else found == []


def printed(browser: Browser, text: str, paper: str) -> int:
    """How many sheets of paper a page takes."""
    page = browser.new_page()
    page.set_content(text)
    made = page.pdf(format=paper, prefer_css_page_size=False)
    page.close()
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", made))


@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_a_usual_night_is_one_sheet(paper: str, tmp_path: Path, browser: Browser) -> None:
    night = usual_night(made_up_office(tmp_path))
    assert printed(browser, report_html(night, ZONE, "../posture.html"), paper) == 1


@pytest.mark.parametrize("sample", [samples.one_missed, samples.rehearsal_failed])
def test_a_bad_night_prints_the_step_that_failed(
    sample: Callable[[], RunReport], tmp_path: Path, browser: Browser
) -> None:
    page = browser.new_page()
    page.set_content(report_html(sample(), ZONE))
    page.emulate_media(media="print")
    steps = page.locator("table.steps .badge.bad")
    assert steps.count() == 1 and steps.first.is_visible()
    page.close()


def test_each_bad_day_is_a_sheet_with_a_place_and_lines_to_write_on(browser: Browser) -> None:
    text = runbook_html(book(folder="/srv/office"), ZONE)
    page = browser.new_page(viewport={"width": PAPER, "height": PAPER_HEIGHT})
    page.set_content(text)
    page.emulate_media(media="print")
    tops = page.evaluate(
        "[...document.querySelectorAll('.sheet')].map((one) => one.getBoundingClientRect().top)"
    )
    breaks = page.evaluate(
        "[...document.querySelectorAll('.sheet')].map((one) => getComputedStyle(one).breakBefore)"
    )
    page.close()
    assert len(tops) == 8 and set(breaks) == {"page"}
    assert max(below - top for top, below in pairwise(tops)) < PAPER_HEIGHT
    assert printed(browser, text, "A4") == math.ceil(tops[0] / PAPER_HEIGHT) + len(tops)
    cases = re.split(r'<h2 class="sheet">', text)[1:-1]
    assert [case.count("<hr") for case in cases] == [3] * 7
    for case in cases:
        assert 'cd</span> <span class="word">/srv/office' in case or "in an empty folder" in case
