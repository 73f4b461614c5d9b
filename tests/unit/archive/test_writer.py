"""The writer: the same bytes every time, and no archive at all of what changed or cannot be read."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import random
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tasks.archive import writer
from tasks.archive.frame import FrameReader
from tasks.archive.members import read_member
from tasks.archive.writer import READ_BYTES, write_archive
from tasks.errors import ArchiveError
from tests import mounts
from tests.unit.archive.material import WHEN, pack, small_tree, unsqueeze

LARGE = 40 << 20


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of many compression jobs, neither all random nor all the same."""
    folder = tmp_path_factory.mktemp("large")
    dice = random.Random(3)
    words = [dice.randbytes(9) for _ in range(4000)]
    with (folder / "large.db").open("wb") as file:
        while file.tell() < LARGE:
            file.write(b"".join(dice.choices(words, k=100_000)))
    return folder


def test_the_same_bytes_with_any_number_of_threads(large: Path) -> None:
    digests = {hashlib.sha256(pack(large, threads=threads)).hexdigest() for threads in (0, 1, 2, 4)}
    assert len(digests) == 1


def test_the_same_bytes_however_the_file_is_read(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = hashlib.sha256(pack(large)).digest()
    for size in (100_003, 3 << 20):
        monkeypatch.setattr(writer, "READ_BYTES", size)
        assert hashlib.sha256(pack(large)).digest() == expected


def test_the_same_bytes_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = small_tree(tmp_path / "copy")
    expected = pack(folder)
    monkeypatch.chdir(folder)
    assert pack(Path()) == expected
    before = os.umask(0o077)
    try:
        assert pack(folder) == expected
    finally:
        os.umask(before)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (WHEN + 99, path.stat().st_mtime))
        if os.geteuid() == 0:
            os.chown(path, 1234, 4321, follow_symlinks=False)
    assert pack(folder) == expected


def test_the_same_bytes_in_another_process_and_language(tmp_path: Path) -> None:
    folder = small_tree(tmp_path / "copy")
    code = (
        "import sys, pathlib; from tasks.archive.writer import write_archive; "
        "write_archive(pathlib.Path(sys.argv[1]), sys.stdout.buffer)"
    )
    for locale in ("C", "C.UTF-8"):
        environment = {**os.environ, "LC_ALL": locale, "PYTHONHASHSEED": "7"}
        command = [sys.executable, "-c", code, str(folder)]
        done = subprocess.run(command, capture_output=True, check=True, env=environment)
        assert done.stdout == pack(folder)


def test_the_same_bytes_of_a_copy_of_the_copy(tmp_path: Path) -> None:
    folder = small_tree(tmp_path / "copy")
    shutil.copytree(folder, tmp_path / "again", symlinks=True)
    assert pack(tmp_path / "again") == pack(folder)


def test_headers_hold_what_a_restore_needs_and_no_more(tmp_path: Path) -> None:
    folder = small_tree(tmp_path / "copy")
    (folder / "clinic.db").chmod(0o750)
    os.utime(folder / "clinic.db", ns=(1, WHEN * 10**9 + 999_999_999))
    with tarfile.open(fileobj=io.BytesIO(unsqueeze(pack(folder)))) as tar:
        members = tar.getmembers()
    assert [one.name for one in members] == [
        "clinic.db",
        "nothing",
        "tables",
        "tables/Besuche – März.csv",
        "tables/empty",
        "tables/latest",
    ]
    assert {(one.uid, one.gid, one.uname, one.gname) for one in members} == {(0, 0, "", "")}
    assert {key for one in members for key in one.pax_headers} == {"path"}
    assert (members[0].mode, members[0].mtime) == (0o750, WHEN)


def test_an_empty_folder_is_a_whole_archive(tmp_path: Path) -> None:
    assert unsqueeze(pack(tmp_path)) == bytes(1024)


def test_progress_counts_the_bytes_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(READ_BYTES + 1))
    (tmp_path / "b").write_bytes(bytes(5))
    seen: list[int] = []
    write_archive(tmp_path, io.BytesIO(), progress=lambda done, _total: seen.append(done))
    assert seen == [READ_BYTES, READ_BYTES + 1, READ_BYTES + 6]


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")
    os.utime(path, (WHEN, WHEN))


