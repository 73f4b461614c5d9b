"""``replace: first``: when a full medium loses its oldest backups for the new one, and when not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.backup import media
from tasks.backup.deliver import deliver
from tasks.backup.holds import hold
from tasks.backup.promises import accept_plan, note_plan
from tasks.backup.removal import removed_in
from tasks.backup.room import make_room
from tasks.errors import TargetFull
from tasks.manifests.manifest import manifest_name, parse_name, stem, to_json
from tasks.manifests.signing import sign_record
from tasks.records import Engine, Finding, Rehearsed, Run, Sealed
from tasks.targets.drive.target import DriveTarget
from tasks.targets.shared.media import read_medium
from tests import mounts
from tests.contract.target_contract import put
from tests.unit.backup.test_media import MONDAY, context_at, on
from tests.unit.manifests.shelves import manifest

MB = 1 << 20
TAKEN = datetime(2026, 11, 2, 7, tzinfo=UTC)
# Tuesday's medium had its last turn on that day before the Monday of the run.
LAST_TUESDAY = date(2026, 11, 3)
FIRST = {"replace": "first", "floor": 2}


class Drives:
    """An office whose Monday medium of 4 MB is full: backups 1 to 3 of 1 MB. Tuesday's is away, or not."""

    def __init__(self, root: Path, stack: ExitStack, **options: Any) -> None:
        self.root, self.stack = root, stack
        self.context = context_at(root, **options)

    def medium(self, place: str, label: str, size: int = 4) -> Path:
        path = self.root / "media" / place
        self.stack.enter_context(mounts.tmpfs(path, size))
        media.init(self.context, "drives", path, label)
        return path

    def used(self, path: Path, day: date, held: int) -> None:
        """Have it remembered that a medium was used on a day, and held so many backups then."""
        marker = read_medium(path, "")
        assert marker
        media._note(self.context, marker, held, day)

    def fill(self, drive: DriveTarget, **newest: Any) -> None:
        for number in (1, 2, 3):
            taken = TAKEN + number * timedelta(days=1)
            facts = manifest(
                number, taken, source="office", sealed_bytes=MB, **(newest if number == 3 else {})
            )
            put(drive, facts.sealed_name, bytes(MB))
            name = manifest_name(stem("office", taken, number))
            put(drive, name, to_json(sign_record(facts, self.context.machine_key())))

    def full_monday(self, *, tuesday_used: date = LAST_TUESDAY, **newest: Any) -> DriveTarget:
        """Monday's medium in its place and full; Tuesday's was used, held 2, and is out of the house."""
        away = self.root / "media" / "usb1"
        with mounts.tmpfs(away, 4):
            media.init(self.context, "drives", away, "TUE")
            self.used(away, tuesday_used, 2)
        self.used(self.medium("usb0", "MON"), MONDAY - timedelta(days=7), 3)
        drive = on(self.context, MONDAY)
        self.fill(drive, **newest)
        return drive

    @property
    def run(self) -> Run:
        return Run(
            plan=self.context.path,
            id="run",
            source="office",
            sequence=4,
            started=datetime(2026, 11, 9, 7, tzinfo=UTC),
            engine=Engine(kind="sqlite", version="3", bytes=MB),
        )

    @property
    def held(self) -> int:
        """How many backups Monday's medium is remembered with."""
        return media.remembered(self.context).of("drives")["MON"].held


@pytest.fixture
def drives(tmp_path: Path) -> Iterator[Any]:
    """Makes an office whose drives have these options."""
    with ExitStack() as stack:
        yield lambda **options: Drives(tmp_path, stack, **options)


def left(drive: Any) -> list[int]:
    """The numbers of the backups that are there."""
    parsed = [parse_name(stat.name) for stat in drive.list()]
    return [parts.sequence for parts in parsed if parts and parts.kind == "sealed"]


