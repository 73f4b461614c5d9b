"""A backup exists while its manifest does: it is read back once written, and is the first to be removed."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import pytest

from tasks.backup.deliver import publish
from tasks.backup.removal import remove_backup
from tasks.backup.retain import clear_unfinished, prune
from tasks.context import PlanContext
from tasks.errors import ReadBackError, TargetError
from tasks.health.trend import remember
from tasks.manifests.manifest import certificate_name, manifest_name, to_json
from tasks.manifests.shelf import read_shelf
from tasks.manifests.signing import sign_record
from tasks.policy.trend_rules import Snapshot
from tasks.records import Manifest, Progress, Stat, no_progress
from tasks.targets.memory.target import MemoryTarget
from tests.contract.target_contract import put
from tests.flows.site import Site
from tests.unit.manifests.shelves import SEALED, TAKEN, certificate, manifest, signed

RECORD = signed()
NAME = RECORD.sealed_name
MANIFEST = manifest_name(NAME.removesuffix(".tar.zst.age"))


class Rotting(MemoryTarget):
    """Keeps something else than it was given."""

    def put(self, name: str, reader: BinaryIO, size: int, progress: Progress = no_progress) -> Stat:
        stat = super().put(name, reader, size, progress)
        self.objects[name] = self.objects[name][:-1] + b"!"
        return stat


class Failing(MemoryTarget):
    """Gives up when an object of that suffix is removed."""

    def __init__(self, name: str, suffix: str) -> None:
        super().__init__(name)
        self._suffix = suffix

    def delete(self, name: str) -> None:
        if name.endswith(self._suffix):
            raise TargetError(f"cannot delete {name}: the medium is gone")
        super().delete(name)


def test_a_manifest_that_is_there_as_written_publishes_the_backup() -> None:
    nas = MemoryTarget("nas")
    put(nas, NAME, SEALED)
    publish(nas, to_json(RECORD), NAME)
    (backup,) = read_shelf(nas, trusted=None, now=TAKEN + timedelta(days=1))
    assert backup.verified


def test_a_manifest_that_reads_back_otherwise_is_removed_and_told() -> None:
    nas = Rotting("nas")
    with pytest.raises(ReadBackError, match="is not what was written"):
        publish(nas, to_json(RECORD), NAME)
    assert nas.objects == {}


def test_s3_a_signature_goes_with_its_manifest(context: PlanContext) -> None:
    nas = MemoryTarget("nas")
    put(nas, NAME, SEALED)
    publish(nas, to_json(RECORD), NAME, context.machine_key())
    (backup,) = read_shelf(nas, trusted=None, now=TAKEN + timedelta(days=1))
    assert backup.signature in nas.objects
    assert remove_backup(context, nas, backup, "no rule keeps it")
    assert nas.objects == {}


@pytest.mark.parametrize("suffix", [".tar.zst.age", ".drill-20261129T060000Z.json", ".manifest.json.sig"])
def test_half_a_removal_leaves_no_backup_that_seems_whole(context: PlanContext, suffix: str) -> None:
    nas = Failing("nas", suffix)
    drilled = certificate()
    put(nas, NAME, SEALED)
    put(nas, MANIFEST, to_json(RECORD))
    put(nas, certificate_name(NAME, drilled.drilled), to_json(drilled))
    put(nas, f"{MANIFEST}.sig", b"signature")
    (backup,) = read_shelf(nas, trusted=None, now=TAKEN + timedelta(days=1))
    with pytest.raises(TargetError):
        remove_backup(context, nas, backup, "no rule keeps it")
    assert MANIFEST not in nas.objects
    assert NAME in nas.objects
    (left,) = read_shelf(nas, trusted=None, now=TAKEN + timedelta(days=1))
    assert left.unfinished and not left.verified


@pytest.fixture
def context(tmp_path: Path) -> PlanContext:
    """An office whose target holds five good backups, none of them marked, of which one is to stay."""
    nas = {"name": "nas", "kind": "folder", "path": "nas", "keep": {"last": 1}, "floor": 1}
    site = Site.make(tmp_path, ["nas"], checks=[])
    site.change_plan(targets=[nas])
    made = site.context
    with made.target("nas") as target:
        for number in range(1, 6):
            record = sign_record(manifest(number, TAKEN + timedelta(days=number)), made.machine_key())
            put(target, record.sealed_name, SEALED)
            put(target, manifest_name(record.sealed_name.removesuffix(".tar.zst.age")), to_json(record))
    return made


def seen(context: PlanContext, *anomalies: str) -> None:
    """What this machine remembers of its newest run."""
    remember(
        context,
        "",
        Snapshot(
            sequence=5,
            taken=TAKEN + timedelta(days=5),
            copy_bytes=1,
            archive_bytes=1,
            tables=(),
            anomalies=anomalies,
        ),
    )


def test_old_backups_go_after_a_run_that_looks_like_those_before(context: PlanContext) -> None:
    seen(context)
    assert len(prune(context, "nas").removed) == 4


def test_an_anomaly_keeps_them_though_no_manifest_is_marked(context: PlanContext) -> None:
    seen(context, "table ledger lost 30 % of its rows")
    pruned = prune(context, "nas")
    assert pruned.removed == ()
    assert "table ledger lost 30 %" in pruned.note


def test_nothing_goes_while_the_backup_just_proven_is_not_on_the_shelf(context: PlanContext) -> None:
    """Something is wrong with the target then: what it shows may not be what it holds."""
    seen(context)
    with context.target("nas") as target:
        newest = read_shelf(target, trusted=None, now=TAKEN + timedelta(days=6))[-1].full_name
    missing = newest.replace("-000005", "-000006")
    pruned = prune(context, "nas", proven=missing)
    assert pruned.removed == ()
    assert f"pruning suspended: {missing} is not on the shelf" in pruned.note
    assert len(prune(context, "nas", proven=newest).removed) == 4


def test_a4_what_a_sync_client_renamed_is_never_cleared_as_cut_off(context: PlanContext) -> None:
    """Of five proven backups one has a renamed manifest, one a renamed archive; a sixth was cut off."""
    root = context.path.parent / "nas"
    archives = sorted(root.glob("*.tar.zst.age"))
    first, second = (archive.name.removesuffix(".tar.zst.age") for archive in archives[:2])
    for number, archive in enumerate(archives):
        data = SEALED + bytes([number])
        archive.write_bytes(data)
        (root / manifest_name(archive.name.removesuffix(".tar.zst.age"))).write_bytes(
            to_json(_stating(context, number + 1, data))
        )
    (root / manifest_name(first)).rename(root / f"{first}.manifest (1).json")
    archives[1].rename(root / f"{second} (1).tar.zst.age")
    cut_off = root / archives[0].name.replace("-000001", "-000006")
    cut_off.write_bytes(SEALED[:4])
    before = {path.name for path in root.iterdir()}
    assert clear_unfinished(context, "nas") == (cut_off.name,)
    assert {path.name for path in root.iterdir()} == before - {cut_off.name}


def _stating(context: PlanContext, number: int, data: bytes) -> Manifest:
    stated = {"sealed_bytes": len(data), "sealed_sha256": sha256(data).hexdigest()}
    return sign_record(manifest(number, TAKEN + timedelta(days=number), **stated), context.machine_key())