def _replace_by_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("extra", [0, 1, 511])
@pytest.mark.parametrize(
    "change",
    [_append, _rewrite, lambda path: os.truncate(path, READ_BYTES + 3)],
    ids=["grow", "rewrite", "shrink"],
)
def test_a_file_that_changes_while_it_is_read_is_no_backup(
    tmp_path: Path, change: Callable[[Path], None], extra: int
) -> None:
    path = tmp_path / "busy.db"
    path.write_bytes(os.urandom(3 * READ_BYTES + extra))
    fired: list[int] = []

    def disturb(done: int, _total: int) -> None:
        if not fired:
            change(path)
            fired.append(done)

    with pytest.raises(ArchiveError, match=r"busy\.db: it changed while") as caught:
        write_archive(tmp_path, io.BytesIO(), progress=disturb)
    assert fired == [READ_BYTES]
    assert not caught.value.permanent


def test_a_file_that_grew_and_shrank_back_is_no_backup(tmp_path: Path) -> None:
    """Size and time are as before, but more was read than the header had promised."""
    path = tmp_path / "busy.db"
    path.write_bytes(os.urandom(2 * READ_BYTES))
    before = path.stat()

    def disturb(done: int, _total: int) -> None:
        if done == READ_BYTES:
            _append(path)
        elif done > 2 * READ_BYTES:
            os.truncate(path, before.st_size)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(ArchiveError, match=r"busy\.db: it changed while"):
        write_archive(tmp_path, io.BytesIO(), progress=disturb)
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.parametrize("change", [Path.unlink, _replace_by_a_pipe], ids=["gone", "pipe"])
def test_a_file_that_goes_before_it_is_read_is_no_backup(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    (tmp_path / "a.db").write_bytes(b"first")
    (tmp_path / "b.db").write_bytes(b"second")
    with pytest.raises(ArchiveError, match=r"b\.db"):
        write_archive(tmp_path, io.BytesIO(), progress=lambda _done, _total: change(tmp_path / "b.db"))


def test_sockets_and_pipes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind("plug")
        with pytest.raises(ArchiveError, match=r"plug.*socket"):
            pack(tmp_path)
    (tmp_path / "plug").unlink()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ArchiveError, match=r"fifo.*pipe"):
        pack(tmp_path)


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "down/../../up"])
def test_links_that_no_reader_would_accept_are_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(ArchiveError, match="it is a link"):
        pack(tmp_path)


def test_names_that_no_reader_would_accept_are_refused(tmp_path: Path) -> None:
    (tmp_path / "back\\slash").touch()
    with pytest.raises(ArchiveError, match="backslash"):
        pack(tmp_path)


def test_more_files_than_a_reader_takes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_tree(tmp_path / "copy")
    monkeypatch.setattr(writer, "MOST_MEMBERS", 5)
    with pytest.raises(ArchiveError, match="more than 5 files"):
        pack(tmp_path / "copy")


def test_a_missing_folder_is_an_error_not_an_empty_backup(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="cannot read the folder"):
        pack(tmp_path / "missing")


def test_a_full_disk_is_told_with_a_hint(large: Path, tmp_path: Path) -> None:
    with mounts.tmpfs(tmp_path / "full", 1) as full, ExitStack() as stack:
        stream = stack.enter_context((full / "out").open("wb", buffering=0))
        with pytest.raises(ArchiveError, match="No space left") as caught:
            write_archive(large, stream)
        assert shutil.disk_usage(full).free == 0, "the fault did not fire"
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert "Make room" in caught.value.hint


class _Sips(io.RawIOBase):
    """A raw file that takes at most 1,000 bytes at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: memoryview, /) -> int:  # type: ignore[override]
        self.taken += data[:1000]
        return min(len(data), 1000)


def test_a_stream_that_takes_little_at_a_time_gets_everything(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(os.urandom(300_000))
    sips = _Sips()
    write_archive(tmp_path, sips)  # type: ignore[arg-type]
    assert bytes(sips.taken) == pack(tmp_path)


@pytest.mark.long
def test_a_file_beyond_eight_gibibytes(tmp_path: Path) -> None:
    """The old tar header ends at 8 GiB; stock tar and our reader must see the true size."""
    size = 9 << 30
    with (tmp_path / "huge.db").open("wb") as file:
        file.truncate(size)
    archive = pack(tmp_path)
    listing = subprocess.run(
        ["sh", "-c", "zstd -dc | tar tv"], input=archive, capture_output=True, check=True
    )
    assert f" {size} " in listing.stdout.decode()
    found = read_member(FrameReader(io.BytesIO(archive)).exactly)
    assert found and (found.name, found.size) == ("huge.db", size)
