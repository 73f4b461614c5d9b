"""Trees, archives and hostile archives for the archive tests."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

import zstandard

from tasks.archive.reader import extract_archive
from tasks.archive.writer import write_archive

ROOM = 1 << 30
WHEN = 1_700_000_000

Tree = dict[str, tuple[str, bytes, int]]


def pack(folder: Path, *, level: int = 3, threads: int = 2) -> bytes:
    stream = io.BytesIO()
    write_archive(folder, stream, level=level, threads=threads)
    return stream.getvalue()


def unpack(archive: bytes, destination: Path, limit: int = ROOM) -> int:
    destination.mkdir(parents=True)
    return extract_archive(io.BytesIO(archive), destination, limit=limit)


def tree(folder: Path) -> Tree:
    """What lies in a folder: kind, contents or target, time (0 for links)."""
    found: Tree = {}
    for path in folder.rglob("*"):
        info = path.lstat()
        name = path.relative_to(folder).as_posix()
        if stat.S_ISLNK(info.st_mode):
            found[name] = ("link", os.fsencode(os.readlink(path)), 0)  # noqa: PTH115
        elif stat.S_ISDIR(info.st_mode):
            found[name] = ("folder", b"", int(info.st_mtime))
        else:
            found[name] = ("file", path.read_bytes(), int(info.st_mtime))
    return found


def small_tree(folder: Path) -> Path:
    """A handful of everything, with fixed times."""
    (folder / "tables" / "empty").mkdir(parents=True)
    (folder / "clinic.db").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 40)
    (folder / "nothing").touch()
    (folder / "tables" / "Besuche – März.csv").write_text("id;text\n1;Zähne\n", "utf-8")
    (folder / "tables" / "latest").symlink_to("../clinic.db")
    settle(folder)
    return folder


def settle(folder: Path) -> None:
    """Give everything in a folder fixed times, each its own."""
    for number, path in enumerate(sorted(folder.rglob("*"), key=lambda p: -len(p.parts))):
        if not path.is_symlink():
            os.utime(path, (WHEN, WHEN + number))


def squeeze(tar: bytes) -> bytes:
    """A tar as an archive such as stock `zstd` leaves: one frame with a checksum."""
    return zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compress(tar)


def unsqueeze(archive: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(archive)


def member(name: str, kind: bytes = tarfile.REGTYPE, *, target: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    info.size = size
    info.mtime = WHEN
    return info


def tar_of(*members: tarfile.TarInfo | bytes) -> bytes:
    """A tar of these headers (bodies of their size in letters "x") or raw blocks, properly ended."""
    out = bytearray()
    for item in members:
        if isinstance(item, bytes):
            out += item
            continue
        out += item.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        if item.isreg():
            out += padded(b"x" * item.size)
    return bytes(out + bytes(1024))


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def extension(kind: bytes, body: bytes, *, size: int | None = None) -> bytes:
    """An extended header (pax x or g, GNU L or K) as raw blocks."""
    info = member("././@Extended", kind, size=len(body) if size is None else size)
    return info.tobuf(tarfile.USTAR_FORMAT) + padded(body)


def record(key: str, value: str) -> bytes:
    """One pax record."""
    rest = f" {key}={value}\n".encode()
    length = len(rest)
    while length != len(str(length)) + len(rest):
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest
