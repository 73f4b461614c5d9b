"""Manifests are fetched once: what is kept never makes one look present, whole or trusted that is not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from tasks.errors import TargetError, TargetMissing
from tasks.manifests.entries import Known
from tasks.manifests.remembered import Remembered
from tasks.manifests.shelf import read_shelf
from tasks.records import BackupEntry, Properties, Stat
from tests.unit.manifests.shelves import MACHINE, TAKEN, DictTarget, signed

COUNT = 40


class Bucket(DictTarget):
    """Counts what is fetched, and how much of it at a time; ``stamps`` stand for digests or for times."""

    def __init__(self, *, stamps_prove: bool) -> None:
        super().__init__()
        self.properties = Properties(readers=8, stamps_prove=stamps_prove)
        self.stamps: dict[str, str] = {}
        self.fetched: list[str] = []
        self.together: threading.Barrier | None = None

    def list(self, prefix: str = "") -> list[Stat]:
        stamp = self.stamps
        return [stat.model_copy(update={"stamp": stamp.get(stat.name, "1")}) for stat in super().list(prefix)]

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        self.fetched.append(name)
        if self.together:
            self.together.wait(60)
        with super().open(name) as stream:
            yield stream


@pytest.fixture(params=[True, False], ids=["digests", "times"])
def bucket(request: pytest.FixtureRequest) -> Bucket:
    place = Bucket(stamps_prove=request.param)
    for number in range(COUNT):
        place.add(signed(number), slot="TUE" if number % 2 else "")
    return place


def read(bucket: Bucket, state: Path, *, looking: bool = False, place: str = "cloud") -> list[BackupEntry]:
    known = Known(manifests=Remembered(state, place, looking))
    bucket.fetched.clear()
    return read_shelf(bucket, trusted={MACHINE}, now=TAKEN, known=known)


def test_known_manifests_are_not_fetched_again(bucket: Bucket, tmp_path: Path) -> None:
    first = read(bucket, tmp_path)
    assert len(bucket.fetched) == COUNT
    assert read(bucket, tmp_path, looking=True) == first
    assert bucket.fetched == []
    assert read(bucket, tmp_path) == first
    # Who acts on what is read believes digests alone.
    assert len(bucket.fetched) == (0 if bucket.properties.stamps_prove else COUNT)
    bucket.add(signed(417))
    assert len(read(bucket, tmp_path, looking=True)) == COUNT + 1
    assert len(bucket.fetched) == 1


def test_new_manifests_are_fetched_side_by_side(bucket: Bucket, tmp_path: Path) -> None:
    bucket.together = threading.Barrier(8)  # eight are under way at a time, or none goes on
    assert len(read(bucket, tmp_path)) == COUNT


def test_what_is_gone_or_written_anew_is_not_taken_from_memory(bucket: Bucket, tmp_path: Path) -> None:
    first = read(bucket, tmp_path)
    gone, changed, longer = (backup.manifest_name for backup in first[:3])
    del bucket.objects[gone]
    bucket.objects[changed] = bytes(len(bucket.objects[changed]))
    bucket.stamps[changed] = "2"
    bucket.objects[longer] += b" "
    shelf = {backup.full_name: backup for backup in read(bucket, tmp_path, looking=True)}
    assert set(bucket.fetched) == {changed, longer}
    assert [shelf[one.full_name].defect for one in first[:2]] != ["", ""]
    assert shelf[first[0].full_name].unfinished
    assert shelf[first[1].full_name].defect.startswith("manifest unreadable")
    assert shelf[first[2].full_name].verified


def test_a_manifest_changed_under_the_same_stamp_is_seen_by_who_acts(tmp_path: Path) -> None:
    """Same size, same time: only a service's own digests can tell without reading."""
    bucket = Bucket(stamps_prove=False)
    bucket.add(signed(1))
    bucket.add(signed(2))
    assert all(backup.verified for backup in read(bucket, tmp_path))
    (name, *_) = sorted(name for name in bucket.objects if name.endswith(".json"))
    bucket.objects[name] = bucket.objects[name].replace(b"sqlite", b"sqlitf")
    assert [backup.verified for backup in read(bucket, tmp_path, looking=True)] == [True, True]
    assert [backup.defect for backup in read(bucket, tmp_path)] == ["signature does not match", ""]
    # What was read is what is kept from now on.
    assert [backup.verified for backup in read(bucket, tmp_path, looking=True)] == [False, True]


def test_what_is_kept_is_judged_like_what_is_fetched(bucket: Bucket, tmp_path: Path) -> None:
    read(bucket, tmp_path)
    known = Known(manifests=Remembered(tmp_path, "cloud", merely_looked_at=True))
    shelf = read_shelf(bucket, trusted={"ed25519:another"}, now=TAKEN, known=known)
    assert all(backup.defect.startswith("signed by another machine") for backup in shelf)
    for name in [name for name in bucket.objects if name.endswith(".age")]:
        bucket.objects[name] += b"longer"
    assert not any(backup.verified for backup in read(bucket, tmp_path, looking=True))


def test_each_place_has_its_own(bucket: Bucket, tmp_path: Path) -> None:
    read(bucket, tmp_path)
    read(bucket, tmp_path, looking=True, place="nas")
    assert len(bucket.fetched) == COUNT


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + bytes(100), b""])
def test_a_damaged_memory_is_made_anew(bucket: Bucket, tmp_path: Path, content: bytes) -> None:
    first = read(bucket, tmp_path)
    (kept,) = (tmp_path / "shelves").iterdir()
    kept.write_bytes(content)
    assert read(bucket, tmp_path, looking=True) == first
    assert read(bucket, tmp_path, looking=True) == first
    read(bucket, tmp_path, looking=True)
    assert bucket.fetched == []


def test_without_room_for_a_memory_all_is_fetched(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "shelves").write_text("a file in the folder's place")
    assert len(read(bucket, tmp_path)) == len(read(bucket, tmp_path, looking=True)) == COUNT
    assert len(bucket.fetched) == COUNT


def test_what_cannot_be_read_is_asked_for_again(bucket: Bucket, tmp_path: Path) -> None:
    first = read(bucket, tmp_path / "other")
    name = first[0].manifest_name
    bucket.faults[name] = TargetError("the connection broke")
    shelf = read(bucket, tmp_path)
    assert sum(backup.verified for backup in shelf) == COUNT - 1
    del bucket.faults[name]
    assert read(bucket, tmp_path, looking=True) == first
    assert bucket.fetched == [name]


def test_a_medium_that_goes_is_not_asked_for_every_manifest(bucket: Bucket, tmp_path: Path) -> None:
    for name in bucket.objects:
        bucket.faults[name] = TargetMissing("the disk is gone")
    with pytest.raises(TargetMissing, match="the disk is gone"):
        read(bucket, tmp_path)
    assert len(bucket.fetched) <= 8
