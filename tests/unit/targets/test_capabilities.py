"""Which target can do what, and what is done where it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.options import Options
from tasks.targets import capabilities
from tasks.targets.base import Target, TargetOptions
from tasks.targets.drive.target import DriveOptions, DriveTarget
from tasks.targets.folder.target import FolderOptions, FolderTarget
from tasks.targets.memory.target import MemoryTarget
from tasks.targets.s3.options import S3Options
from tasks.targets.s3.target import S3Target
from tasks.targets.sftp.target import SftpTarget
from tasks.targets.smb.target import SmbTarget
from tests.faults.media import CALENDAR

PROTOCOLS = {name: getattr(capabilities, name) for name in vars(capabilities) if name.startswith("Supports")}
SERVICE = {"SupportsVerify", "SupportsLock", "SupportsThaw", "SupportsPolicies", "SupportsProbe"}


@pytest.mark.parametrize(
    ("target", "abilities"),
    [
        (FolderTarget, {"SupportsPrepare", "SupportsDisk"}),
        (SftpTarget, {"SupportsPrepare"}),
        (SmbTarget, {"SupportsPrepare"}),
        (DriveTarget, {"SupportsPrepare", "SupportsMedia"}),
        (S3Target, {"SupportsPrepare", *SERVICE}),
        (MemoryTarget, set()),
    ],
)
def test_who_can_do_what(target: type[Target], abilities: set[str]) -> None:
    assert {name for name, protocol in PROTOCOLS.items() if issubclass(target, protocol)} == abilities


def test_what_is_done_where_it_is_lacking() -> None:
    target = MemoryTarget("memory")
    assert capabilities.prepare(target) == "memory needs no preparation"
    assert capabilities.policies(target) == {}
    assert capabilities.probe(target) == "writable"
    assert target.objects == {}


def test_what_options_tell_of_media(tmp_path: Path) -> None:
    drive = DriveOptions.model_validate({"calendar": CALENDAR})
    assert isinstance(drive, capabilities.MediaOptions)
    others: list[Options] = [FolderOptions(path=tmp_path), S3Options(bucket="backups")]
    assert not any(isinstance(options, capabilities.MediaOptions) for options in others)


@pytest.mark.parametrize(
    ("options", "locks", "seconds"),
    [
        ({}, False, 0),
        ({"lock": {"mode": "compliance", "days": 1}}, True, 0),
        ({"storage_class": "GLACIER_IR"}, False, 0),
        ({"storage_class": "GLACIER"}, False, 5 * 3600),
        ({"storage_class": "DEEP_ARCHIVE", "thaw": {"tier": "Bulk"}}, False, 48 * 3600),
    ],
)
def test_what_options_tell_of_a_bucket(options: dict[str, object], locks: bool, seconds: int) -> None:
    read: TargetOptions = S3Options.model_validate({"bucket": "backups", **options})
    assert (read.locks_objects, read.thaw_seconds) == (locks, seconds)
