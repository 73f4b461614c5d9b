"""Backups whose files were renamed, moved apart or copied: never called cut off, and told how to mend."""

from __future__ import annotations

import hashlib
from datetime import UTC, timedelta
from typing import Any

import pytest

from tasks.errors import TargetError
from tasks.manifests.shelf import elsewhere_text, newest_verified, read_shelf
from tasks.manifests.strays import told_of
from tasks.options import Keep
from tasks.policy.retention import judge_retention, suspended
from tasks.records import BackupEntry, Manifest
from tests.unit.manifests.shelves import MACHINE, SEALED, TAKEN, DictTarget, signed

DAY = timedelta(days=1)
SLOTS = frozenset({"MON", "TUE"})
STEM = "clinic-20261123T020000Z-000417"
ARCHIVE = f"{STEM}.tar.zst.age"
MANIFEST = f"{STEM}.manifest.json"


def backup(sequence: int = 417, content: bytes = SEALED, **changes: Any) -> Manifest:
    """A signed manifest that states ``content`` as its archive."""
    facts = {"sealed_bytes": len(content), "sealed_sha256": hashlib.sha256(content).hexdigest(), **changes}
    return signed(sequence, TAKEN + (sequence - 417) * DAY, **facts)


def shelf_of(place: DictTarget, **settings: Any) -> list[BackupEntry]:
    stated = {"trusted": {MACHINE}, "now": TAKEN + 9 * DAY, "source": "clinic", "slots": SLOTS, **settings}
    return read_shelf(place, **stated)


@pytest.fixture
def place() -> DictTarget:
    made = DictTarget()
    made.add(backup(416, b"before"), archive=b"before")
    made.add(backup())
    return made


def renamed(place: DictTarget, old: str, new: str) -> None:
    place.objects[new] = place.objects.pop(old)


@pytest.mark.parametrize(
    "name",
    [
        f"{STEM}.manifest (1).json",
        f"{STEM}.MANIFEST.JSON",
        f"{STEM}.manifest.json.bak",
        "manifest of the newest one.txt",
        f"TUE/{MANIFEST}",
        f"old/{MANIFEST}",
        f"old/Copy of {MANIFEST}",
    ],
)
def test_a4_an_archive_whose_manifest_was_renamed_is_not_cut_off(place: DictTarget, name: str) -> None:
    renamed(place, MANIFEST, name)
    found = next(one for one in shelf_of(place) if one.full_name == ARCHIVE)
    assert not found.unfinished and not found.verified
    assert found.defect == f"its manifest is {name}: name that {MANIFEST} again, beside it"
    assert told_of(place, ARCHIVE) == name


@pytest.mark.parametrize("name", ["backup 4.txt", "old/x", f"{STEM}.txt"])
def test_a4_whatever_the_manifest_is_called_its_archive_is_not_removed(place: DictTarget, name: str) -> None:
    renamed(place, MANIFEST, name)
    assert told_of(place, ARCHIVE) == name


@pytest.mark.parametrize(
    "name", [f"{STEM} (1).tar.zst.age", f"{STEM}.tar.zst (1).age", "newest", f"TUE/{ARCHIVE}"]
)
def test_a4_an_archive_that_was_renamed_is_named_with_its_manifest(place: DictTarget, name: str) -> None:
    renamed(place, ARCHIVE, name)
    shelf = shelf_of(place)
    own = next(one for one in shelf if one.manifest_name == MANIFEST and one.manifest)
    assert own.defect == f"archive missing: {name} has its size; rename it to {ARCHIVE}"
    assert not any(one.unfinished for one in shelf)
    assert told_of(place, name) == MANIFEST


