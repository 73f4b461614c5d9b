"""The reader: nothing outside the folder is touched, and nothing damaged or cut short passes."""

from __future__ import annotations

import errno
import io
import os
import random
import shutil
import tarfile
from pathlib import Path

import pytest
import zstandard

from tasks.archive import reader
from tasks.archive.reader import extract_archive
from tasks.archive.writer import write_archive
from tasks.errors import ArchiveError, PayloadError, UnsafeArchive
from tasks.records import CopiedFile
from tasks.sources.shared.folders import copied_files
from tests import mounts
from tests.unit.archive.material import (
    ROOM,
    extension,
    member,
    pack,
    record,
    small_tree,
    squeeze,
    tar_of,
    tree,
    unpack,
    unsqueeze,
)

FILE, FOLDER, LINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    """An empty folder, deep enough that `..` from it stays in the test's own folder."""
    folder = tmp_path / "outer" / "middle" / "in"
    folder.mkdir(parents=True)
    return folder


def refuse(
    archive: bytes, destination: Path, kind: type[ArchiveError], match: str, limit: int = ROOM
) -> None:
    """Extraction must raise exactly this, and leave everything outside of the destination alone."""
    outside = destination.parent.parent
    (outside / "bystander").write_text("untouched")
    before = {name: found for name, found in tree(outside).items() if found[0] != "folder"}
    with pytest.raises(ArchiveError, match=match) as caught:
        extract_archive(io.BytesIO(archive), destination, limit=limit)
    assert type(caught.value) is kind
    shutil.rmtree(destination)
    assert {name: found for name, found in tree(outside).items() if found[0] != "folder"} == before


NAMES = [
    ("/etc/cron.d/x", "absolute"),
    ("//server/share/x", "absolute"),
    ("C:x", "absolute"),
    ("c:/x", "absolute"),
    ("..", "upwards"),
    ("../x", "upwards"),
    ("./../x", "upwards"),
    ("a/../../x", "upwards"),
    ("a/b/..", "upwards"),
    ("a\\..\\x", "backslash"),
    ("\\\\server\\x", "backslash"),
    ("", "empty"),
    (".", "empty parts"),
    ("a//x", "empty parts"),
    ("a/./x", "empty parts"),
    (".//x", "absolute"),
    ("a" * 5000, "too long"),
]


@pytest.mark.parametrize(("name", "match"), NAMES, ids=[name[:20] for name, _ in NAMES])
@pytest.mark.parametrize("kind", [FILE, FOLDER, LINK])
def test_names_that_lead_elsewhere(destination: Path, name: str, match: str, kind: bytes) -> None:
    if kind == FOLDER and name == ".":
        assert unpack(squeeze(tar_of(member(name, kind))), destination / "new") == 1
        return
    refuse(squeeze(tar_of(member(name, kind, target="x"))), destination, UnsafeArchive, match)


def test_a_zero_byte_in_a_name(destination: Path) -> None:
    raw = extension(tarfile.XHDTYPE, record("path", "a\0b"))
    refuse(squeeze(tar_of(raw, member("a"))), destination, UnsafeArchive, "zero byte")


TARGETS = [
    ("link", "/etc/passwd", "absolute"),
    ("link", "C:\\Windows", "absolute"),
    ("link", "C:x", "absolute"),
    ("link", "..\\x", "absolute"),
    ("link", "..", "out of the folder"),
    ("link", "./../x", "out of the folder"),
    ("a/link", "../../x", "out of the folder"),
    ("link", "a/../../x", "upwards after"),
    ("link", "a/b/../c", "upwards after"),
    ("link", "", "empty"),
]


@pytest.mark.parametrize(("name", "target", "match"), TARGETS)
def test_links_that_lead_elsewhere(destination: Path, name: str, target: str, match: str) -> None:
    refuse(squeeze(tar_of(member(name, LINK, target=target))), destination, UnsafeArchive, match)


