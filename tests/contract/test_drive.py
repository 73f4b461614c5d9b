"""A drive target against the contract, on each file system that a drive comes with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.targets.shared.media import init_medium
from tests import mounts
from tests.contract.target_contract import TargetCase, TargetContract
from tests.faults.media import PLAN, TARGET, drives, objects


class _OnAMedium(TargetContract):
    """The medium is changed below its file system's cache."""

    label: str | None = "TUE"

    @pytest.fixture
    def case(self, mounted: mounts.Mounted) -> TargetCase:
        init_medium(mounted.path, "TUE", TARGET, PLAN)

        def corrupt(name: str) -> None:
            path = objects(mounted.path) / name
            before = path.read_bytes()
            with mounted.below.open("r+b") as device:
                offset = device.read().index(before[:64])
                device.seek(offset)
                device.write(bytes([before[0] ^ 1]))
            assert path.read_bytes() == before, "the cache hides the change from a plain read"

        return TargetCase(make=lambda: drives(mounted.path.parent, self.label), corrupt=corrupt)


class TestOnExt4(_OnAMedium):
    @pytest.fixture
    def mounted(self, tmp_path: Path) -> Iterator[mounts.Mounted]:
        with mounts.ext4(tmp_path / "drive") as mounted:
            yield mounted


class TestOnExfat(_OnAMedium):
    """Without a turn, as for listing and restoring."""

    label = None

    @pytest.fixture
    def mounted(self, tmp_path: Path) -> Iterator[mounts.Mounted]:
        with mounts.exfat(tmp_path / "stick") as mounted:
            yield mounted


class TestOnNtfs(_OnAMedium):
    @pytest.fixture
    def mounted(self, tmp_path: Path) -> Iterator[mounts.Mounted]:
        with mounts.ntfs(tmp_path / "disk") as mounted:
            yield mounted
