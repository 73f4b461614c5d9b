"""The README's pictures of pages, taken anew: ``python -m tests.pictures .pictures``.

A made-up office with runs of forty nights on record; its keys are thrown away at once. The pictures of the
Prefect UI come from tests/flows/test_served.py.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from playwright.sync_api import sync_playwright

from deployments.cli import app as cli
from tasks.health.history import remember
from tasks.health.posture import posture_of, write_posture
from tasks.health.status import write_status
from tasks.notices.report_page import report_html
from tests.flows.serving import CHROMIUM, QUIET
from tests.flows.site import Site
from tests.unit.health.test_status import ran
from tests.unit.notices import sample_reports

DRIVES = {"mon": "MON", "tue": "TUE", "wed": "WED", "thu": "THU", "fri": ["F1", "F2"]}
WIDTH, MOST = 900, 1250
FRIDAY = 4


def made_up_office(root: Path) -> Site:
    """An office with a folder, drives that take turns and a locked bucket, and forty good nights but one."""
    site = Site.make(
        root,
        ["nas"],
        schedule={"backup": "0 2 * * *", "drill": "0 6 * * sun", "audit": "0 8 * * *"},
        drill={"identity": f"file:{root / 'owner.key.txt'}"},
        keys={"contacts": ["Dana Reyes, manager, +1 555 0100", "Office IT, +1 555 0199"]},
    )
    vault = {
        "name": "vault",
        "kind": "s3",
        "bucket": "office-vault",
        "region": "us-east-1",
        "keep": "forever",
        "lock": {"mode": "compliance", "years": 7},
        "when": {"monthly": "last fri"},
        "baa": {"vendor": "AWS", "signed": "2026-01-10"},
    }
    site.change_plan(
        targets=[
            {"name": "nas", "kind": "folder", "path": "/mnt/nas/datasave", "slots": "weekday"},
            {"name": "drives", "kind": "drive", "calendar": DRIVES},
            vault,
        ]
    )
    tonight = datetime.now(UTC).replace(hour=2, minute=0, second=4, microsecond=0)
    for night in range(40, -1, -1):
        start = tonight - timedelta(days=night)
        number = 440 - night
        came = {"nas": "delivered", "drives": "delivered" if night else "missed"}
        if start.weekday() == FRIDAY and (start + timedelta(days=7)).month != start.month:
            came["vault"] = "delivered"
        headline = f"clinic #{number} is backed up and proven at {', '.join(came)}"
        if not night:
            headline = f"1 of 2 targets failed for clinic #{number}: drives: no medium is plugged in"
        facts = ran(
            start,
            targets=came,
            sequence=number,
            succeeded=night > 0,
            headline=headline,
            finished=start + timedelta(seconds=220 + 17 * (number * 7 % 11)),
            copy_bytes=4_000_000_000 + number * 9_000_000,
            sealed_bytes=800_000_000 + number * 2_000_000,
        )
        remember(site.context, facts)
    return site


def main(folder: Path) -> None:
    """Take every picture into ``folder``."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        site = made_up_office(root)
        pages = {"status": write_status(site.context)}
        assert cli.main(["runbook", "--plan", str(site.plan), "--out", scratch]) == 0
        pages["runbook"] = root / "RUNBOOK.html"
        posture = posture_of(site.context)
        pages["posture"] = write_posture(site.context, posture)
        pages["report"] = root / "report.html"
        night = sample_reports.success().model_copy(update={"posture": posture})
        pages["report"].write_text(report_html(night, ZoneInfo("America/New_York")), "utf-8")
        sheet = root / "sheet.html"
        key = ("--identity", str(site.keys[0]))
        assert cli.main(["keys", "sheet", *key, "--plan", str(site.plan), "--out", str(sheet)]) == 0
        pages["sheet"] = sheet
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=CHROMIUM, args=QUIET.split())
            for name, page in pages.items():
                view = browser.new_page(viewport={"width": WIDTH, "height": 800})
                view.goto(page.as_uri())
                height = min(MOST, int(view.evaluate("document.documentElement.scrollHeight")))
                view.set_viewport_size({"width": WIDTH, "height": height})
                view.screenshot(path=folder / f"{name}.png")
            browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
