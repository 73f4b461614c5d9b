"""``replace: first``: when a full medium loses its oldest backups for the new one, and when not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.manifests.manifest import manifest_name, to_json
from tasks.manifests.signing import sign_record
from tasks.records import Engine, Run
from tasks.steps import media
from tasks.steps.office import Office
from tasks.steps.retaining import make_room
from tasks.targets.drive_marker import read_medium
from tasks.targets.drive_media import load_media, save_media
from tests import mounts
from tests.contract.target_contract import put
from tests.unit.shelves import manifest
from tests.unit.test_media import MONDAY, office_at, on

MB = 1 << 20
TAKEN = datetime(2026, 11, 2, 7, tzinfo=UTC)


def full_medium(root: Path, office: Office, **newest: Any) -> Any:
    """Monday's medium of 4 MB with backups 1 to 3 of 1 MB, the newest with these facts; and Tuesday's."""
    for place, label in (("usb0", "MON"), ("usb1", "TUE")):
        media.init(office, "drives", root / "media" / place, label)
    tuesday = read_medium(root / "media" / "usb1", "")
    assert tuesday
    file = office.state / "media.json"
    save_media(file, load_media(file).with_use(tuesday, MONDAY, 2))
    drive = on(office, MONDAY)
    for number in (1, 2, 3):
        more = newest if number == 3 else {}
        taken = TAKEN + number * timedelta(days=1)
        facts = manifest(number, taken, source="office", sealed_bytes=MB, **more)
        put(drive, facts.sealed_name, bytes(MB))
        stem = facts.sealed_name.removesuffix(".tar.zst.age")
        put(drive, manifest_name(stem), to_json(sign_record(facts, office.machine_key())))
    return drive


def left(drive: Any) -> list[str]:
    """The numbers of the backups that are there."""
    return [stat.name.split("-")[-1][:6] for stat in drive.list() if stat.name.endswith(".age")]


@pytest.mark.parametrize(
    ("options", "newest", "room", "there"),
    [
        ({"replace": "first", "floor": 2}, {}, True, ["000003"]),
        ({"replace": "first", "floor": 3}, {}, False, ["000001", "000002", "000003"]),
        ({"floor": 2}, {}, False, ["000001", "000002", "000003"]),
        ({"replace": "first", "floor": 2}, {"marks": ("row counts",)}, False, ["000001", "000002", "000003"]),
    ],
    ids=["oldest go", "others hold too little", "not wanted", "newest is marked"],
)
def test_a_full_medium(
    tmp_path: Path, options: dict[str, Any], newest: dict[str, Any], room: bool, there: list[str]
) -> None:
    office = office_at(tmp_path, **options)
    with mounts.tmpfs(tmp_path / "media" / "usb0", 4), mounts.tmpfs(tmp_path / "media" / "usb1", 4):
        drive = full_medium(tmp_path, office, **newest)
        run = Run(
            plan=office.path,
            id="run",
            source="office",
            sequence=4,
            started=datetime(2026, 11, 9, 7, tzinfo=UTC),
            engine=Engine(kind="sqlite", version="3", bytes=MB),
        )
        assert make_room(office, run, drive, 2 * MB + MB // 2) is room
        assert left(drive) == there
