"""``replace: first``: when a full medium loses its oldest backups for the new one, and when not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.backup import media
from tasks.backup.retain import make_room
from tasks.context import PlanContext
from tasks.manifests.manifest import manifest_name, parse_name, stem, to_json
from tasks.manifests.signing import sign_record
from tasks.records import Engine, Run
from tests import mounts
from tests.contract.target_contract import put
from tests.unit.backup.test_media import MONDAY, context_at, held_then, on
from tests.unit.manifests.shelves import manifest

MB = 1 << 20
TAKEN = datetime(2026, 11, 2, 7, tzinfo=UTC)


def full_medium(root: Path, context: PlanContext, **newest: Any) -> Any:
    """Monday's medium of 4 MB with backups 1 to 3 of 1 MB, the newest with these facts; and Tuesday's."""
    media.init(context, "drives", root / "media" / "usb0", "MON")
    held_then(context, root / "media" / "usb1", "TUE", 2)
    drive = on(context, MONDAY)
    for number in (1, 2, 3):
        more = newest if number == 3 else {}
        taken = TAKEN + number * timedelta(days=1)
        facts = manifest(number, taken, source="office", sealed_bytes=MB, **more)
        put(drive, facts.sealed_name, bytes(MB))
        name = manifest_name(stem("office", taken, number))
        put(drive, name, to_json(sign_record(facts, context.machine_key())))
    return drive


def left(drive: Any) -> list[int]:
    """The numbers of the backups that are there."""
    parsed = [parse_name(stat.name) for stat in drive.list()]
    return [parts.sequence for parts in parsed if parts and parts.kind == "sealed"]


@pytest.mark.parametrize(
    ("options", "newest", "room", "there"),
    [
        ({"replace": "first", "floor": 2}, {}, True, [3]),
        ({"replace": "first", "floor": 3}, {}, False, [1, 2, 3]),
        ({"floor": 2}, {}, False, [1, 2, 3]),
        ({"replace": "first", "floor": 2}, {"marks": ("row counts",)}, False, [1, 2, 3]),
    ],
    ids=["oldest go", "others hold too little", "not wanted", "newest is marked"],
)
def test_a_full_medium(
    tmp_path: Path, options: dict[str, Any], newest: dict[str, Any], room: bool, there: list[int]
) -> None:
    context = context_at(tmp_path, **options)
    with mounts.tmpfs(tmp_path / "media" / "usb0", 4), mounts.tmpfs(tmp_path / "media" / "usb1", 4):
        drive = full_medium(tmp_path, context, **newest)
        run = Run(
            plan=context.path,
            id="run",
            source="office",
            sequence=4,
            started=datetime(2026, 11, 9, 7, tzinfo=UTC),
            engine=Engine(kind="sqlite", version="3", bytes=MB),
        )
        assert make_room(context, run, drive, 2 * MB + MB // 2) is room
        assert left(drive) == there
