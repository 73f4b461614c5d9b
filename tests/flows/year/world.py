"""The office as each night finds it: its clock, its drives, its network drive and its S3 server."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine

from tasks.backup import media
from tests.contract.s3_targets import credentials, secrets_in
from tests.flows.site import Site
from tests.flows.year.almanac import MEDIA, Made
from tests.mounts import Drive, Kind
from tests.servers.radosgw import Radosgw

ZONE = ZoneInfo("America/New_York")
# In New York; in UTC it is the next day already.
BEDTIME = time(22, 30)
CALENDAR = {"mon": "MON", "tue": "TUE", "wed": "WED", "thu": "THU", "fri": ["F1", "F2"]}
KINDS: dict[str, Kind] = dict(zip((*MEDIA, "stranger"), ("ext4", "exfat", "ntfs") * 3, strict=False))
YEARS = 7
SCHEMA = """
CREATE TABLE patients (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE visits (id INTEGER PRIMARY KEY, patient INTEGER, at TEXT, note TEXT);
"""
_NAME = re.compile(r"(?:([A-Z]+)/)?clinic-(\d{8}T\d{6}Z)-(\d{6})(\.tar\.zst\.age|\.manifest\.json(?:\.sig)?)")


class Clock:
    """The office's clock, and the service's, which is right."""

    def __init__(self, s3: Radosgw, first: date) -> None:
        self._s3 = s3
        self._travel = time_machine.travel(bedtime(first))
        self._set: Any = None

    def __enter__(self) -> Clock:
        self._set = self._travel.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._travel.stop()

    def turn_to(self, day: date, ahead: timedelta = timedelta()) -> None:
        """Bedtime of that day; the office's clock alone is ``ahead``."""
        moment = bedtime(day)
        self._s3.set_clock(moment.timestamp() - time_machine.escape_hatch.time.time())
        self._set.move_to(moment + ahead)


def bedtime(day: date) -> datetime:
    return datetime.combine(day, BEDTIME, ZONE)


@dataclass
class World:
    """An office with the seed's policy."""

    site: Site
    s3: Radosgw
    buckets: dict[str, str]
    drives: dict[str, Drive]

    @classmethod
    def make(
        cls, root: Path, s3: Radosgw, environment: pytest.MonkeyPatch, holidays: Iterable[date]
    ) -> World:
        secrets_in(environment, s3.admin)
        with closing(sqlite3.connect(root / "clinic.db")) as database:
            database.executescript(SCHEMA)
        site = Site.make(root, ["nas"])
        buckets = {"cloud": s3.bucket(), "vault": s3.bucket(lock=True)}
        site.change_plan(
            targets=policy(root, s3, buckets, holidays),
            schedule={"backup": "30 22 * * *", "timezone": str(ZONE)},
        )
        (root / "media").mkdir()
        (root / "shelf").mkdir()
        drives = {label: Drive.formatted(root / "shelf" / label, kind, 24) for label, kind in KINDS.items()}
        world = cls(site, s3, buckets, drives)
        for label in MEDIA:
            with world.plugged(label) as path:
                media.init(site.context, "drives", path, label)
        return world

    @contextmanager
    def plugged(self, label: str | None) -> Iterator[Path]:
        """The drive of that label, plugged in; with none an empty place."""
        place = self.site.root / "media" / "usb"
        with ExitStack() as stack:
            if label:
                stack.enter_context(self.drives[label].plugged_in(place))
            yield place

    @contextmanager
    def without_nas(self) -> Iterator[None]:
        """The folder on which the network drive was mounted, with nothing in it."""
        nas, away = self.site.root / "nas", self.site.root / "nas, elsewhere"
        nas.rename(away)
        nas.mkdir()
        try:
            yield
        finally:
            assert list(nas.iterdir()) == [], "something was written where no drive is mounted"
            nas.rmdir()
            away.rename(nas)

    def work(self) -> int:
        """A day in the office: a new patient, who comes three times; how many patients there are now."""
        with closing(sqlite3.connect(self.site.database)) as database, database:
            [patient] = database.execute("INSERT INTO patients (name) VALUES ('Doe') RETURNING id").fetchone()
            at = datetime.now(ZONE).isoformat(timespec="seconds")
            visits = [(patient, at, "came again")] * 3
            database.executemany("INSERT INTO visits (patient, at, note) VALUES (?, ?, ?)", visits)
        return int(patient)

    def on_nas(self) -> dict[str, list[Made]]:
        return made(files(self.site.root / "nas"))

    def in_bucket(self, target: str) -> list[Made]:
        listed = self.s3.client().get_paginator("list_objects_v2").paginate(Bucket=self.buckets[target])
        keys = [item["Key"] for page in listed for item in page.get("Contents", ())]
        return made(keys).get("", [])


def policy(
    root: Path, s3: Radosgw, buckets: dict[str, str], holidays: Iterable[date]
) -> list[dict[str, Any]]:
    """The plan's targets."""
    service = {"kind": "s3", "endpoint": s3.endpoint, **credentials(s3.admin)}
    return [
        {"name": "nas", "kind": "folder", "path": "nas", "slots": "weekday"},
        {
            "name": "drives",
            "kind": "drive",
            "calendar": {
                **CALENDAR,
                "holidays": [day.isoformat() for day in holidays],
                "since": "2026-01-05",
            },
            "mounts": [f"{root}/media/*"],
        },
        {
            "name": "cloud",
            "bucket": buckets["cloud"],
            "when": {"weekly": "fri"},
            "keep": {"last": 4},
            **service,
        },
        {
            "name": "vault",
            "bucket": buckets["vault"],
            "storage_class": "GLACIER",
            "lock": {"mode": "compliance", "years": YEARS},
            "when": {"monthly": "last fri"},
            "keep": "forever",
            **service,
        },
    ]


def files(root: Path) -> list[str]:
    """All files below a folder but its marker."""
    found = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return [name for name in found if name != ".datasave-target.json"]


# For people, on the worst day.
PAGES = ("RECOVER.md", "RUNBOOK.md", "RUNBOOK.html")


def made(names: Iterable[str]) -> dict[str, list[Made]]:
    """The backups in a listing by their folders, in order. There is nothing else, and all are whole."""
    found: dict[str, dict[Made, set[str]]] = {}
    for name in names:
        if name in PAGES:
            continue
        match = _NAME.fullmatch(name)
        assert match, f"{name} is none of ours"
        folder, stamp, number, part = match.groups()
        dated = datetime.strptime(stamp + "+0000", "%Y%m%dT%H%M%SZ%z").astimezone(ZONE).date()
        found.setdefault(folder or "", {}).setdefault(Made(int(number), dated), set()).add(part)
    for backups in found.values():
        assert all(len(parts) == 3 for parts in backups.values()), "an archive without a manifest, or none"
    return {folder: sorted(backups) for folder, backups in found.items()}
