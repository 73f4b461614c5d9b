"""What lies in a folder, in the order in which it is archived."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.archive.faults import told_as
from tasks.archive.members import MOST_MEMBERS
from tasks.errors import ArchiveError
from tasks.platform.names import in_quotes, link_defect, name_defect

# Windows: a folder grafted in from elsewhere. It looks like a folder, and would be walked like one.
_MOUNT_POINT = 0xA0000003


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, folder or symbolic link. ``name`` is relative with forward slashes, ``target`` a link's."""

    path: Path
    name: str
    info: os.stat_result
    target: str = ""


def walk(folder: Path) -> Iterator[Entry]:
    """Everything below ``folder``, each folder before its contents, names in the order of their bytes.

    Bytes order names the same in every locale. Raises ArchiveError at whatever an archive cannot hold.
    """
    with told_as(f"cannot read the folder {folder}"):
        waiting = _sorted_children(folder, "")
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


def _sorted_children(folder: Path, prefix: str) -> list[Entry]:
    # Last first, because they are taken from the end.
    children = sorted(folder.iterdir(), key=lambda path: os.fsencode(path.name), reverse=True)
    return [_look(path, prefix + path.name) for path in children]


def _look(path: Path, name: str) -> Entry:
    info = path.lstat()
    # Path.readlink would tidy the target up; what is archived is the link as it stands.
    target = os.readlink(path) if stat.S_ISLNK(info.st_mode) else ""  # noqa: PTH115
    defect = name_defect(name)
    if not defect and target:
        defect = link_defect(name, target)
    if not defect:
        defect = _kind_defect(info)
    if defect:
        raise ArchiveError(
            f"cannot archive {in_quotes(str(path))}: {defect}",
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
