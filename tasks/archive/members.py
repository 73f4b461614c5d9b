"""The tar headers, read strictly: POSIX pax and ustar, and GNU tar's long names.

Python's own ``tarfile`` takes a damaged header for the end of the archive, reads extended headers of any
size into memory and follows sparse maps; what a backup holds must be all there, or an error. So only the
one 512-byte block is decoded by it, and the order of blocks is checked here (POSIX.1-2017, pax,
"pax Interchange Format").
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tasks.archive.frame import damaged
from tasks.archive.header import read_plain
from tasks.errors import UnsafeArchive
from tasks.platform.names import in_quotes

BLOCK = tarfile.BLOCKSIZE
MOST_MEMBERS = 1_000_000

# Room for the longest name and link target, with plenty for what other programs add.
_LARGEST_EXTENSION = 1 << 16
_MOST_EXTENSIONS = 4
_ZEROS = bytes(BLOCK)
_KINDS: dict[bytes, Literal["file", "folder", "link"]] = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "link",
}
_REFUSED = {
    tarfile.LNKTYPE: "it is a hard link",
    tarfile.CHRTYPE: "it is a device",
    tarfile.BLKTYPE: "it is a device",
    tarfile.FIFOTYPE: "it is a pipe",
    tarfile.GNUTYPE_SPARSE: "it is a sparse file",
}
_SHARED = {"path", "linkpath", "size", "mtime"}


@dataclass(frozen=True, slots=True)
class Member:
    """One member, its body still to be read: ``size`` bytes, then zeros up to a multiple of 512.

    ``name`` and ``target`` are as they stand in the archive, not checked; ``mtime`` in seconds.
    """

    name: str
    kind: Literal["file", "folder", "link"]
    size: int
    mode: int
    mtime: int
    target: str


def read_member(exactly: Callable[[int], bytes]) -> Member | None:
    """The next member, or None at the end of the archive, which must be marked by two blocks of zeros.

    ``exactly(n)`` gives n bytes or raises. Raises ArchiveError at damage, UnsafeArchive at members of a
    kind that is never extracted.
    """
    extra: dict[str, str] = {}
    for _ in range(_MOST_EXTENSIONS + 1):
        block = exactly(BLOCK)
        if block == _ZEROS:
            if extra or exactly(BLOCK) != _ZEROS:
                raise damaged("its end is not marked as one")
            return None
        if not extra and (plain := read_plain(block)):
            name, mode, size, mtime = plain
            return Member(name, "file", size, mode, mtime, "")
        header = _decode(block)
        extension = _EXTENSIONS.get(header.type)
        if extension is None:
            return _member(header, extra)
        if header.size > _LARGEST_EXTENSION:
            raise UnsafeArchive(f"cannot extract the archive: a header of {header.size:,} bytes")
        body = exactly(header.size + -header.size % BLOCK)[: header.size]
        extra |= extension(body)
    raise UnsafeArchive("cannot extract the archive: too many headers for one member")


def _decode(block: bytes) -> tarfile.TarInfo:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError) as error:
        raise damaged(f"a member's header makes no sense ({error})") from error
    if header.size < 0:
        raise damaged("a member's size is negative")
    return header


def _member(header: tarfile.TarInfo, extra: dict[str, str]) -> Member:
    name = extra.get("path", header.name)
    sparse = any(key.startswith("GNU.sparse.") for key in extra)
    kind = _KINDS.get(header.type)
    if kind is None or sparse:
        refused = (
            _REFUSED[tarfile.GNUTYPE_SPARSE] if sparse else _REFUSED.get(header.type, "its kind is unknown")
        )
        raise UnsafeArchive(f"cannot extract {in_quotes(name)}: {refused}")
    size = _number(extra["size"]) if "size" in extra else header.size
    if size < 0 or (size and kind != "file"):
        raise damaged(f"{in_quotes(name)} has an impossible size")
    mtime = _number(extra["mtime"]) if "mtime" in extra else int(header.mtime)
    target = extra.get("linkpath", header.linkname)
    return Member(name, kind, size, header.mode, mtime, target)


def _number(text: str) -> int:
    # Times may have a fraction, which is dropped as the writer drops it: towards the past.
    whole, _, fraction = text.partition(".")
    digits = whole.removeprefix("-")
    if not (digits + fraction).isascii() or not digits.isdigit() or len(digits) > 20:
        raise damaged("a number in an extended header makes no sense")
    return int(whole) - (whole.startswith("-") and fraction.strip("0") != "")


def _pax(body: bytes) -> dict[str, str]:
    """The records of a pax extended header, each "length key=value\\n", the length counting itself."""
    records: dict[str, str] = {}
    while body:
        digits, space, _ = body[:8].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        key, equals, value = body[len(digits) + 1 : length - 1].partition(b"=")
        name = key.decode("utf-8", "replace")
        if not equals or body[length - 1 : length] != b"\n" or name in records:
            raise damaged("an extended header makes no sense")
        records[name] = value.decode("utf-8", "surrogateescape")
        body = body[length:]
    return records


def _global_pax(body: bytes) -> dict[str, str]:
    """Records for all members that follow: comments are fine, a name or a size for all of them is not."""
    if _SHARED & _pax(body).keys():
        raise UnsafeArchive("cannot extract the archive: a global header would rename its members")
    return {}


def _gnu_name(body: bytes) -> dict[str, str]:
    return {"path": body.rstrip(b"\0").decode("utf-8", "surrogateescape")}


def _gnu_target(body: bytes) -> dict[str, str]:
    return {"linkpath": body.rstrip(b"\0").decode("utf-8", "surrogateescape")}


_EXTENSIONS: dict[bytes, Callable[[bytes], dict[str, str]]] = {
    tarfile.XHDTYPE: _pax,
    tarfile.XGLTYPE: _global_pax,
    tarfile.GNUTYPE_LONGNAME: _gnu_name,
    tarfile.GNUTYPE_LONGLINK: _gnu_target,
}
