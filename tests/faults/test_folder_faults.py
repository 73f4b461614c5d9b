"""A folder target on real file systems that are full, read-only or not there.

Failure stories 3, 11 and 14. Every test proves that its fault fired.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.errors import TargetError, TargetFull, TargetMissing, TargetReadOnly
from tasks.targets.folder.target import FolderTarget
from tasks.targets.shared.marker import MARKER, MEDIUM_MARKER, new_marker
from tasks.targets.shared.media import FOLDER
from tasks.targets.shared.unmarked import UnmarkedFolder
from tests import mounts
from tests.contract.target_contract import MIB, SEALED, ThenReader, get, put, some_bytes
from tests.faults.folders import marked_drive, target_at, tree


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    with marked_drive(tmp_path / "nas") as path:
        yield path


# Full and read-only


@pytest.mark.parametrize("where", ["TUE/new", SEALED])
def test_full(mount: Path, where: str) -> None:
    target = target_at(mount)
    old = some_bytes(4 * MIB)
    put(target, SEALED, old)
    before = target.list()
    with pytest.raises(TargetFull) as caught:
        put(target, where, bytes(20 * MIB))
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC, "the fault fired"
    for word in ("store", where, "nas", "No space left"):
        assert word in caught.value.message
    assert target.is_permanent(caught.value)
    assert target.list() == before
    assert get(target, SEALED) == old
    assert not [name for name in tree(mount) if name.endswith(".part")]
    put(target, "small", bytes(MIB))


def test_full_where_only_fsync_finds_out(tmp_path: Path) -> None:
    """An ext4 whose image lies on a full disk takes every write and fails at fsync alone."""
    with mounts.tmpfs(tmp_path / "outer", 24) as outer, mounts.ext4(outer / "drive", 64) as drive:
        target = target_at(drive.path)
        target.prepare()
        (outer / "filler").write_bytes(bytes(os.statvfs(outer).f_bavail * 4096 - 2 * MIB))
        handed_over = ThenReader(20 * MIB, lambda: b"")
        with pytest.raises(TargetError) as caught:
            target.put(SEALED, handed_over, 20 * MIB)
        assert handed_over.fired, "all was written before anything failed"
        assert isinstance(caught.value.__cause__, OSError)
        assert target.list() == []


def test_read_only(mount: Path) -> None:
    target = target_at(mount)
    put(target, SEALED, b"old")
    mounts.run("mount", "-o", "remount,ro", mount)
    for call in (
        lambda: put(target, "new", b"x"),
        lambda: put(target, "TUE/new", b"x"),
        lambda: target.delete(SEALED),
    ):
        with pytest.raises(TargetReadOnly) as caught:
            call()
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.EROFS, "the fault fired"
        assert target.is_permanent(caught.value)
    assert get(target, SEALED) == b"old"
    assert tree(mount) == [MARKER, SEALED]


def test_refused_rights(tmp_path: Path) -> None:
    """An immutable folder refuses root as well, as a share without write permission refuses a user."""
    with mounts.ext4(tmp_path / "drive") as drive:
        target = target_at(drive.path)
        target.prepare()
        mounts.run("chattr", "+i", drive.path)
        with pytest.raises(TargetReadOnly) as caught:
            put(target, SEALED, b"x")
        mounts.run("chattr", "-i", drive.path)
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.EPERM, "the fault fired"
        put(target, SEALED, b"x")


def test_a_file_too_big_for_the_drive(tmp_path: Path) -> None:
    """FAT32 answers EFBIG at 4 GiB; here the process's own limit answers the same at 1 MiB."""
    target_at(tmp_path).prepare()
    code = """
import io, resource, signal, sys
from pathlib import Path
from tasks.errors import TargetError
from tasks.targets.folder.target import FolderOptions, FolderTarget
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    FolderTarget("nas", FolderOptions(path=Path(sys.argv[1]))).put("a", io.BytesIO(bytes(3 << 20)), 3 << 20)
except TargetError as error:
    print(error.permanent, error.__cause__.errno, error)
"""
    said = mounts.run(sys.executable, "-c", code, tmp_path)
    assert said.startswith(f"True {errno.EFBIG} cannot store a on nas"), "the fault fired"
    assert "exFAT" in said
    assert tree(tmp_path) == [MARKER]


def test_free_space(tmp_path: Path, mount: Path) -> None:
    assert target_at(mount).free_space() == shutil.disk_usage(mount).free > 15 * MIB
    with mounts.ramfs(tmp_path / "ram") as ram:
        target = target_at(ram)
        target.prepare()
        assert tuple(shutil.disk_usage(ram)) == (0, 0, 0), "the fault fired"
        assert target.free_space() is None
        put(target, SEALED, b"x")


# Not there


def every_call(target: FolderTarget) -> list[Callable[[], object]]:
    return [
        lambda: put(target, SEALED, b"x" * MIB),
        lambda: put(target, f"TUE/{SEALED}", b"x"),
        lambda: get(target, SEALED),
        lambda: target.stat(SEALED),
        target.list,
        lambda: target.delete(SEALED),
        target.free_space,
    ]


