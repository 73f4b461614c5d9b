"""The tar headers as the writer makes them: POSIX pax, no owners or device numbers, one time only.

Python's own ``tarfile`` takes 30 µs for each, most of it to find that no extended header is needed. Those of
files with short names are put together here, to the same bytes (POSIX.1-2017, pax, "ustar Interchange
Format").
"""

from __future__ import annotations

import os
import stat
import tarfile

_NANO = 10**9
_LONGEST_NAME = 100
_LARGEST_NUMBER = 8**11
_NOBODY = b"0000000\0" * 2
# After the checksum: the kind of member, room for a link's target, what makes it ustar, and nothing else.
_REST = (tarfile.REGTYPE + bytes(100) + b"ustar\x0000").ljust(tarfile.BLOCKSIZE - 156, b"\0")
# The checksum is taken as if it were eight blanks itself.
_REST_SUM = sum(_REST) + 8 * ord(" ")


def header(name: str, info: os.stat_result, target: str = "") -> bytes:
    """The header of a file, a folder or a symbolic link to ``target``; an extended one where it is needed.

    Permission bits and time of modification (whole seconds) are kept.
    """
    mode, mtime = stat.S_IMODE(info.st_mode), info.st_mtime_ns // _NANO
    if stat.S_ISREG(info.st_mode):
        short = len(name) <= _LONGEST_NAME and name.isascii()
        if short and info.st_size < _LARGEST_NUMBER and 0 <= mtime < _LARGEST_NUMBER:
            return _plain(name.encode("ascii"), mode, info.st_size, mtime)
    member = tarfile.TarInfo(name)
    member.mode = mode
    member.mtime = mtime
    if stat.S_ISREG(info.st_mode):
        member.size = info.st_size
    elif stat.S_ISDIR(info.st_mode):
        member.type = tarfile.DIRTYPE
    else:
        member.type = tarfile.SYMTYPE
        member.linkname = target
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def read_plain(block: bytes) -> tuple[str, int, int, int] | None:
    """Name, permission bits, size and time, where ``header`` makes just this block of them; else None."""
    try:
        name = block[:_LONGEST_NAME].rstrip(b"\0")
        mode, size, mtime = int(block[100:107], 8), int(block[124:135], 8), int(block[136:147], 8)
        if _plain(name, mode, size, mtime) == block:
            return name.decode("ascii"), mode, size, mtime
    except ValueError:
        pass
    return None


def _plain(name: bytes, mode: int, size: int, mtime: int) -> bytes:
    start = b"%b%07o\0%b%011o\0%011o\0" % (name.ljust(_LONGEST_NAME, b"\0"), mode, _NOBODY, size, mtime)
    return b"%b%06o\0 %b" % (start, sum(start) + _REST_SUM, _REST)
