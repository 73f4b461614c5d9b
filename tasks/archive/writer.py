"""A folder as one ``.tar.zst``.

tar in the POSIX pax format, so that names and sizes have no limits, in one zstandard frame with a
content checksum. The same folder gives the same bytes, on whatever machine and with however many
threads: names in a fixed order, no owners, no device numbers, no access or change times. Times of
modification (whole seconds) and permission bits are kept, because a folder cannot be restored without;
they belong to the copy and do not change by being archived. Hard links become files of their own.
Owners, access lists and extended attributes are not kept.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import zstandard
from typing_extensions import Buffer

from tasks.archive.faults import told_as
from tasks.archive.header import header
from tasks.archive.members import MOST_MEMBERS
from tasks.errors import ArchiveError
from tasks.platform.names import in_quotes, link_defect, name_defect
from tasks.records import Progress, no_progress

# Beside a busy Python thread every read waits for its turn: measured on a busy machine, 256 KiB took twice
# as long. Alone, 4 MiB is slower again, for the processor's cache.
READ_BYTES = 1 << 20
_SMALL_BYTES = 1 << 16
_WRITE_BYTES = 1 << 19
# More than this many wait for the disk anyway.
MOST_THREADS = 8
# What one thread compresses at a time. With zstandard's own choice, four times the window, an archive is 0.5%
# smaller at level 3, and what cannot be compressed takes 50 MB a thread instead of 15.
_JOB_BYTES = 1 << 21
_END = bytes(2 * tarfile.BLOCKSIZE)
# Windows: a folder grafted in from elsewhere. It looks like a folder, and would be walked like one.
_MOUNT_POINT = 0xA0000003


def write_archive(
    folder: Path, stream: BinaryIO, *, level: int = 3, threads: int = 0, progress: Progress = no_progress
) -> None:
    """Archive everything in ``folder`` (its contents, not itself) to ``stream``, which stays open.

    ``level`` is zstandard's, 1 to 19. ``threads`` 0 stands for every core, up to eight. Progress counts
    the bytes of files read; the total is not known beforehand. Raises ArchiveError, naming the file, where
    one cannot be read, changes meanwhile, or is of a kind or name that the reader would refuse. Errors of
    ``stream`` come as ArchiveError too; what was written until then is no archive.
    """
    compressor = zstandard.ZstdCompressor(compression_params=_parameters(level, threads or _cores()))
    sink = compressor.stream_writer(cast(BinaryIO, _Sink(stream)), write_size=_WRITE_BYTES, closefd=False)
    packer = _Packer(sink, progress)
    for entry in walk(folder):
        packer.add(entry)
    packer.finish()
    sink.flush(zstandard.FLUSH_FRAME)


def _parameters(level: int, threads: int) -> zstandard.ZstdCompressionParameters:
    usual = zstandard.ZstdCompressionParameters.from_level(level)
    return zstandard.ZstdCompressionParameters.from_level(
        level,
        threads=threads,
        job_size=max(_JOB_BYTES, 1 << usual.window_log),
        write_checksum=True,
        write_content_size=False,
    )


class _Sink(io.RawIOBase):
    """The stream as the compressor wants it: whole writes, and faults told as ours."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        whole = rest = bytes(data)  # it is already: nothing is copied
        while rest:
            with told_as("cannot write the archive"):
                # A raw file may take only a part, above all when the disk is almost full.
                written: int | None = self._stream.write(rest)
            if not written:
                raise ArchiveError("cannot write the archive: the stream takes no data")
            rest = rest[written:]
        return len(whole)


