"""Shelves of many backups on real services: each manifest is fetched once, and judged each time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from tasks.manifests.entries import Known
from tasks.manifests.manifest import manifest_name, to_json
from tasks.manifests.remembered import Remembered
from tasks.manifests.shelf import read_shelf
from tasks.records import BackupEntry
from tasks.targets.base import Target
from tasks.targets.folder.target import FolderOptions, FolderTarget
from tasks.targets.s3.target import S3Target
from tasks.targets.shared import transfer
from tests.contract.s3_targets import options, secrets_in
from tests.servers.account import USER_ID
from tests.servers.radosgw import Radosgw, s3
from tests.servers.sshd import Sshd, sshd
from tests.unit.manifests.shelves import MACHINE, SEALED, TAKEN, signed

__all__ = ["s3", "sshd"]

FEW, MANY = 24, 1000
LONG_AGO = 1_700_000_000


def objects(count: int) -> Iterator[tuple[str, bytes]]:
    for number in range(count):
        record = signed(number, TAKEN - timedelta(hours=count - number))
        yield record.sealed_name, SEALED
        yield manifest_name(record.sealed_name.removesuffix(".tar.zst.age")), to_json(record)


class Place:
    """A target on a real service, filled behind its back; ``write`` puts what lies there."""

    def __init__(self, target: Target, write: Callable[[str, bytes], object], state: Path) -> None:
        self.target = target
        self.write = write
        self.state = state
        self.fetched: list[str] = []
        own_open: Callable[[str], Any] = target.open

        @contextmanager
        def counted(name: str) -> Iterator[BinaryIO]:
            self.fetched.append(name)
            with own_open(name) as stream:
                yield stream

        target.open = counted  # type: ignore[method-assign]

    def fill(self, count: int) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda one: self.write(*one), objects(count)))

    def shelf(self, *, looking: bool) -> list[BackupEntry]:
        self.fetched.clear()
        known = Known(manifests=Remembered(self.state, self.target.name, looking))
        return read_shelf(self.target, trusted={MACHINE}, now=TAKEN, known=known)


def written(path: Path, data: bytes) -> None:
    """Long ago, at the same time whatever is written."""
    path.write_bytes(data)
    os.utime(path, (LONG_AGO, LONG_AGO))


@pytest.fixture
def bucket(s3: Radosgw, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
    secrets_in(monkeypatch, s3.admin)
    name, client = s3.bucket(), s3.client()
    with S3Target("cloud", options(s3, name)) as target:
        yield Place(
            target, lambda key, data: client.put_object(Bucket=name, Key=key, Body=data), tmp_path / "state"
        )


@pytest.fixture
def vault(sshd: Sshd, tmp_path: Path) -> Iterator[Place]:
    folder = sshd.place(f"vault-{tmp_path.name}")
    with sshd.target(folder) as target:
        target.prepare()

        def write(name: str, data: bytes) -> None:
            written(folder / name, data)
            os.chown(folder / name, USER_ID, USER_ID)

        yield Place(target, write, tmp_path / "state")


@pytest.fixture
def nas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(transfer, "_SETTLED", 0.0)  # the time of a file's last change cannot be set back
    with FolderTarget("nas", FolderOptions(path=tmp_path / "nas")) as target:
        target.prepare()
        yield Place(target, lambda name, data: written(tmp_path / "nas" / name, data), tmp_path / "state")


@pytest.fixture(params=["bucket", "vault", "nas"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


def test_a_shelf_is_fetched_once(place: Place) -> None:
    place.fill(FEW)
    first = place.shelf(looking=True)
    assert len(first) == len(place.fetched) == FEW
    assert all(backup.verified for backup in first)
    assert place.shelf(looking=True) == first
    assert place.fetched == []
    assert place.shelf(looking=False) == first
    assert len(place.fetched) == (0 if place.target.properties.stamps_prove else FEW)


def test_a_manifest_changed_at_the_same_size_and_time_is_noticed(place: Place) -> None:
    """By whoever removes, restores or audits, all of whom read as ``shelf_of`` does."""
    place.fill(FEW)
    name = place.shelf(looking=True)[5].manifest_name
    with place.target.open(name) as stream:
        changed = stream.read().replace(b'"sqlite"', b'"sqlitf"')
    place.write(name, changed)
    defects = [backup.defect for backup in place.shelf(looking=False)]
    assert defects == ["signature does not match" if number == 5 else "" for number in range(FEW)]
    # And by who looked before: what is kept is what was read last.
    assert [backup.defect for backup in place.shelf(looking=True)] == defects


def test_a_manifest_that_is_gone_or_swapped_is_noticed_at_once(place: Place) -> None:
    place.fill(FEW)
    first = place.shelf(looking=True)
    place.target.delete(first[0].manifest_name)
    with place.target.open(first[2].manifest_name) as stream:
        place.write(first[1].manifest_name, stream.read() + b"\n")
    shelf = {backup.full_name: backup for backup in place.shelf(looking=True)}
    assert shelf[first[0].full_name].unfinished
    assert shelf[first[1].full_name].defect.startswith("the manifest belongs to")


@pytest.mark.long
def test_of_a_thousand_backups_on_s3_none_is_fetched_twice(bucket: Place) -> None:
    """The seconds are printed, for ``-s``: at most 15 the first time and 1 after it are wanted."""
    bucket.fill(MANY)
    for looking in (True, True, False):
        began = time.monotonic()
        shelf = bucket.shelf(looking=looking)
        print(f"{len(bucket.fetched)} of {len(shelf)} fetched in {time.monotonic() - began:.2f} s")
        assert len([backup for backup in shelf if backup.verified]) == MANY
    assert bucket.fetched == []
