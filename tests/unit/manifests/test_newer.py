"""Whatever is newer than the backup that is used is named, with why it was passed over and the way out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tasks.manifests.newer import newer_than, other_sources
from tasks.manifests.shelf import find, read_shelf
from tasks.manifests.signing import sign_record
from tests.unit.manifests.shelves import MACHINE, STRANGER, TAKEN, DictTarget, manifest, signed

DAY = timedelta(days=1)
NEWEST = "clinic-20261124T020000Z-000418"
NAMED = "#418 of 2026-11-24 02:00 UTC is newer and not used: "


@pytest.fixture
def place() -> DictTarget:
    made = DictTarget()
    made.add(signed(416, TAKEN - DAY))
    made.add(signed(417))
    return made


def told(place: DictTarget, wanted: str = "latest", **settings: Any) -> tuple[str, ...]:
    """What is said when a backup is asked for."""
    stated = {"trusted": {MACHINE}, "now": TAKEN + 9 * DAY, "slots": {"TUE"}, "source": "clinic", **settings}
    shelf = read_shelf(place, **stated)
    used = find(shelf, wanted).manifest
    assert used is not None
    assert used.sequence == 417
    return newer_than(shelf, used, wanted)


def test_b5_nothing_newer_nothing_said(place: DictTarget) -> None:
    assert told(place) == ()


def test_b5_a_manifest_of_no_bytes(place: DictTarget) -> None:
    place.add(signed(418, TAKEN + DAY))
    place.objects[f"{NEWEST}.manifest.json"] = b""
    assert told(place) == (
        f"{NAMED}manifest unreadable: it is empty. A whole copy may lie on another target: "
        "`datasave list`, `datasave repair`.",
    )


def test_b5_the_manifest_of_another_lies_beside_it(place: DictTarget) -> None:
    place.add(signed(418, TAKEN + DAY))
    place.objects[f"{NEWEST}.manifest.json"] = next(
        data for name, data in place.objects.items() if name.endswith("417.manifest.json")
    )
    (line,) = told(place)
    assert line.startswith(f"{NAMED}the manifest belongs to clinic-")


def test_b5_both_files_have_words_before_their_names(place: DictTarget) -> None:
    place.add(signed(418, TAKEN + DAY))
    for name in [name for name in place.objects if name.startswith(NEWEST)]:
        place.objects[f"Copy of {name}"] = place.objects.pop(name)
    (line,) = told(place)
    assert line.startswith(NAMED) and "name both files so again" in line


def test_b5_a_renamed_archive_and_a_renamed_manifest(place: DictTarget) -> None:
    place.add(signed(418, TAKEN + DAY), archive=None)
    place.objects["backup 4 (1).tar.zst.age"] = b"sealed archive"
    (line,) = told(place)
    assert (
        line
        == f"{NAMED}archive missing: backup 4 (1).tar.zst.age has its size; rename it to {NEWEST}.tar.zst.age"
    )
    data = place.objects.pop(f"{NEWEST}.manifest.json")
    del place.objects["backup 4 (1).tar.zst.age"]
    place.objects |= {f"{NEWEST}.tar.zst.age": b"sealed archive", f"{NEWEST}.manifest (1).json": data}
    (line,) = told(place)
    renamed = f"its manifest is {NEWEST}.manifest (1).json: name that {NEWEST}.manifest.json again, beside it"
    assert line == NAMED + renamed


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"archive": b"cut"}, "archive has 3 bytes, the manifest says 14. A whole copy may lie"),
        ({"archive": None}, "archive missing. A whole copy may lie"),
        ({"slot": "old"}, "in the folder old, which is no slot. To use it, move both its files"),
        (
            {"name": f"{NEWEST} (1)"},
            f"the manifest belongs to {NEWEST}.tar.zst.age, which is missing: name both",
        ),
    ],
)
def test_b5_whatever_keeps_it_from_counting(place: DictTarget, change: dict[str, Any], reason: str) -> None:
    place.add(signed(418, TAKEN + DAY), **change)
    (line,) = told(place)
    assert line.startswith(NAMED + reason)


def test_b5_another_machines_an_unsigned_one_and_one_of_the_future(place: DictTarget) -> None:
    place.add(sign_record(manifest(418, TAKEN + DAY), STRANGER))
    place.add(manifest(419, TAKEN + 2 * DAY))
    place.add(signed(420, TAKEN + 30 * DAY))
    future, unsigned, strange = told(place)
    assert future.startswith(
        "#420 of 2026-12-23 02:00 UTC is newer and not used: dated in the future. Look at the clock"
    )
    assert unsigned.startswith("#419") and "not signed" in unsigned
    assert strange.startswith(f"{NAMED}signed by another machine") and "`signers:` in the plan" in strange


def test_b5_a_newer_one_of_a_lower_number(place: DictTarget) -> None:
    """The state folder was put back to an older day: numbers were given out twice."""
    place.add(signed(415, TAKEN + DAY))
    place.add(signed(416, TAKEN + 2 * DAY))
    (line,) = told(place)
    assert line == (
        "#416 of 2026-11-25 02:00 UTC, #415 of 2026-11-24 02:00 UTC are newer and not used: numbered lower "
        "than #417. To use it: `--backup clinic-20261125T020000Z-000416.tar.zst.age`."
    )


def test_b5_of_the_day_that_was_asked_for(place: DictTarget) -> None:
    place.add(signed(418, TAKEN + timedelta(hours=3)), archive=None)
    place.add(signed(419, TAKEN + DAY), archive=None)
    (line,) = told(place, "2026-11-23")
    assert line.startswith("#418 of 2026-11-23 05:00 UTC is newer")
    assert told(place, "417") == ()


def test_b5_many_of_one_reason_are_one_line(place: DictTarget) -> None:
    for number in range(8):
        place.add(signed(418 + number, TAKEN + (number + 1) * DAY), archive=None)
    (line,) = told(place)
    assert (
        line.startswith("#425 of ")
        and "#421" in line
        and "#420" not in line
        and " and 3 more are newer" in line
    )


def test_b5_backups_of_a_renamed_plan() -> None:
    names = [
        "klinik-20261125T020000Z-000003.manifest.json",
        "TUE/klinik-20261124T020000Z-000002.manifest.json",
    ]
    (line,) = other_sources([*names, "RECOVER.md"], {"clinic"}, signed())
    assert line.startswith(
        "backups of klinik lie there as well, the newest #3 of 2026-11-25 02:00 UTC: another "
    )
    assert other_sources(names, {"clinic", "klinik"}, signed()) == ()
    assert other_sources(names, {"clinic"}, signed(417, TAKEN + 5 * DAY)) == (), "none is newer"
    assert other_sources(names, {"clinic"}, None) == (line,)
