"""What a target holds: every defect by its name, and nothing believed that is not signed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any, BinaryIO

import pytest

from tasks.errors import ManifestError, NoBackup, ObjectMissing, TargetError, TargetMissing
from tasks.manifests.entries import FUTURE
from tasks.manifests.manifest import MAX_BYTES, certificate_name
from tasks.manifests.shelf import find, newest_verified, read_shelf
from tasks.manifests.signing import public_text, sign_record
from tasks.policy.retention import AHEAD
from tasks.records import BackupEntry, Finding
from tests.unit.manifests.shelves import MACHINE, SEALED, STRANGER, TAKEN, DictTarget, manifest, signed

DAY = timedelta(days=1)
NOW = TAKEN + DAY
NAME = "clinic-20261123T020000Z-000417"
OTHER = public_text(STRANGER.public_key())
FAILED = Finding(check="integrity", passed=False, detail="0 of 1 passed")


def _shelf(place: DictTarget, **settings: Any) -> list[BackupEntry]:
    return read_shelf(place, **{"trusted": {MACHINE}, "now": NOW, **settings})


def _only(place: DictTarget, **settings: Any) -> BackupEntry:
    shelf = _shelf(place, **settings)
    assert len(shelf) == 1
    return shelf[0]


@pytest.fixture
def place() -> DictTarget:
    return DictTarget()


def test_a_whole_backup_is_verified(place: DictTarget) -> None:
    place.add(signed(), slot="TUE")
    assert _only(place) == BackupEntry(
        name=f"{NAME}.tar.zst.age",
        slot="TUE",
        manifest_name=f"TUE/{NAME}.manifest.json",
        manifest=signed(),
        defect="",
        bytes=len(SEALED),
    )


def test_an_empty_place_and_foreign_files(place: DictTarget) -> None:
    assert _shelf(place) == []
    for name in ("RECOVER.md", "TUE/photo.jpg", "clinic.tar.zst", "package.json", f"{NAME}.json"):
        place.objects[name] = b"{}"
    assert _shelf(place) == []


def test_an_archive_without_manifest_is_an_unfinished_delivery(place: DictTarget) -> None:
    place.objects[f"TUE/{NAME}.tar.zst.age"] = b"half"
    found = _only(place)
    assert (found.defect, found.manifest, found.manifest_name, found.bytes, found.slot) == (
        "no manifest (unfinished delivery)",
        None,
        "",
        4,
        "TUE",
    )


@pytest.mark.parametrize(
    ("record", "defect"),
    [
        (manifest(), "not signed"),
        (signed().model_copy(update={"copy_bytes": 1}), "signature does not match"),
        (sign_record(manifest(), STRANGER), f"signed by another machine ({OTHER[:16]}…)"),
        (signed(taken=NOW + timedelta(hours=1, seconds=1)), "dated in the future"),
        (signed(taken=NOW + timedelta(hours=1)), ""),
        (signed(sealed_bytes=20), "archive has 14 bytes, the manifest says 20"),
        (signed(sealed_bytes=10), "archive has 14 bytes, the manifest says 10"),
        (signed(checks=(FAILED,)), "checks had failed"),
        (signed(checks=(*manifest().checks, FAILED)), "checks had failed"),
        (signed(checks=()), "no checks recorded"),
    ],
)
def test_troubles_of_a_manifest(place: DictTarget, record: Any, defect: str) -> None:
    place.add(record)
    found = _only(place)
    assert found.defect == defect
    assert found.manifest == record
    assert found.verified is (defect == "")


def test_a_forged_future_manifest_is_called_forged(place: DictTarget) -> None:
    """Retention takes "dated in the future" for evidence of the clock: only signed ones may say it."""
    place.add(sign_record(manifest(taken=NOW + 3650 * DAY), STRANGER))
    assert _only(place).defect.startswith("signed by another machine")
    assert FUTURE == AHEAD


def test_archive_missing(place: DictTarget) -> None:
    place.add(signed(), archive=None)
    found = _only(place)
    assert (found.defect, found.bytes) == ("archive missing", 0)


def test_a_manifest_under_another_name_does_not_count(place: DictTarget) -> None:
    place.add(signed(), name="clinic-20261124T020000Z-000418")
    found = _only(place)
    told = f"the manifest belongs to {NAME}.tar.zst.age"
    assert found.defect == f"{told}, which is missing: name both files so again"
    assert found.name == "clinic-20261124T020000Z-000418.tar.zst.age"


def test_a_renamed_pair_is_shown_but_does_not_count(place: DictTarget) -> None:
    place.add(signed(), name=f"{NAME} (copy)")
    place.objects["other (copy).manifest.json"] = b"{}"
    assert [b.name for b in _shelf(place, source="clinic")] == [f"{NAME} (copy).tar.zst.age"]
    assert not any(b.verified for b in _shelf(place))


def test_unreadable_manifests(place: DictTarget) -> None:
    place.add(signed())
    name = f"{NAME}.manifest.json"
    whole = place.objects[name]
    place.objects[name] = whole[:100]
    assert _only(place).defect == "manifest unreadable: it is not JSON"
    assert _only(place).manifest is None
    place.objects[name] = whole.replace(b'"format": 1', b'"format": 7')
    assert _only(place).defect == "manifest unreadable: written by a newer version (format 7)"
    place.objects[name] = b" " * (MAX_BYTES + 5)
    assert _only(place).defect == "manifest unreadable: it is over 16 MiB"


def test_a_giant_in_place_of_a_manifest_is_not_read_to_its_end() -> None:
    class Giant(io.RawIOBase):
        given = 0

        def read(self, size: int = -1, /) -> bytes:
            self.given += size
            assert 0 < self.given <= MAX_BYTES + 1
            return bytes(size)

    class GiantTarget(DictTarget):
        @contextmanager
        def open(self, name: str) -> Iterator[BinaryIO]:
            yield Giant()  # type: ignore[misc]

    place = GiantTarget()
    place.add(signed())
    assert _only(place).defect == "manifest unreadable: it is over 16 MiB"


def test_one_manifest_that_the_medium_cannot_give_leaves_the_others(place: DictTarget) -> None:
    place.add(signed(417))
    place.add(signed(418, TAKEN + DAY))
    place.faults[f"{NAME}.manifest.json"] = TargetError("cannot read: timed out")
    assert [b.defect for b in _shelf(place)] == ["manifest unreadable: cannot read: timed out", ""]
    place.faults[f"{NAME}.manifest.json"] = OSError(5, "Input/output error")
    assert [b.defect for b in _shelf(place)] == ["manifest unreadable: Input/output error", ""]
    place.faults[f"{NAME}.manifest.json"] = TargetMissing("unplugged")
    with pytest.raises(TargetMissing):
        _shelf(place)


def test_a_manifest_that_vanishes_meanwhile_is_left_out(place: DictTarget) -> None:
    place.add(signed(417))
    place.add(signed(418, TAKEN + DAY))
    place.faults[f"{NAME}.manifest.json"] = ObjectMissing("gone")
    assert [b.name for b in _shelf(place)] == ["clinic-20261124T020000Z-000418.tar.zst.age"]


def test_a_bare_machine_believes_whole_manifests_only(place: DictTarget) -> None:
    place.add(sign_record(manifest(), STRANGER))
    place.add(manifest(418, TAKEN + DAY))
    assert [b.defect for b in _shelf(place, trusted=None)] == ["", "not signed"]


def test_order_is_by_number_with_the_unreadable_first(place: DictTarget) -> None:
    place.add(signed(3, TAKEN - 3 * DAY))
    place.add(signed(2, TAKEN - 1 * DAY))
    place.add(signed(1000000, TAKEN - 2 * DAY), slot="TUE")
    place.objects["clinic-20261123T020000Z-000900.tar.zst.age"] = b""
    place.objects["A.tar.zst.age"] = b""
    shelf = _shelf(place)
    assert [b.manifest.sequence if b.manifest else b.name for b in shelf] == [
        "A.tar.zst.age",
        "clinic-20261123T020000Z-000900.tar.zst.age",
        2,
        3,
        1000000,
    ]
    newest = newest_verified(shelf)
    assert newest is not None
    assert newest.slot == "TUE"


def test_only_the_asked_source(place: DictTarget) -> None:
    place.add(signed())
    place.add(signed(source="clinic-west"))
    place.objects["clinic-west-20261123T020000Z-000009.tar.zst.age"] = b""
    assert [b.name for b in _shelf(place, source="clinic")] == [f"{NAME}.tar.zst.age"]
    assert len(_shelf(place, source="clinic-west")) == 2
    assert len(_shelf(place)) == 3


def test_certificates_are_named_with_their_backup(place: DictTarget) -> None:
    place.add(signed(), slot="TUE")
    place.add(signed(418, TAKEN + DAY))
    drills = [f"TUE/{certificate_name(f'{NAME}.tar.zst.age', TAKEN + n * DAY)}" for n in (1, 2)]
    for drill in drills:
        place.objects[drill] = b"{}"
    place.objects[certificate_name(f"{NAME}.tar.zst.age", TAKEN)] = b"{}"
    assert [b.certificates for b in _shelf(place)] == [tuple(drills), ()]


def test_of_a_backup_in_two_slots_one_counts(place: DictTarget) -> None:
    place.add(signed(), slot="TUE")
    place.add(signed(), slot="For the tax office")
    shelf = _shelf(place)
    assert [(b.slot, b.defect) for b in shelf] == [
        ("For the tax office", "another copy of the backup in TUE"),
        ("TUE", ""),
    ]
    place.add(signed())
    assert [b.slot for b in _shelf(place) if b.verified] == [""]
    assert "another copy of the backup in the root" in {b.defect for b in _shelf(place)}


def test_a_damaged_copy_does_not_take_the_place_of_the_whole_one(place: DictTarget) -> None:
    place.add(signed(), slot="TUE", archive=b"cut")
    place.add(signed(), slot="archive")
    assert [b.slot for b in _shelf(place) if b.verified] == ["archive"]


def test_different_backups_under_one_number_both_show(place: DictTarget) -> None:
    place.add(signed())
    place.add(signed(taken=TAKEN + timedelta(hours=1), sealed_sha256="b" * 64))
    shelf = _shelf(place)
    assert [b.verified for b in shelf] == [True, True]
    for text in ("417", "latest"):
        with pytest.raises(NoBackup, match="more than one") as caught:
            find(shelf, text)
        assert shelf[0].name in caught.value.hint
    assert find(shelf, shelf[0].name) == shelf[0]


@pytest.fixture
def stocked(place: DictTarget) -> list[BackupEntry]:
    place.add(signed(416, TAKEN - DAY), slot="MON")
    place.add(signed(417), slot="TUE")
    place.add(signed(418, TAKEN + timedelta(hours=2)), slot="TUE")
    place.add(manifest(419, TAKEN + timedelta(hours=20)), slot="WED")
    return _shelf(place)


@pytest.mark.parametrize(
    ("text", "sequence"),
    [
        ("latest", 418),
        ("417", 417),
        (" 000417 ", 417),
        ("2026-11-22", 416),
        ("2026-11-23", 418),
        (NAME, 417),
        (f"{NAME}.tar.zst.age", 417),
        (f"TUE/{NAME}.tar.zst.age", 417),
        (f"TUE/{NAME}.manifest.json", 417),
    ],
)
def test_find(stocked: list[BackupEntry], text: str, sequence: int) -> None:
    found = find(stocked, text).manifest
    assert found is not None
    assert found.sequence == sequence


def test_find_by_date_means_the_date_where_the_reader_is(stocked: list[BackupEntry]) -> None:
    new_york = timezone(timedelta(hours=-5))
    found = find(stocked, "2026-11-22", timezone=new_york).manifest
    assert found is not None
    assert found.sequence == 418
    with pytest.raises(NoBackup):
        find(stocked, "2026-11-23", timezone=new_york)


@pytest.mark.parametrize("text", ["", "420", "2026-11-25", "nonsense", f"MON/{NAME}.tar.zst.age", "9" * 5000])
def test_find_nothing_says_what_there_is(stocked: list[BackupEntry], text: str) -> None:
    with pytest.raises(NoBackup, match="no verified backup fits") as caught:
        find(stocked, text)
    assert "TUE/clinic-20261123T040000Z-000418.tar.zst.age" in caught.value.hint
    assert "000419" not in caught.value.hint
    assert isinstance(caught.value, ManifestError)


def test_find_never_gives_an_untrusted_backup(stocked: list[BackupEntry]) -> None:
    with pytest.raises(NoBackup, match="not signed"):
        find(stocked, "419")
    with pytest.raises(NoBackup) as caught:
        find([backup for backup in stocked if not backup.verified], "latest")
    assert "There is no verified backup here, and 1 that cannot be trusted" in caught.value.hint


def test_the_offer_is_short(place: DictTarget) -> None:
    for number in range(15):
        place.add(signed(number, TAKEN - (15 - number) * DAY))
    with pytest.raises(NoBackup) as caught:
        find(_shelf(place), "99")
    assert caught.value.hint.count("clinic-") == 10
    assert "and 5 older" in caught.value.hint
    assert "000014" in caught.value.hint


def test_latest_of_several_sources_must_be_chosen(place: DictTarget) -> None:
    place.add(signed())
    place.add(signed(9, source="other"))
    with pytest.raises(NoBackup, match="more than one backup fits"):
        find(_shelf(place), "latest")


def test_a_time_without_zone_for_now_is_refused(place: DictTarget) -> None:
    place.add(signed())
    with pytest.raises(TypeError):
        _shelf(place, now=datetime(2026, 11, 24))


def test_an_empty_place_is_called_empty() -> None:
    with pytest.raises(NoBackup) as caught:
        find([], "latest")
    assert "no backups here at all" in caught.value.hint