def test_a4_both_were_renamed(place: DictTarget) -> None:
    renamed(place, ARCHIVE, f"{STEM} of Monday.tar.zst.age")
    renamed(place, MANIFEST, f"{STEM} of Monday.manifest.json")
    assert [one.defect for one in shelf_of(place)][1:] == [
        f"the manifest belongs to {ARCHIVE}, which is missing: name both files so again"
    ]
    renamed(place, f"{STEM} of Monday.manifest.json", f"{STEM}.manifest (2).json")
    (found,) = [one for one in shelf_of(place) if not one.verified]
    assert found.defect == f"as large as {ARCHIVE}, which is missing: if it is that, name it so again"
    assert not found.unfinished


def test_a4_a_copy_under_another_name_is_not_cut_off(place: DictTarget) -> None:
    place.objects[f"{STEM} (1).tar.zst.age"] = SEALED
    (found,) = [one for one in shelf_of(place) if not one.verified]
    assert found.defect == f"as large as {ARCHIVE}, of which it seems to be a copy"
    assert not found.unfinished
    assert told_of(place, found.full_name) == MANIFEST
    assert newest_verified(shelf_of(place)) is not None


def test_a4_what_is_cut_off_is_called_so_though_another_is_as_large(place: DictTarget) -> None:
    name = "clinic-20261124T020000Z-000418.tar.zst.age"
    place.objects[name] = SEALED[:-1] + b"?"
    found = next(one for one in shelf_of(place) if one.full_name == name)
    assert found.unfinished
    assert told_of(place, name) == ""
    place.objects[name] = b"half"
    assert told_of(place, name) == ""


def test_a4_what_cannot_be_read_now_is_not_removed(place: DictTarget) -> None:
    """As in cold storage: whether it is the one that the manifest states, nobody can tell."""
    renamed(place, MANIFEST, "renamed")
    place.objects["other.tar.zst.age"] = SEALED
    place.faults[ARCHIVE] = TargetError("frozen")
    assert told_of(place, ARCHIVE) == "renamed"


def test_a4_a_manifest_of_no_bytes_names_the_one_that_is_whole(place: DictTarget) -> None:
    place.objects[f"{STEM}.manifest (1).json"] = place.objects[MANIFEST]
    place.objects[MANIFEST] = b""
    found = next(one for one in shelf_of(place) if one.full_name == ARCHIVE)
    assert found.defect.startswith("manifest unreadable: it is empty; a whole one is called ")
    assert f"{STEM}.manifest (1).json: rename it to {MANIFEST}" in found.defect


@pytest.mark.parametrize("folder", ["#recycle", "@eaDir", "old", "TUE/old", "Tuesday", "datasave"])
def test_a6_folders_of_people_and_nas_are_no_slots(place: DictTarget, folder: str) -> None:
    for number in (410, 430):
        place.add(backup(number), slot=folder)
    place.add(backup(), slot=folder)
    place.objects[f"{folder}/clinic-20261123T020000Z-000001.tar.zst.age"] = b"half"
    shelf = shelf_of(place)
    assert [one.manifest.sequence for one in shelf if one.manifest] == [416, 417], "they are not read"
    assert not any(one.unfinished for one in shelf)
    assert suspended(shelf) == ""
    verdicts = judge_retention(shelf, Keep(last=1), 1, UTC)
    assert [v.backup.full_name for v in verdicts if not v.kept] == [
        "clinic-20261122T020000Z-000416.tar.zst.age"
    ]
    assert elsewhere_text(shelf) == (
        f"copies elsewhere on this target: 4 in {folder}/; they don't count and are left alone"
    )


@pytest.mark.parametrize("folder", ["", "MON", "TUE", "tue"])
def test_a6_slots_are_slots(folder: str) -> None:
    place = DictTarget()
    place.add(backup(), slot=folder)
    shelf = shelf_of(place)
    assert [one.verified for one in shelf] == [True]
    assert elsewhere_text(shelf) == ""


def test_a6_a_place_of_no_plan_is_read_whole(place: DictTarget) -> None:
    place.add(backup(420), slot="datasave/old")
    assert [one.verified for one in shelf_of(place, slots=None)] == [True, True, True]
