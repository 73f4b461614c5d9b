"""Where a copy may be written: a disk of this machine. SQL Anywhere's backups onto network shares break."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from tasks.errors import SourceError

NETWORK_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "glusterfs", "lustre", "davfs"}
    | {"fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.glusterfs", "fuse.davfs2", "fuse.smbnetfs"}
)
_DRIVE_REMOTE = 4
"""What Windows' GetDriveType says of a mapped network drive."""


HINT = (
    "Set `state:` in the plan to a folder on a disk of this machine, the one that runs the database. "
    "Datasave takes the finished copy to other places itself."
)


def refuse_network(folder: Path, hint: str = HINT) -> None:
    """Raise SourceError where ``folder`` is on another machine: a share, or a mapped or mounted one."""
    where = _on_windows(folder) if os.name == "nt" else _on_unix(folder)
    if not where:
        return
    raise SourceError(
        f"cannot copy the database to {folder}: it is on the network ({where})",
        hint=hint,
    )


def network_mount(folder: str, mountinfo: str) -> str:
    """The type of the network file system that ``folder`` lies on, "" for a local one.

    ``mountinfo`` is the text of /proc/self/mountinfo (proc(5)): the mount point is its fifth field, with
    blanks as octal escapes; the file system's type comes first after " - ". The longest mount point above
    the folder holds it, of equal ones the last.
    """
    found, longest = "", -1
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        if len(fields) < 5 or not right:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        above = folder == point or folder.startswith(point.rstrip("/") + "/")
        if above and len(point) >= longest:
            found, longest = right.split(" ")[0], len(point)
    return found if found in NETWORK_SYSTEMS else ""


def is_share(folder: str) -> bool:
    r"""Whether a Windows path names another computer: \\server\share, also as \\?\UNC\server\share."""
    plain = folder.replace("/", "\\")
    return plain.startswith("\\\\") and not re.match(r"\\\\[?.]\\(?!UNC\\)", plain, re.IGNORECASE)


def _on_unix(folder: Path) -> str:
    try:
        mountinfo = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    except OSError:
        return ""  # not Linux: there is nothing to ask
    return network_mount(os.path.realpath(folder), mountinfo)


def _on_windows(folder: Path) -> str:
    if is_share(os.path.realpath(folder)):
        return "a share"
    return "a mapped drive" if _drive_type(folder.absolute().anchor) == _DRIVE_REMOTE else ""


def _drive_type(root: str) -> int:
    if sys.platform != "win32":
        return 0
    import ctypes

    return int(ctypes.windll.kernel32.GetDriveTypeW(root))
