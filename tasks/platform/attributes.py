"""Attributes of files that Linux file systems keep beside the permission bits, as lsattr(1) shows them."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

# <linux/fs.h>: FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, and chattr's +i, +a and +T.
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_IMMUTABLE = 0x10 | 0x20
_TOP_OF_HIERARCHY = 0x00020000


def make_mutable(path: Path) -> None:
    """Take away, as far as that goes, what keeps even root from changing or removing a file."""
    with suppress(OSError):
        _change(path, lambda flags: flags & ~_IMMUTABLE)


def spread_out(folder: str | Path) -> None:
    """Have the folders in ``folder`` lie apart on the disk, where its file system takes such a hint (ext4).

    ext4 puts a folder's sub-folders and their files close to it, and gives no file the number of one that was
    deleted in the last minutes: it looks at each of those first. Many files made soon after as many were
    removed, as by the next run, take ten to thirty times as long then.
    """
    with suppress(OSError):
        _change(folder, lambda flags: flags | _TOP_OF_HIERARCHY)


def _change(path: str | Path, to: Callable[[int], int]) -> None:
    """Raises OSError, above all where the file system has no such attributes."""
    if sys.platform != "linux":
        return
    import fcntl

    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        flags: int = struct.unpack("i", fcntl.ioctl(descriptor, _GET_FLAGS, bytes(4)))[0]
        if to(flags) != flags:
            fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("i", to(flags)))
    finally:
        os.close(descriptor)
