"""Folders of any depth, closed ones and protected ones: all of it goes, or all but what is named."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from tasks.archive.reader import extract_archive
from tasks.archive.writer import write_archive
from tasks.backup.copy import identical
from tasks.errors import SourceError, StateError
from tasks.platform.trees import below, remove_tree, sync_tree
from tasks.sources.registry import source_for_copies
from tests import mounts
from tests.deep import deep
from tests.faults.folders import target_at
from tests.servers.account import another_account
from tests.unit.sources.files.material import copied, failed, fresh, source


@pytest.fixture
def ram(tmp_path: Path) -> Iterator[Path]:
    """A file system that makes thousands of folders at once, and is gone with all of them."""
    with mounts.tmpfs(tmp_path / "ram", 64) as path:
        yield path


@pytest.mark.parametrize(("levels", "name"), [(1300, "d"), (1300, "d" * 200)], ids=["deep", "beyond paths"])
def test_c7_a_folder_of_any_depth_is_removed(ram: Path, levels: int, name: str) -> None:
    with deep(ram / "copy", levels, name) as folder:
        with pytest.raises(RecursionError):
            shutil.rmtree(folder)
        remove_tree(folder)
        assert list(ram.iterdir()) == []


def test_c7_deep_folders_are_walked_and_synced(ram: Path) -> None:
    with deep(ram / "copy", 1300) as folder:
        found = list(below(folder))
        assert sum(entry.is_file() for entry in found) == 14
        assert len(found) == 1314
        sync_tree(folder)


def test_c7_folders_that_their_owner_closed_are_removed(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:3]:
        if parent.stat().st_uid == 0 and parent != Path("/tmp"):
            parent.chmod(0o755)
    with another_account():
        inner = tmp_path / "copy" / "closed" / "in it"
        inner.mkdir(parents=True)
        (inner / "patient.txt").write_text("x")
        for place, mode in ((inner, 0o500), (inner.parent, 0o000)):
            place.chmod(mode)
        with pytest.raises(PermissionError):
            list(inner.parent.iterdir())
        remove_tree(tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Path]:
    with mounts.ext4(tmp_path / "drive") as mounted:
        (mounted.path / "lost+found").rmdir()
        yield mounted.path


def test_c7_what_is_marked_as_not_to_be_changed_is_removed(drive: Path) -> None:
    folder = drive / "copy" / "in it"
    folder.mkdir(parents=True)
    for name, flag in (("immutable", "+i"), ("append only", "+a")):
        (folder / name).write_text("x")
        mounts.run("chattr", flag, folder / name)
    mounts.run("chattr", "+i", folder)
    with pytest.raises(PermissionError):
        (folder / "immutable").unlink()
    remove_tree(drive / "copy")
    assert list(drive.iterdir()) == []


def test_c7_what_cannot_go_is_named_and_all_else_goes(tmp_path: Path, drive: Path) -> None:
    """A file system that is mounted inside is not emptied: it is somebody else's."""
    folder = drive / "copy"
    (folder / "z" / "deep").mkdir(parents=True)
    (folder / "z" / "deep" / "patient.txt").write_text("x")
    (folder / "a").mkdir()
    with mounts.tmpfs(folder / "a" / "mounted") as mounted:
        (mounted / "theirs").write_text("x")
        with pytest.raises(StateError, match=f"cannot remove {folder}/a/mounted: Device or resource busy"):
            remove_tree(folder)
        assert [path.name for path in folder.rglob("*")] == ["a", "mounted", "theirs"]
    remove_tree(folder)
    assert list(drive.iterdir()) == []


def test_a_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").touch()
    (tmp_path / "copy").mkdir()
    for place in (tmp_path / "copy" / "link", tmp_path / "link"):
        place.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        remove_tree(place if place.parent == tmp_path else place.parent)
    remove_tree(tmp_path / "was never there")
    assert [path.name for path in tmp_path.rglob("*")] == ["elsewhere", "file"]


def test_c7_a_folder_of_any_depth_is_backed_up_and_comes_back(ram: Path) -> None:
    """Deeper than Python's stack: copied, validated, archived, extracted, compared, restored."""
    archive, extracted = BytesIO(), fresh(ram / "extracted")
    with deep(ram / "office", 1300) as folder:
        assert source(folder).check().bytes == sum(len(str(level)) for level in (*range(0, 1300, 100), 1299))
        copy = copied(folder, ram)
        assert failed(copy.folder, ram) == []
        write_archive(copy.folder, archive)
        archive.seek(0)
        extract_archive(archive, extracted, limit=8 << 20)
        assert identical(extracted, copy.files).passed
        restored = source_for_copies("files").restore(extracted, ram / "restored")
        found = {entry.path.removeprefix(str(restored)) for entry in below(restored)}
        assert found == {entry.path.removeprefix(str(folder)) for entry in below(folder)}
        assert (restored / "/".join(["d"] * 1300) / "patient.txt").read_text() == "1299"


def test_c7_deeper_than_a_path_is_refused_in_one_line(ram: Path) -> None:
    with deep(ram / "office", 30, "d" * 200) as folder:
        for act in (lambda: source(folder).check(), lambda: copied(folder, ram)):
            with pytest.raises(SourceError, match="is longer than this system takes") as caught:
                act()
            assert "\n" not in caught.value.message and len(caught.value.message) < 500
            assert "exclude:" in caught.value.hint
        (folder / "letter.txt").write_text("hello")
        assert source(folder, exclude=("d*/",)).check().bytes == 5


def test_c7_a_path_that_does_not_fit_where_it_is_restored_is_named_before(ram: Path) -> None:
    with deep(ram / "x", 19, "d" * 200) as folder:
        copy = copied(folder, ram)
        far = ram / ("f" * 250)
        with pytest.raises(SourceError, match="its whole path would be too long in that folder"):
            source_for_copies("files").restore(copy.folder, far)
        assert not far.exists()


def test_c7_a_target_of_any_depth_is_listed(ram: Path) -> None:
    with deep(ram / "nas", 1300) as folder:
        target = target_at(folder)
        target.prepare()
        assert len(target.list()) == 14
