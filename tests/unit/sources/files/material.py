"""Folders to back up, and what is in them, for the tests of the plain-folder source."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from tasks.records import Finding, LiveCopy
from tasks.sources.files.source import FilesOptions, FilesSource

WHEN = 1_700_000_000_123_456_789
Look = tuple[str, int, int, bytes]


def source(path: Path, **options: Any) -> FilesSource:
    return FilesSource(FilesOptions(path=path, **options))


def fresh(path: Path) -> Path:
    path.mkdir(mode=0o700)
    return path


def copied(folder: Path, room: Path, **options: Any) -> LiveCopy:
    return source(folder, **options).copy_live(fresh(room / "copy"))


def findings(copy: Path, room: Path) -> list[Finding]:
    return source(copy).validate(copy, fresh(room / "scratch"))


def failed(copy: Path, room: Path) -> list[str]:
    return [f"{found.check}: {found.detail}" for found in findings(copy, room) if not found.passed]


def told(copy: Path, room: Path) -> dict[str, str]:
    return {found.check: found.detail for found in findings(copy, room) if found.passed}


def write(folder: Path, **files: str | bytes) -> Path:
    """Files by their path, __ standing for a slash and _dot_ for a dot."""
    for key, contents in files.items():
        path = folder / key.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    return folder


def settle(folder: Path) -> Path:
    """Give everything in a folder, and itself, times of their own, to the nanosecond."""
    paths = sorted(folder.rglob("*"), key=lambda path: -len(path.parts))
    for number, path in enumerate([*paths, folder]):
        os.utime(path, ns=(WHEN + number, WHEN + number), follow_symlinks=False)
    return folder


def tree(folder: Path) -> dict[bytes, Look]:
    """What lies below a folder by the bytes of its path: kind, mode, time in ns, contents or target."""
    found: dict[bytes, Look] = {}
    for path in folder.rglob("*"):
        info = path.lstat()
        kind, contents = "folder", b""
        if stat.S_ISLNK(info.st_mode):
            kind, contents = "link", os.fsencode(os.readlink(path))  # noqa: PTH115
        elif stat.S_ISREG(info.st_mode):
            kind, contents = "file", path.read_bytes()
        name = os.fsencode(path.relative_to(folder))
        found[name] = (kind, stat.S_IMODE(info.st_mode), info.st_mtime_ns, contents)
    return found
