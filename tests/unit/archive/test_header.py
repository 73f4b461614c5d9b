"""The headers that are put together by hand are tarfile's, byte for byte."""

from __future__ import annotations

import os
import stat
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.archive.header import header, read_plain

NANO = 10**9


def information(mode: int, size: int, mtime: int) -> os.stat_result:
    """What the system tells of a file; ``mtime`` in nanoseconds."""
    return os.stat_result((mode, 0, 0, 1, 1000, 1000, size, 0, 0, 0), {"st_mtime_ns": mtime})


def by_tarfile(name: str, info: os.stat_result) -> bytes:
    member = tarfile.TarInfo(name)
    member.mode = stat.S_IMODE(info.st_mode)
    member.size = info.st_size
    member.mtime = info.st_mtime_ns // NANO
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


@given(
    name=st.text(st.characters(min_codepoint=1, max_codepoint=0x17F), min_size=1, max_size=110),
    mode=st.integers(0, 0o7777),
    size=st.integers(0, 8**11 + 1) | st.integers(0, 1 << 20),
    mtime=st.integers(-NANO, (8**11 + 1) * NANO),
)
def test_any_file(name: str, mode: int, size: int, mtime: int) -> None:
    info = information(stat.S_IFREG | mode, size, mtime)
    assert header(name, info) == by_tarfile(name, info)


@pytest.mark.parametrize("length", [1, 99, 100, 101])
@pytest.mark.parametrize("number", [0, 8**11 - 1, 8**11])
def test_the_limits_of_a_plain_header(length: int, number: int) -> None:
    info = information(stat.S_IFREG | 0o640, number, number * NANO)
    written = header("n" * length, info)
    assert written == by_tarfile("n" * length, info)
    assert (len(written) == tarfile.BLOCKSIZE) is (length <= 100 and number < 8**11)


@given(
    name=st.text("abc/. Z-", min_size=1, max_size=100),
    numbers=st.tuples(st.integers(0, 0o7777), st.integers(0, 8**11 - 1), st.integers(0, 8**11 - 1)),
    place=st.integers(0, tarfile.BLOCKSIZE - 1),
    other=st.integers(1, 255),
)
def test_only_what_was_made_so_is_read_so(
    name: str, numbers: tuple[int, int, int], place: int, other: int
) -> None:
    """One changed byte, and the strict reader looks at it as at any header."""
    mode, size, mtime = numbers
    block = header(name, information(stat.S_IFREG | mode, size, mtime * NANO))
    assert read_plain(block) == (name, *numbers)
    changed = bytearray(block)
    changed[place] ^= other
    assert read_plain(bytes(changed)) is None


@pytest.mark.parametrize("spelled", [b"0_00_644", b" 000644\0", b"+000644\0", b"000644 \0"])
def test_numbers_spelled_otherwise_are_left_to_the_strict_reader(spelled: bytes) -> None:
    block = bytearray(header("name", information(stat.S_IFREG | 0o644, 5, 0)))
    block[100:108] = spelled
    assert read_plain(bytes(block)) is None