def test_a_link_that_would_climb_from_where_another_leads(destination: Path) -> None:
    """As text "a/b/up/../.." stays inside; on the disk, through the link "up", it does not."""
    archive = tar_of(
        member("a", FOLDER),
        member("a/b", FOLDER),
        member("a/b/up", LINK, target=".."),
        member("out", LINK, target="a/b/up/../.."),
    )
    refuse(squeeze(archive), destination, UnsafeArchive, "upwards after")


def test_nothing_is_written_through_a_link(destination: Path) -> None:
    for archive in (
        tar_of(member("link", LINK, target="a"), member("link/x", size=3)),
        tar_of(member("a", FOLDER), member("link", LINK, target="a"), member("link/b/x", size=3)),
    ):
        refuse(squeeze(archive), destination, UnsafeArchive, "beneath a link")
        destination.mkdir()


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        (tarfile.LNKTYPE, "hard link"),
        (tarfile.CHRTYPE, "device"),
        (tarfile.BLKTYPE, "device"),
        (tarfile.FIFOTYPE, "pipe"),
        (tarfile.CONTTYPE, "unknown"),
        (b"M", "unknown"),
        (b"V", "unknown"),
    ],
)
def test_kinds_that_are_never_extracted(destination: Path, kind: bytes, match: str) -> None:
    archive = tar_of(member("a"), member("b", kind, target="a"))
    refuse(squeeze(archive), destination, UnsafeArchive, match)