@pytest.mark.parametrize(
    ("options", "newest", "cause"),
    [
        ({"replace": "first", "floor": 3}, {}, "the other media hold 2 good ones, and 3 must stay"),
        ({"floor": 2}, {}, ""),
        (FIRST, {"marks": ("row counts",)}, "is marked"),
    ],
    ids=["others hold too little", "not wanted", "newest is marked"],
)
def test_nothing_goes_from_a_full_medium(
    drives: Any, options: dict[str, Any], newest: dict[str, Any], cause: str
) -> None:
    office = drives(**options)
    drive = office.full_monday(**newest)
    refused = make_room(office.context, office.run, drive, 2 * MB + MB // 2)
    assert refused and cause in refused.cause
    assert left(drive) == [1, 2, 3]


def test_the_oldest_go_and_it_is_remembered_and_told(drives: Any) -> None:
    office = drives(**FIRST)
    drive = office.full_monday()
    assert make_room(office.context, office.run, drive, 2 * MB + MB // 2) is None
    assert left(drive) == [3]
    removed = removed_in(office.context, office.run, "drives")
    assert [(gone.sequence, "full medium" in gone.reason) for gone in removed] == [(1, True), (2, True)]
    assert office.held == 1, "what was used last held 3"


def test_a1_nothing_goes_where_no_medium_could_hold_the_new_backup(drives: Any, tmp_path: Path) -> None:
    """A whole delivery: the backup needs more than the medium has, with all that may go."""
    office = drives(**FIRST)
    drive = office.full_monday()
    path = tmp_path / "sealed"
    path.write_bytes(bytes(MB))
    name = "office-20261109T070000Z-000004.tar.zst.age"
    sealed = Sealed(path=path, name=name, bytes=MB, sha256="0" * 64)
    rehearsed = Rehearsed(
        findings=(Finding(check="opened", passed=True, detail=""),), seconds=0.0, manifest=path
    )
    # One of 1 MB wants 9 MB free (SPARE_BYTES): more than a medium of 4 MB ever has.
    with pytest.raises(TargetFull, match=r"nothing was removed to make room: .* a larger medium is needed"):
        deliver(office.context, office.run, sealed, rehearsed, "drives")
    assert left(drive) == [1, 2, 3]
    assert office.held == 3
    assert removed_in(office.context, office.run, "drives") == ()


def test_a1_other_media_that_are_plugged_in_are_looked_at(drives: Any) -> None:
    """Tuesday's is remembered with two and holds none; then it holds three."""
    office = drives(**FIRST)
    drive = office.full_monday()
    tuesday = office.root / "media" / "usb2"
    office.stack.enter_context(mounts.tmpfs(tuesday, 8))
    media.init(office.context, "drives", tuesday, "TUE", replace=True)
    office.used(tuesday, LAST_TUESDAY, 2)
    refused = make_room(office.context, office.run, drive, 2 * MB + MB // 2)
    assert refused and "TUE: 0" in refused.cause
    assert left(drive) == [1, 2, 3]
    office.fill(on(office.context, MONDAY + timedelta(days=1)))
    assert make_room(office.context, office.run, drive, 2 * MB + MB // 2) is None
    assert left(drive) == [3]


def test_a1_a_medium_that_was_not_there_on_its_last_turn_does_not_count(drives: Any) -> None:
    office = drives(**FIRST)
    drive = office.full_monday(tuesday_used=LAST_TUESDAY - timedelta(days=7))
    refused = make_room(office.context, office.run, drive, 2 * MB + MB // 2)
    assert refused and "TUE: not there on its last turn" in refused.cause
    assert left(drive) == [1, 2, 3]


def test_a_held_backup_stays_on_a_full_medium(drives: Any) -> None:
    office = drives(**FIRST)
    drive = office.full_monday()
    hold(office.context, "", 1, "for the court", None)
    assert make_room(office.context, office.run, drive, 2 * MB + MB // 2) is None
    assert left(drive) == [1]


def test_a5_replacing_first_waits_where_the_plan_before_kept(drives: Any) -> None:
    before = drives(floor=2)
    note_plan(before.context)
    office = drives(**FIRST)
    drive = office.full_monday()
    refused = make_room(office.context, office.run, drive, 2 * MB + MB // 2)
    assert refused and "--accept-change" in refused.cause
    assert left(drive) == [1, 2, 3]
    assert accept_plan(office.context) == ("drives",)
    assert make_room(office.context, office.run, drive, 2 * MB + MB // 2) is None
    assert left(drive) == [3]


def test_a1_what_was_found_damaged_on_another_medium_does_not_count(drives: Any) -> None:
    office = drives(**FIRST)
    drive = office.full_monday()
    facts = {"target": "drives", "source": "office", "sequence": 9, "name": "nine", "medium": "TUE"}
    office.context.journal.append("damaged", **facts, found_by="audit", detail="its sha256 differs")
    refused = make_room(office.context, office.run, drive, 2 * MB + MB // 2)
    assert refused and "TUE: 1 when last used" in refused.cause
    assert left(drive) == [1, 2, 3]


def test_a1_a_further_sources_backups_are_counted_by_what_was_delivered(drives: Any) -> None:
    """The main source has two on Tuesday's medium, this one none."""
    office = drives(**FIRST)
    drive = office.full_monday()
    facts = {"target": "drives", "sequence": 1, "medium": "TUE", "bytes": 1, "sha256": ""}
    office.context.journal.append("delivered", **facts, source="office", name="one")
    run = office.run.model_copy(update={"source": "office.programs", "source_name": "programs"})
    for number in (1, 2, 3):
        taken = TAKEN + number * timedelta(days=1)
        record = manifest(number, taken, source="office.programs", sealed_bytes=10)
        put(drive, record.sealed_name, bytes(10))
        name = manifest_name(stem("office.programs", taken, number))
        put(drive, name, to_json(sign_record(record, office.context.machine_key())))
    before = drive.free_space()
    refused = make_room(office.context, run, drive, before + 20)
    assert refused and "TUE: 0 when last used" in refused.cause
    assert len(left(drive)) == 6
