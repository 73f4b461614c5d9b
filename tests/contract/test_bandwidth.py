"""One bandwidth option for every kind of target. On S3, SFTP and SMB servers: tests/faults/."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.targets.base import Target
from tasks.targets.drive.target import DriveTarget
from tasks.targets.folder.target import FolderOptions, FolderTarget
from tasks.targets.registry import option_models
from tests.contract.target_contract import MIB, get, put, some_bytes
from tests.faults.media import TARGET, medium, options

DATA = some_bytes(4 * MIB)
LIMIT = "4 MB/s"  # just over a second for all of it


def test_every_kind_has_the_option() -> None:
    for kind, model in option_models().items():
        assert "bandwidth" in model.model_fields, kind


def seconds_to_put(target: Target, name: str = "TUE/a") -> float:
    began = time.monotonic()
    put(target, name, DATA)
    return time.monotonic() - began


def folder(path: Path, bandwidth: str | None = LIMIT) -> FolderTarget:
    target = FolderTarget("nas", FolderOptions(path=path, bandwidth=bandwidth))
    target.prepare()
    return target


def test_a_folder_keeps_to_it(tmp_path: Path) -> None:
    target = folder(tmp_path / "nas")
    assert seconds_to_put(target) > 0.9
    assert get(target, "TUE/a") == DATA


def test_a_drive_keeps_to_it(tmp_path: Path) -> None:
    with medium(tmp_path / "media", "TUE"):
        limited = options(tmp_path / "media").model_copy(update={"bandwidth": LIMIT})
        target = DriveTarget(TARGET, limited)
        assert seconds_to_put(target) > 0.9
        assert get(target, "TUE/a") == DATA


@pytest.mark.parametrize("place", ["same", "different"])
def test_steps_side_by_side_share_the_limit_of_a_place(tmp_path: Path, place: str) -> None:
    """Several sources of one run each make a target of their own for the same place."""
    paths = [tmp_path / "nas", tmp_path / ("nas" if place == "same" else "other")]
    targets = [folder(path) for path in paths]
    began = time.monotonic()
    with ThreadPoolExecutor() as pool:
        list(pool.map(seconds_to_put, targets, ["TUE/a", "TUE/b"]))
    took = time.monotonic() - began
    assert took > 1.9 if place == "same" else took < 1.9
