"""From the copy to the sealed file in one pass: nothing readable, nothing half-written, little memory."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tasks.errors import ArchiveError
from tasks.platform.files import private_folder
from tests import mounts
from tests.unit.backup.desk import Desk

MOST_KIB = 64 * 1024
"""What the pass may take, and opening what it made; the program itself not counted."""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk.make(tmp_path)


def test_stock_programs_open_it_and_both_digests_are_right(desk: Desk) -> None:
    (desk.copy / "clinic.db").write_bytes(data := os.urandom(3 << 20) + bytes(3 << 20))
    done: list[tuple[int, int]] = []
    sealed = desk.seal(progress=lambda *both: done.append(both))
    assert done[-1] == (len(data), len(data))
    whole = sealed.path.read_bytes()
    assert (len(whole), hashlib.sha256(whole).hexdigest()) == (sealed.bytes, sealed.sha256)
    for key in desk.site.keys:
        opened = subprocess.run(["age", "-d", "-i", key, sealed.path], capture_output=True, check=True).stdout
        digest = hashlib.sha256(opened).hexdigest()
        assert (len(opened), digest) == (sealed.archive_bytes, sealed.archive_sha256)
    unpacked = subprocess.run(
        ["sh", "-c", "zstd -dc | tar -xO clinic.db"], input=opened, capture_output=True, check=True
    )
    assert unpacked.stdout == data


def test_nothing_readable_is_written(desk: Desk) -> None:
    """Not even for a moment: a disk that is stolen, or sold, may still hold it."""
    (desk.copy / "clinic.db").write_bytes(os.urandom(12 << 20))
    seen: set[bytes] = set()

    def look(_done: int, _total: int) -> None:
        seen.update(path.read_bytes()[:4] for path in desk.files() if path.parent != desk.copy)

    desk.seal(progress=look)
    assert seen <= {b"", b"age-"} and b"age-" in seen


def test_the_disk_runs_full_half_way(tmp_path: Path) -> None:
    with mounts.tmpfs(tmp_path / "small", 24) as small:
        desk = Desk.make(small)
        (desk.copy / "clinic.db").write_bytes(os.urandom(16 << 20))
        with pytest.raises((ArchiveError, OSError)) as caught:
            desk.seal()
        error = caught.value if isinstance(caught.value, OSError) else caught.value.__cause__
        assert isinstance(error, OSError) and error.errno == errno.ENOSPC
        assert list(desk.workspace.sealed.iterdir()) == []
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("relay")]
        (desk.copy / "clinic.db").write_bytes(os.urandom(1 << 20))
        assert desk.seal().path.stat().st_size > 1 << 20


def test_an_interrupted_pass_leaves_nothing(desk: Desk) -> None:
    (desk.copy / "clinic.db").write_bytes(os.urandom(12 << 20))

    def interrupt(done: int, _total: int) -> None:
        if done > 8 << 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.seal(progress=interrupt)
    assert list(desk.workspace.sealed.iterdir()) == []


def test_what_a_killed_try_left_goes_before_the_next(desk: Desk) -> None:
    (desk.copy / "clinic.db").write_bytes(b"one")
    (private_folder(desk.workspace.sealed) / ".clinic.tar.zst.age.0a1b2c3d.part").write_bytes(b"half")
    sealed = desk.seal()
    assert list(desk.workspace.sealed.iterdir()) == [sealed.path]


SEAL_AND_OPEN = """
import os
import sys
from pathlib import Path
from tasks.backup.rehearse import unpack
from tasks.backup.seal import own_keys
from tests.unit.backup.desk import Desk

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

def measured(act):
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = status("VmRSS:")
    result = act()
    print(status("VmHWM:") - before)
    return result

root, gigabytes = Path(sys.argv[1]), int(sys.argv[2])
desk, size = Desk.make(root, threads=4), gigabytes * 10**9
with (desk.copy / "clinic.db").open("wb", buffering=0) as file:
    for place in (*range(0, 48 << 20, 1 << 20), *range(48 << 20, size, 10**9)):
        file.seek(place)
        file.write(os.urandom(1 << 20))
    file.truncate(size)
sealed = measured(desk.seal)
keys = own_keys(sealed)
restored = root / "restored"
restored.mkdir()
with sealed.path.open("rb", buffering=0) as stream:
    digest = measured(lambda: unpack(stream, keys, restored, size))
assert digest == sealed.archive_sha256
found = (restored / "clinic.db").stat()
assert found.st_size == size and found.st_blocks * 512 < size / 8, "it takes no more room than the copy"
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("gigabytes", [1, pytest.param(100, marks=pytest.mark.long)])
@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc"
)
def test_memory_is_small_whatever_the_size(tmp_path: Path, gigabytes: int) -> None:
    command = [sys.executable, "-c", SEAL_AND_OPEN, str(tmp_path), str(gigabytes)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    peaks = [int(line) for line in said.stdout.split()]
    assert len(peaks) == 2 and max(peaks) < MOST_KIB, f"sealing and opening took {peaks} KiB"
    print(f"sealing and opening {gigabytes} GB took {peaks} KiB beside the program itself")
