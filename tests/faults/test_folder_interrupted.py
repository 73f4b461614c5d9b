"""A folder target whose medium, power or process goes away in the middle of a call.

Failure stories 14 and 15. Every test proves that its fault fired.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.errors import ObjectMissing, TargetError, TargetMissing
from tasks.records import Stat
from tasks.targets.shared import mounted
from tasks.targets.shared.marker import MARKER
from tasks.targets.shared.mounted import walk
from tests import mounts
from tests.contract.target_contract import MIB, SEALED, ThenReader, get, put, some_bytes
from tests.faults.folders import marked_drive, target_at, tree

DAY = 86_400


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    with marked_drive(tmp_path / "nas") as path:
        yield path


def unmount_after(path: Path, size: int) -> ThenReader:
    """A reader of twice ``size`` bytes during which the file system at ``path`` is detached."""
    left = [bytes(size), b""]

    def pull() -> bytes:
        if len(left) == 2:
            mounts.unmount_lazily(path)
        return left.pop(0)

    return ThenReader(size, pull)


@pytest.mark.parametrize("name", [SEALED, f"TUE/{SEALED}"])
@pytest.mark.parametrize("beneath", ["nothing", "a marker of its own", "a copy of the drive's marker"])
def test_lazy_unmount_in_mid_copy(tmp_path: Path, name: str, beneath: str) -> None:
    """Writes and fsync go on succeeding on the detached drive; the marker's id and st_dev tell."""
    path = tmp_path / "nas"
    path.mkdir()
    if beneath == "a marker of its own":
        target_at(path).prepare()
    elif beneath == "a copy of the drive's marker":
        target_at(path).prepare()
        shutil.copy(path / MARKER, tmp_path / "copy")
    before = tree(path)
    with mounts.tmpfs(path):
        target = target_at(path)
        if beneath == "a copy of the drive's marker":
            shutil.copy(tmp_path / "copy", path / MARKER)
        target.prepare()
        reader = unmount_after(path, MIB)
        written: list[int] = []
        with pytest.raises(TargetMissing) as caught:
            target.put(name, reader, 2 * MIB, lambda done, _: written.append(done))
        assert written[-1] == 2 * MIB, "all writes succeeded after the fault"
        assert caught.value.__cause__ is None, "no error of the system gave it away"
    assert not path.is_mount()
    assert tree(path) == before


@pytest.mark.parametrize("name", [SEALED, f"TUE/{SEALED}"])
@pytest.mark.parametrize("moment", ["make_folders", "create_private", "sync_folder"])
def test_lazy_unmount_between_two_calls(
    mount: Path, monkeypatch: pytest.MonkeyPatch, name: str, moment: str
) -> None:
    """Whichever call is the first one to reach the disk beneath, nothing stays there."""
    real = getattr(mounted, moment)
    fired: list[str] = []

    def after_the_fault(*arguments: object) -> object:
        # Making the slot's folder syncs too: meant is the moment after the object got its name.
        made_a_folder = moment == "sync_folder" and arguments != ((mount / name).parent,)
        if not fired and not made_a_folder:
            fired.append(moment)
            mounts.unmount_lazily(mount)
        return real(*arguments)

    monkeypatch.setattr(mounted, moment, after_the_fault)
    reader = io.BytesIO(bytes(MIB))
    with pytest.raises(TargetMissing):
        target_at(mount).put(name, reader, MIB)
    assert fired
    assert tree(mount) == []
    assert reader.tell() == (MIB if moment == "sync_folder" else 0), "not a byte goes to the disk beneath"


def test_lazy_unmount_while_listing(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing of the empty folder beneath must not look like all backups lost."""
    target = target_at(mount)
    put(target, SEALED, b"x")

    def walk_beneath(root: Path, *_: object) -> list[Stat]:
        mounts.unmount_lazily(mount)
        return list(walk(root))

    monkeypatch.setattr(mounted, "walk", walk_beneath)
    with pytest.raises(TargetMissing, match="cannot list nas"):
        target.list()


def test_another_drive_in_mid_copy(mount: Path) -> None:
    """The drive is swapped for another one of the same name while the copy runs."""
    left = [bytes(MIB), b""]

    def swap() -> bytes:
        if len(left) == 2:
            mounts.unmount_lazily(mount)
            mounts.run("mount", "-t", "tmpfs", "tmpfs", mount)
            target_at(mount).prepare()
        return left.pop(0)

    with pytest.raises(TargetMissing, match="another medium"):
        target_at(mount).put(f"TUE/{SEALED}", ThenReader(MIB, swap), 2 * MIB)
    assert left == [], "the fault fired"
    assert tree(mount) == [MARKER]


def test_another_drive_on_the_same_port(mount: Path) -> None:
    """A drive that gets the device number of the one before it: only the marker's id tells."""
    left = [bytes(MIB), b""]

    def swap() -> bytes:
        if len(left) == 2:
            (mount / MARKER).unlink()
            target_at(mount).prepare()
        return left.pop(0)

    with pytest.raises(TargetMissing, match="another medium"):
        target_at(mount).put(f"TUE/{SEALED}", ThenReader(MIB, swap), 2 * MIB)
    assert left == [], "the fault fired"
    assert tree(mount) == [MARKER]


def test_a_pulled_drive(tmp_path: Path) -> None:
    """An unplugged drive still lists and answers statvfs from memory, and fails each write with EIO."""
    with mounts.ext4(tmp_path / "drive") as drive:
        target = target_at(drive.path)
        target.prepare()
        put(target, SEALED, b"old")
        left = [bytes(MIB), b""]

        def pull() -> bytes:
            if len(left) == 2:
                mounts.shut_down_without_sync(drive.path)
            return left.pop(0)

        with pytest.raises(TargetError) as caught:
            target.put("new", ThenReader(MIB, pull), 2 * MIB)
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.EIO, "the fault fired"
        assert "unplugged" in caught.value.hint
        assert drive.path / SEALED in drive.path.iterdir(), "to the system it still looks healthy"
        for call in (target.list, target.free_space):
            with pytest.raises(TargetMissing, match="Input/output error"):
                call()


def test_power_cut_after_put(tmp_path: Path) -> None:
    """What put reported stored is there after a power cut; an ordinary copy beside it is lost."""
    with mounts.ext4(tmp_path / "drive") as drive:
        target = target_at(drive.path)
        target.prepare()
        data = some_bytes(3 * MIB)
        put(target, f"TUE/{SEALED}", data)
        (drive.path / "ordinary").write_bytes(data)
        mounts.shut_down_without_sync(drive.path)
        mounts.run("umount", drive.path)
        mounts.mount_ext4(drive.path, drive.below)
        ordinary = drive.path / "ordinary"
        assert not ordinary.exists() or ordinary.read_bytes() != data, "the fault fired"
        assert get(target, f"TUE/{SEALED}") == data


# Killed

WRITER = """
import io, sys
from pathlib import Path
from tasks.targets.folder.target import FolderOptions, FolderTarget

class Stalling(io.BytesIO):
    left = 3
    def read(self, size=-1, /):
        if not self.left:
            print("stalled", flush=True)
            sys.stdin.read()
        self.left -= 1
        return bytes(size)

FolderTarget("nas", FolderOptions(path=Path(sys.argv[1]))).put(sys.argv[2], Stalling(), 9 << 20)
"""


def kill_in_mid_put(root: Path, name: str) -> Path:
    """SIGKILL a process that is writing ``name``; returns the part file that it leaves behind."""
    command = [sys.executable, "-c", WRITER, str(root), name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"stalled\n"
        writer.kill()
    assert writer.returncode == -signal.SIGKILL
    parts = list((root / name).parent.glob(".*.part"))
    assert len(parts) == 1, "the fault fired"
    assert parts[0].stat().st_size > 0, "in the middle of the copy"
    return parts[0]


def test_killed_in_mid_put(mount: Path) -> None:
    target = target_at(mount)
    name = f"TUE/{SEALED}"
    put(target, "FRI/old", b"old")
    part = kill_in_mid_put(mount, name)
    assert [item.name for item in target.list()] == ["FRI/old"]
    with pytest.raises(ObjectMissing):
        target.stat(name)
    # Only without the dead run's part file does this fit onto the drive.
    data = some_bytes(15 * MIB)
    put(target, name, data)
    assert get(target, name) == data
    assert not part.exists()


def test_part_files_of_other_objects(mount: Path) -> None:
    """Another object's part file may belong to a run that lives: it goes when a day old, not before."""
    target = target_at(mount)
    part = kill_in_mid_put(mount, "other")
    foreign = mount / ".report.part"
    foreign.write_bytes(b"not ours")
    os.utime(foreign, (0, 0))
    almost = time.time() - DAY + 600
    os.utime(part, (almost, almost))
    put(target, SEALED, b"x")
    assert part.exists()
    os.utime(part, (almost - 1200, almost - 1200))
    put(target, SEALED, b"x")
    assert not part.exists()
    assert foreign.exists()
