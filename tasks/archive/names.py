"""Which names and link targets are safe in an archive: one rule for writer and reader.

All checks are made on the text alone, before anything is created: what a path resolves to on the disk
can change between a look and an act.
"""

from __future__ import annotations

import os
import re

LONGEST_NAME = 4096
MOST_MEMBERS = 1_000_000

_DRIVE = re.compile(r"[A-Za-z]:")
_FORBIDDEN_ON_WINDOWS = re.compile(r'[\x00-\x1f<>:"|?*]')
# learn.microsoft.com, "Naming Files, Paths, and Namespaces": reserved with any extension too.
_DEVICE_ON_WINDOWS = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|$)", re.IGNORECASE
)


def name_defect(name: str, *, windows: bool = os.name == "nt") -> str:
    """Why a member must not have this name (relative, forward slashes), or "" where it may.

    ``windows`` adds what only Windows would take for something else: devices, streams, dropped dots.
    """
    if not name or len(name) > LONGEST_NAME:
        return "its name is empty or too long"
    if name.startswith("/") or _DRIVE.match(name):
        return "its name is an absolute path"
    if "\\" in name or "\0" in name:
        return "its name contains a backslash or a zero byte"
    parts = name.split("/")
    if ".." in parts:
        return "its name leads upwards out of its folder"
    if "" in parts or "." in parts:
        return "its name has empty parts"
    return _windows_defect(parts) if windows else ""


def link_defect(name: str, target: str) -> str:
    """Why the symbolic link ``name`` must not point to ``target``, or "" where it may.

    ``..`` is allowed at the beginning of a target only. There it climbs real folders, since no member
    lies beneath a link; further on it could climb from wherever another link led to, and a target that
    looks harmless as text would leave the folder on the disk.
    """
    if not target or len(target) > LONGEST_NAME:
        return "it is a link whose target is empty or too long"
    if target.startswith("/") or _DRIVE.match(target) or "\\" in target or "\0" in target:
        return "it is a link to an absolute path"
    parts = [part for part in target.split("/") if part not in ("", ".")]
    climbs = 0
    while climbs < len(parts) and parts[climbs] == "..":
        climbs += 1
    if ".." in parts[climbs:]:
        return "it is a link that leads upwards after it led down"
    if climbs > name.count("/"):
        return "it is a link that leads out of the folder"
    return ""


def shown(name: str) -> str:
    """A name for messages: quoted, control characters escaped, shortened. It may be hostile."""
    return ascii(name) if len(name) <= 200 else f"{name[:200]!a}…"


def _windows_defect(parts: list[str]) -> str:
    for part in parts:
        if _FORBIDDEN_ON_WINDOWS.search(part):
            return "its name has a character that Windows does not allow"
        if part.endswith((".", " ")):
            return "its name ends with a dot or a space, which Windows drops"
        if _DEVICE_ON_WINDOWS.match(part):
            return "its name is that of a device on Windows"
    return ""