class _Packer:
    """Writes members, one after another. Small ones are put together first: each write has its price."""

    def __init__(self, sink: zstandard.ZstdCompressionWriter, progress: Progress) -> None:
        self._sink = sink
        self._progress = progress
        self._done = 0
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._waiting: list[bytes] = []
        self._bytes_waiting = 0

    def add(self, entry: Entry) -> None:
        if stat.S_ISREG(entry.info.st_mode):
            with told_as(f"cannot read {entry.path}"):
                self._add_file(entry)
        else:
            self._put(header(entry.name, entry.info, entry.target))

    def finish(self) -> None:
        """Write the mark of the archive's end, and what still waits."""
        self._put(_END)
        self._flush()

    def _add_file(self, entry: Entry) -> None:
        with io.FileIO(os.open(entry.path, _READ_FLAGS)) as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise _changed(entry)
            self._put(header(entry.name, info))
            add_body = self._add_small if info.st_size <= _SMALL_BYTES else self._add_large
            read = add_body(file, info.st_size)
            after = os.fstat(file.fileno())
        # A member filled up with zeros, or one torn between two states, would pass for a good copy.
        if read != info.st_size or (after.st_size, after.st_mtime_ns) != (info.st_size, info.st_mtime_ns):
            raise _changed(entry)
        self._put(bytes(-info.st_size % tarfile.BLOCKSIZE))

    def _add_small(self, file: io.FileIO, size: int) -> int:
        """Write the file's contents, no more than ``size`` bytes and the one that passes it; bytes read."""
        data = file.read(size + 1)
        while len(data) < size and (more := file.read(size + 1 - len(data))):
            data += more
        self._put(data)
        self._done += len(data)
        self._progress(self._done, 0)
        return len(data)

    def _add_large(self, file: io.FileIO, size: int) -> int:
        """The same, no more than ``size`` bytes and the read that passes it."""
        self._flush()
        read = 0
        while read <= size and (count := file.readinto(self._buffer)):
            self._sink.write(self._buffer[:count])
            read += count
            self._progress(self._done + read, 0)
        self._done += read
        return read

    def _put(self, data: bytes) -> None:
        self._waiting.append(data)
        self._bytes_waiting += len(data)
        if self._bytes_waiting >= READ_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._sink.write(b"".join(self._waiting))
        self._waiting.clear()
        self._bytes_waiting = 0


# Without O_NONBLOCK a pipe put in the file's place would stop the backup for good.
_READ_FLAGS = (
    os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
)


def _changed(entry: Entry) -> ArchiveError:
    return ArchiveError(
        f"cannot archive {entry.path}: it changed while it was being read",
        hint="Nothing may write to the copy while it is archived. Run the backup again.",
        permanent=False,
    )


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), MOST_THREADS)
    return min(os.cpu_count() or 1, MOST_THREADS)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, folder or symbolic link. ``name`` is relative with forward slashes, ``target`` a link's."""

    path: str
    name: str
    info: os.stat_result
    target: str = ""


def walk(folder: Path) -> Iterator[Entry]:
    """Everything below ``folder``, each folder before its contents, names in the order of their bytes.

    Bytes order names the same in every locale. Raises ArchiveError at whatever an archive cannot hold.
    """
    with told_as(f"cannot read the folder {folder}"):
        waiting = _sorted_children(str(folder), "")
    found = 0
    # A stack of our own: folders may be nested deeper than Python recurses.
    while waiting:
        entry = waiting.pop()
        found += 1
        if found > MOST_MEMBERS:
            raise ArchiveError(
                f"cannot archive {folder}: it holds more than {MOST_MEMBERS:,} files",
                hint="Back up its sub-folders one by one, each with a plan of its own.",
            )
        yield entry
        if stat.S_ISDIR(entry.info.st_mode):
            with told_as(f"cannot read the folder {entry.path}"):
                waiting += _sorted_children(entry.path, f"{entry.name}/")


def _sorted_children(folder: str, prefix: str) -> list[Entry]:
    # Last first, because they are taken from the end. Text, not Path, for what is done for each file.
    names = sorted(os.listdir(folder), key=os.fsencode, reverse=True)  # noqa: PTH208
    return [_look(os.path.join(folder, name), prefix + name) for name in names]  # noqa: PTH118


def _look(path: str, name: str) -> Entry:
    info = os.lstat(path)
    # Path.readlink would tidy the target up; what is archived is the link as it stands.
    target = os.readlink(path) if stat.S_ISLNK(info.st_mode) else ""  # noqa: PTH115
    defect = name_defect(name)
    if not defect and target:
        defect = link_defect(name, target)
    if not defect:
        defect = _kind_defect(info)
    if defect:
        raise ArchiveError(
            f"cannot archive {in_quotes(path)}: {defect}",
            hint="No restore would accept it. Rename it, or move it out of the folder that is backed up.",
        )
    return Entry(path, name, info, target)


def _kind_defect(info: os.stat_result) -> str:
    if getattr(info, "st_reparse_tag", 0) == _MOUNT_POINT:
        return "it is a junction to another folder"
    mode = info.st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
        return ""
    return "it is a socket, a pipe or a device"
