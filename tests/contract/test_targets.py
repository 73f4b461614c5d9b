"""Every target against the contract (target_contract.py says how to plug one in)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.targets.folder.target import FolderOptions, FolderTarget
from tasks.targets.memory.target import MemoryTarget
from tests import mounts
from tests.contract.target_contract import TargetCase, TargetContract, put


class TestMemory(TargetContract):
    @pytest.fixture
    def case(self) -> TargetCase:
        target = MemoryTarget("memory")

        def corrupt(name: str) -> None:
            data = target.objects[name]
            target.objects[name] = bytes([data[0] ^ 1]) + data[1:]

        return TargetCase(make=lambda: target, corrupt=corrupt)


class TestFolder(TargetContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> TargetCase:
        root = tmp_path / "nas"

        def corrupt(name: str) -> None:
            _flip(root / name, 0)

        return _folder_case(root, corrupt)


class _OnAnImage(TargetContract):
    """A folder on a real file system in an image; the image is changed below that system's cache."""

    @pytest.fixture
    def case(self, mounted: mounts.Mounted) -> TargetCase:
        root = mounted.path / "datasave"

        def corrupt(name: str) -> None:
            path = root / name
            before = path.read_bytes()
            _flip(mounted.below, mounted.below.read_bytes().index(before[:64]))
            assert path.read_bytes() == before, "the cache hides the change from a plain read"

        return _folder_case(root, corrupt)


class TestFolderOnExt4(_OnAnImage):
    @pytest.fixture
    def mounted(self, tmp_path: Path) -> Iterator[mounts.Mounted]:
        with mounts.ext4(tmp_path / "drive") as mounted:
            yield mounted

    def test_a_new_drive_with_its_own_folders(self, mounted: mounts.Mounted) -> None:
        """The root of an ext4 has a lost+found, which only root may read; it is not ours."""
        target = FolderTarget("drive", FolderOptions(path=mounted.path))
        target.prepare()
        (mounted.path / "lost+found" / "#12").write_bytes(b"x")
        put(target, "a", b"a")
        assert [item.name for item in target.list()] == ["a"]


class TestFolderOnExfat(_OnAnImage):
    @pytest.fixture
    def mounted(self, tmp_path: Path) -> Iterator[mounts.Mounted]:
        with mounts.exfat(tmp_path / "stick") as mounted:
            yield mounted


def _folder_case(root: Path, corrupt: Callable[[str], None]) -> TargetCase:
    def make() -> FolderTarget:
        return FolderTarget("nas", FolderOptions(path=root))

    make().prepare()
    return TargetCase(make=make, corrupt=corrupt)


def _flip(path: Path, offset: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(offset)
        byte = stream.read(1)[0]
        stream.seek(offset)
        stream.write(bytes([byte ^ 1]))
