"""Which file system a folder lies on: whether it is a network's, and what is mounted at it or below.

Windows is asked for the type of one drive only: listing all of them, as psutil does, waits for those that are
not there.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from tasks.errors import SourceError

NETWORK_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "glusterfs", "lustre", "davfs"}
    | {"fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.glusterfs", "fuse.davfs2", "fuse.smbnetfs"}
)
_DRIVE_REMOTE = 4
"""What Windows' GetDriveType says of a mapped network drive."""

LOCAL_HINT = (
    "Set `state:` in the plan to a folder on a disk of this machine, the one that runs the database. "
    "Datasave takes the finished copy to other places itself."
)


class Mount(NamedTuple):
    """One mounted file system: where, and its type."""

    point: str
    system: str


def refuse_network(folder: Path, hint: str = LOCAL_HINT) -> None:
    """Raise SourceError where ``folder`` is on another machine: a share, or a mapped or mounted one."""
    where = _on_windows(folder) if os.name == "nt" else _on_unix(folder)
    if not where:
        return
    raise SourceError(
        f"cannot copy the database to {folder}: it is on the network ({where})",
        hint=hint,
    )


def network_mount(folder: str, mounts: Sequence[Mount]) -> str:
    """The type of the network file system that ``folder`` lies on, "" for a local one.

    The longest mount point above the folder holds it, of equal ones the last.
    """
    found, longest = "", -1
    for mount in mounts:
        if _is_below(folder, mount.point) and len(mount.point) >= longest:
            found, longest = mount.system, len(mount.point)
    return found if found in NETWORK_SYSTEMS else ""


def mount_at_or_below(path: Path) -> str:
    """The first mount point at ``path`` or below it, bind mounts too; "" where there is none."""
    place = os.path.realpath(path)
    return next((mount.point for mount in _mounts() if _is_below(mount.point, place)), "")


def is_share(folder: str) -> bool:
    r"""Whether a Windows path names another computer: \\server\share, also as \\?\UNC\server\share."""
    plain = folder.replace("/", "\\")
    return plain.startswith("\\\\") and not re.match(r"\\\\[?.]\\(?!UNC\\)", plain, re.IGNORECASE)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _mounts() -> list[Mount]:
    """All that is mounted, in that order; nothing where the system does not tell."""
    if os.name == "nt":
        return []
    try:
        return [Mount(one.mountpoint, one.fstype) for one in psutil.disk_partitions(all=True)]
    except OSError:
        return []


def _on_unix(folder: Path) -> str:
    return network_mount(os.path.realpath(folder), _mounts())


def _on_windows(folder: Path) -> str:
    if is_share(os.path.realpath(folder)):
        return "a share"
    return "a mapped drive" if _drive_type(folder.absolute().anchor) == _DRIVE_REMOTE else ""


def _drive_type(root: str) -> int:
    if sys.platform != "win32":
        return 0
    import ctypes

    return int(ctypes.windll.kernel32.GetDriveTypeW(root))