def test_unmounted(tmp_path: Path) -> None:
    """Story 14: with the drive away nothing at all is written to the folder beneath."""
    with mounts.tmpfs(tmp_path / "nas") as path:
        target = target_at(path)
        target.prepare()
        put(target, SEALED, b"x")
    assert not path.is_mount(), "the fault fired"
    for call in every_call(target):
        with pytest.raises(TargetMissing, match="no marker") as caught:
            call()
        assert "`datasave target init nas`" in caught.value.hint
        assert target.is_permanent(caught.value)
        assert tree(path) == []


def test_folder_gone(tmp_path: Path) -> None:
    target = target_at(tmp_path / "nas")
    for call in every_call(target):
        with pytest.raises(TargetMissing, match="is not there") as caught:
            call()
        assert "Mount the drive" in caught.value.hint
    assert tree(tmp_path) == []


def test_foreign_marker(tmp_path: Path) -> None:
    """Story 11: a drive that belongs to another target is neither written nor pruned."""
    vault = target_at(tmp_path, "vault")
    vault.prepare()
    put(vault, SEALED, b"the vault's own")
    before = tree(tmp_path)
    for call in every_call(target_at(tmp_path)):
        with pytest.raises(TargetMissing, match="'vault'"):
            call()
    assert tree(tmp_path) == before
    assert get(vault, SEALED) == b"the vault's own"


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\x00", b"[]", b"{}", b'{"datasave": 1, "target": "nas"', b'{"datasave": 2, "target": "nas"}'],
)
def test_damaged_marker(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MARKER).write_bytes(content)
    target = target_at(tmp_path)
    for call in every_call(target):
        with pytest.raises(TargetMissing, match="damaged or of an unknown version"):
            call()
    with pytest.raises(TargetMissing, match="damaged"):
        target.prepare()
    assert tree(tmp_path) == [MARKER]
    assert (tmp_path / MARKER).read_bytes() == content


def test_a_driver_that_died(tmp_path: Path) -> None:
    """A share whose connection broke answers ENOTCONN to everything, and may come back by itself."""
    with mounts.exfat(tmp_path / "stick") as stick:
        target = target_at(stick.path)
        target.prepare()
        put(target, SEALED, b"x")
        assert stick.driver is not None
        stick.driver.kill()
        stick.driver.wait()
        for call in every_call(target):
            with pytest.raises(TargetMissing) as caught:
                call()
            assert isinstance(caught.value.__cause__, OSError)
            assert caught.value.__cause__.errno == errno.ENOTCONN, "the fault fired"
            assert not target.is_permanent(caught.value)


# Inside one another


def test_a2_another_target_inside_is_never_crossed_into(tmp_path: Path) -> None:
    nas, long = target_at(tmp_path / "nas"), target_at(tmp_path / "nas" / "long", "long")
    nas.prepare()
    put(nas, SEALED, b"ours")
    (tmp_path / "nas" / "long").mkdir()
    (tmp_path / "nas" / "long" / MARKER).write_bytes(new_marker("long"))
    put(long, SEALED, b"theirs")
    put(long, f"TUE/{SEALED}", b"theirs")
    assert [item.name for item in nas.list()] == [SEALED]
    for name in (f"long/{SEALED}", f"long/TUE/{SEALED}"):
        for call in (lambda name=name: put(nas, name, b""), lambda name=name: nas.delete(name)):
            with pytest.raises(TargetError, match=r"the folder long.* belongs to another target") as caught:
                call()
            assert nas.is_permanent(caught.value) and caught.value.hint
    assert [item.name for item in long.list()] == [f"TUE/{SEALED}", SEALED]
    assert [item.name for item in UnmarkedFolder(tmp_path).list()] == [
        f"nas/{SEALED}",
        f"nas/long/TUE/{SEALED}",
        f"nas/long/{SEALED}",
    ], "whoever looks for what is left on a bare machine finds all of it"


def test_a2_a_medium_inside_is_never_crossed_into(tmp_path: Path) -> None:
    """Neither one whose root the folder is, nor one that is mounted in it."""
    nas = target_at(tmp_path)
    nas.prepare()
    for root in (tmp_path, tmp_path / "stick"):
        (root / FOLDER).mkdir(parents=True)
        (root / MEDIUM_MARKER).write_text("{}")
        (root / FOLDER / SEALED).write_bytes(b"theirs")
    put(nas, SEALED, b"ours")
    assert [item.name for item in nas.list()] == [SEALED]


@pytest.mark.parametrize("inside", ["", "long", "long/deep"])
def test_a2_no_place_is_made_ready_inside_another_targets(tmp_path: Path, inside: str) -> None:
    (tmp_path / "long").mkdir()
    if inside:
        target_at(tmp_path).prepare()
    else:
        (tmp_path / MEDIUM_MARKER).write_text("{}")
    with pytest.raises(TargetError, match="another target has its backups there") as caught:
        target_at(tmp_path / inside, "long").prepare()
    assert caught.value.hint and not (tmp_path / inside / MARKER).exists()