def test_sparse_files_are_refused(destination: Path) -> None:
    old = member("a", tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT)
    refuse(squeeze(tar_of(old)), destination, UnsafeArchive, "sparse")
    destination.mkdir()
    new = extension(tarfile.XHDTYPE, record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0"))
    refuse(squeeze(tar_of(new, member("a", size=512))), destination, UnsafeArchive, "sparse")


@pytest.mark.parametrize("second", [FILE, FOLDER, LINK])
@pytest.mark.parametrize("first", [FILE, FOLDER, LINK])
def test_a_name_that_is_there_twice(destination: Path, first: bytes, second: bytes) -> None:
    archive = tar_of(member("a", first, target="b"), member("./a", second, target="b"))
    refuse(squeeze(archive), destination, UnsafeArchive, "twice")


def test_a_file_used_as_a_folder(destination: Path) -> None:
    refuse(squeeze(tar_of(member("a", size=3), member("a/b"))), destination, UnsafeArchive, "twice")


def test_a_folder_that_is_not_empty_is_left_alone(destination: Path, tmp_path: Path) -> None:
    archive = squeeze(tar_of(member("a", size=3)))
    (destination / "a").symlink_to(tmp_path / "planted")
    with pytest.raises(ArchiveError, match="not an empty folder"):
        extract_archive(io.BytesIO(archive), destination, limit=ROOM)
    assert not (tmp_path / "planted").exists()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(ArchiveError, match="not an empty folder"):
        extract_archive(io.BytesIO(archive), tmp_path / "link", limit=ROOM)
    with pytest.raises(ArchiveError, match="No such file"):
        extract_archive(io.BytesIO(archive), tmp_path / "missing", limit=ROOM)


def test_a_link_planted_while_extracting_is_not_followed(destination: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    archive = squeeze(tar_of(member("a", size=3), member("b", size=3)))

    def plant(_done: int, _total: int) -> None:
        if not (destination / "b").is_symlink():
            (destination / "b").symlink_to(tmp_path / "victim")

    with pytest.raises(UnsafeArchive, match="twice"):
        extract_archive(io.BytesIO(archive), destination, limit=ROOM, progress=plant)
    assert (tmp_path / "victim").read_text() == "precious"


def test_the_limit_is_exact(destination: Path) -> None:
    archive = squeeze(tar_of(member("a", size=600), member("b", size=400)))
    refuse(archive, destination, UnsafeArchive, "more than the 999 bytes", limit=999)
    assert unpack(archive, destination, limit=1000) == 2


def test_a_bomb_writes_nothing_beyond_the_limit(destination: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    with (tmp_path / "copy" / "zeros").open("wb") as file:
        file.truncate(1 << 30)
    archive = pack(tmp_path / "copy")
    assert len(archive) < 1 << 18
    with pytest.raises(UnsafeArchive, match="more than"):
        extract_archive(io.BytesIO(archive), destination, limit=1 << 20)
    assert tree(destination) == {}


def test_a_size_that_is_not_there_is_no_file(destination: Path) -> None:
    header = member("a", size=5000).tobuf(tarfile.USTAR_FORMAT)
    refuse(squeeze(header + b"x" * 4096), destination, ArchiveError, "end too early")


def test_endless_zeros_behind_the_end(destination: Path) -> None:
    """Blocks of four bytes that each stand for 128 KiB: 32 GiB from 1 MiB."""
    run = ((1 << 17) << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    # Magic, "checksum follows, window 128 KiB".
    archive = b"\x28\xb5\x2f\xfd\x04\x38" + run * (1 << 18)
    refuse(archive, destination, ArchiveError, "something follows its end")


def test_too_many_members(destination: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MOST_MEMBERS", 3)
    archive = squeeze(tar_of(*(member(str(number)) for number in range(4))))
    refuse(archive, destination, UnsafeArchive, "more than 3 members")


@pytest.mark.parametrize(
    ("blocks", "kind", "match"),
    [
        (
            [extension(tarfile.XHDTYPE, b"", size=(1 << 33) - 1)],
            UnsafeArchive,
            "header of 8,589,934,591 bytes",
        ),
        ([extension(tarfile.GNUTYPE_LONGNAME, b"", size=1 << 20)], UnsafeArchive, "header of"),
        (
            [extension(tarfile.XHDTYPE, record("comment", str(n))) for n in range(9)],
            UnsafeArchive,
            "too many",
        ),
        ([extension(tarfile.XGLTYPE, record("path", "/etc/passwd"))], UnsafeArchive, "rename"),
        ([extension(tarfile.XGLTYPE, record("size", "5"))], UnsafeArchive, "rename"),
        ([extension(tarfile.XHDTYPE, record("size", "-5"))], ArchiveError, "impossible size"),
        ([extension(tarfile.XHDTYPE, record("size", "5e9"))], ArchiveError, "makes no sense"),
        ([extension(tarfile.XHDTYPE, record("size", "9" * 30))], ArchiveError, "makes no sense"),
        ([extension(tarfile.XHDTYPE, record("mtime", "9" * 20))], ArchiveError, "impossible time"),
        ([extension(tarfile.XHDTYPE, record("path", "b") * 2)], ArchiveError, "makes no sense"),
        ([extension(tarfile.XHDTYPE, b"99 path=b\n")], ArchiveError, "makes no sense"),
        ([extension(tarfile.XHDTYPE, b"0 path=b\n")], ArchiveError, "makes no sense"),
        ([extension(tarfile.XHDTYPE, b"-9 path=b\n")], ArchiveError, "makes no sense"),
        ([extension(tarfile.XHDTYPE, b"nonsense")], ArchiveError, "makes no sense"),
        ([extension(tarfile.XHDTYPE, record("path", "../x"))], UnsafeArchive, "upwards"),
        ([extension(tarfile.GNUTYPE_LONGNAME, b"../x\0")], UnsafeArchive, "upwards"),
    ],
)
def test_extended_headers(
    destination: Path, blocks: list[bytes], kind: type[ArchiveError], match: str
) -> None:
    refuse(squeeze(tar_of(*blocks, member("a"))), destination, kind, match)


def test_an_extended_header_at_the_end_belongs_to_no_member(destination: Path) -> None:
    archive = tar_of(extension(tarfile.XHDTYPE, record("path", "b")))
    refuse(squeeze(archive), destination, ArchiveError, "end is not marked")


def test_a_negative_size(destination: Path) -> None:
    block = bytearray(member("a").tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = b"\xff" * 11 + b"\x00"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    refuse(squeeze(tar_of(bytes(block))), destination, ArchiveError, "negative")


def test_a_folder_with_contents(destination: Path) -> None:
    block = member("a", FOLDER, size=512).tobuf(tarfile.USTAR_FORMAT)
    refuse(squeeze(tar_of(block, bytes(512))), destination, ArchiveError, "impossible size")


def test_a_filling_that_is_not_zero(destination: Path) -> None:
    block = member("a", size=3).tobuf(tarfile.USTAR_FORMAT) + b"xxx" + b"hidden".ljust(509, b"\0")
    refuse(squeeze(tar_of(block)), destination, ArchiveError, "between two members")


def test_what_follows_the_end(destination: Path) -> None:
    tar = tar_of(member("a", size=3))
    good = squeeze(tar)
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    for archive in (
        good + b"x",
        good + good,
        good + skippable,
        squeeze(tar + tar_of(member("b", size=3))),
        squeeze(tar + bytes(2 << 20)),
        squeeze(tar + b"\1"),
    ):
        refuse(archive, destination, ArchiveError, "something follows its end")
        destination.mkdir()


@pytest.mark.parametrize(
    ("archive", "match"),
    [
        (b"", "cut short"),
        (b"\x1f\x8b\x08\x00" + bytes(100), "not zstandard"),
        (tar_of(member("a")), "not zstandard"),
        (b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd" + squeeze(tar_of(member("a"))), "not zstandard"),
        (zstandard.ZstdCompressor(write_checksum=False).compress(tar_of(member("a"))), "no checksum"),
        (squeeze(b""), "end too early"),
        (squeeze(bytes(512)), "end too early"),
        (squeeze(bytes(512) + tar_of(member("a"))), "end is not marked"),
        (squeeze(b"x" * 2048), "header makes no sense"),
    ],
)
def test_what_is_no_archive(destination: Path, archive: bytes, match: str) -> None:
    refuse(archive, destination, ArchiveError, match)


def test_a_frame_that_asks_for_too_much_memory(destination: Path) -> None:
    # Window descriptor 0x98: 2^29 bytes.
    archive = b"\x28\xb5\x2f\xfd\x04\x98" + bytes(20)
    refuse(archive, destination, UnsafeArchive, "536,870,912 bytes of memory")


def _survives(archive: bytes, destination: Path) -> bool:
    try:
        unpack(archive, destination)
    except ArchiveError:
        shutil.rmtree(destination)
        return False
    return True


def test_an_archive_cut_short_anywhere_never_passes(tmp_path: Path) -> None:
    archive = pack(small_tree(tmp_path / "copy"))
    for length in range(len(archive)):
        assert not _survives(archive[:length], tmp_path / "out"), length


def test_a_tar_cut_short_anywhere_never_passes(tmp_path: Path) -> None:
    tar = unsqueeze(pack(small_tree(tmp_path / "copy")))
    for length in [*range(0, len(tar), 512), *range(255, len(tar), 512)]:
        assert not _survives(squeeze(tar[:length]), tmp_path / "out"), length


def test_a_flipped_bit_anywhere_never_passes_unless_nothing_changed(tmp_path: Path) -> None:
    folder = small_tree(tmp_path / "copy")
    archive = pack(folder)
    raised = 0
    for offset in range(len(archive)):
        bit = 1 << random.Random(offset).randrange(8)
        bent = archive[:offset] + bytes([archive[offset] ^ bit]) + archive[offset + 1 :]
        if _survives(bent, tmp_path / "out"):
            assert tree(tmp_path / "out") == tree(folder), offset
            shutil.rmtree(tmp_path / "out")
        else:
            raised += 1
    assert raised > len(archive) * 0.95


def test_a_large_archive_bent_or_cut_never_passes(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    dice = random.Random(1)
    # Incompressible, so that a flip lands in stored bytes and only the checksum can tell.
    (tmp_path / "copy" / "data").write_bytes(dice.randbytes(3 << 20) + b"text " * 100_000)
    archive = pack(tmp_path / "copy")
    for _ in range(40):
        offset = dice.randrange(600, len(archive))
        bent = archive[:offset] + bytes([archive[offset] ^ 1 << dice.randrange(8)]) + archive[offset + 1 :]
        assert not _survives(bent, tmp_path / "out"), offset
        assert not _survives(archive[:offset], tmp_path / "out"), offset


def test_a_damaged_header_is_never_taken_for_the_end(tmp_path: Path) -> None:
    folder = small_tree(tmp_path / "copy")
    tar = unsqueeze(pack(folder))
    start = tar.index(b"nothing\0")
    for offset in range(start, start + 512):
        bent = tar[:offset] + bytes([tar[offset] ^ 1]) + tar[offset + 1 :]
        if _survives(squeeze(bent), tmp_path / "out"):
            assert tree(tmp_path / "out") == tree(folder), offset - start
            shutil.rmtree(tmp_path / "out")


def test_the_mode_is_private(destination: Path) -> None:
    wide, runnable, folder = member("wide"), member("runnable"), member("folder", FOLDER)
    wide.mode, runnable.mode, folder.mode = 0o066, 0o6777, 0o000
    extract_archive(io.BytesIO(squeeze(tar_of(wide, runnable, folder))), destination, limit=0)
    modes = {path.name: oct(path.stat().st_mode & 0o7777) for path in destination.iterdir()}
    assert modes == {"wide": "0o600", "runnable": "0o700", "folder": "0o700"}


def test_a_full_disk_is_told_with_a_hint(tmp_path: Path) -> None:
    archive = squeeze(tar_of(member("a", size=3 << 20)))
    with mounts.tmpfs(tmp_path / "full", 1) as full:
        with pytest.raises(ArchiveError, match="No space left") as caught:
            extract_archive(io.BytesIO(archive), full, limit=ROOM)
        assert shutil.disk_usage(full).free == 0, "the fault did not fire"
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert "Make room" in caught.value.hint


class _Failing(io.BytesIO):
    """A stream whose third read fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__(squeeze(os.urandom(4 << 20)))
        self._error = error
        self.reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads == 2:
            raise self._error
        return super().read(1 << 16)


def test_errors_of_the_stream_come_through(destination: Path) -> None:
    with pytest.raises(PayloadError, match="altered"):
        extract_archive(_Failing(PayloadError("altered")), destination, limit=ROOM)
    with pytest.raises(ArchiveError, match="cannot read the archive: Input/output error"):
        extract_archive(_Failing(OSError(errno.EIO, os.strerror(errno.EIO))), destination, limit=ROOM)


def test_progress_counts_the_bytes_of_all_files(destination: Path) -> None:
    seen: list[int] = []
    archive = squeeze(tar_of(member("a", size=300_000), member("b", size=7)))
    extract_archive(io.BytesIO(archive), destination, limit=ROOM, progress=lambda done, _: seen.append(done))
    assert seen == sorted(seen)
    assert (seen[-1], len(seen) > 3) == (300_007, True)


def test_what_is_written_is_hashed_on_the_way(destination: Path, tmp_path: Path) -> None:
    """Holes too, of which no byte is written; the same as the file read afterwards."""
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "holes").write_bytes(bytes(3 << 17) + b"end" + bytes(1 << 17))
    (source / "empty").touch()
    (source / "plain").write_bytes(random.Random(5).randbytes(300_000))
    archive = io.BytesIO()
    write_archive(source, archive)
    archive.seek(0)
    found: list[CopiedFile] = []
    extract_archive(archive, destination, limit=ROOM, written=found.append)
    assert tuple(sorted(found, key=lambda file: file.path)) == copied_files(destination)
    assert len(found) == 3
