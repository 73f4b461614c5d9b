"""Where removable media turn up on this computer, and what is plugged in there right now."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import TargetMissing
from tasks.targets.drive.marker import MediumMarker, read_medium

_LINUX = ("/media/*", "/media/*/*", "/run/media/*/*", "/mnt/*")
_MACOS = ("/Volumes/*",)

# Source: Microsoft, GetDriveTypeW and SetErrorMode. USB hard disks are "fixed".
_DRIVE_REMOVABLE, _DRIVE_FIXED = 2, 3
_SEM_FAILCRITICALERRORS = 1


@dataclass(frozen=True)
class Seen:
    """A drive that is plugged in. ``marker`` is None where it has none, or one that cannot be read:
    then ``defect`` says why. ``device`` is the device number of its root."""

    root: Path
    device: int
    marker: MediumMarker | None
    defect: str = ""


def usual_places() -> tuple[str, ...]:
    """Patterns of the paths at which this system mounts drives."""
    if sys.platform == "win32":
        return tuple(_letters())
    return _MACOS if sys.platform == "darwin" else _LINUX


def plugged_in(patterns: Sequence[str]) -> list[Seen]:
    """Every drive mounted at a path that fits one of the patterns, each once, in order of the patterns.

    A plain folder is none, even with a marker in it: it lies on the disk beneath.
    """
    found: list[Seen] = []
    # Path.glob would want each pattern split into a folder and the rest.
    fitting = (path for pattern in patterns for path in sorted(glob.glob(pattern)))  # noqa: PTH207
    for path in dict.fromkeys(fitting):
        seen = _look(Path(path))
        if seen and not _shown_before(seen, found):
            found.append(seen)
    return found


def _look(path: Path) -> Seen | None:
    try:
        device = _device_mounted(path)
        if device is None:
            return None
        try:
            marker, defect = read_medium(path, "there is another drive"), ""
        except TargetMissing as error:
            marker, defect = None, error.message.partition(": ")[2]
        # Unmounted meanwhile, it was the marker of something else.
        same = _device_mounted(path) == device
        return Seen(path, device, marker, defect) if same else None
    except OSError as error:
        return Seen(path, 0, None, f"{path} cannot be read: {error.strerror}")


def _device_mounted(path: Path) -> int | None:
    """Device number of the drive mounted at ``path``, None where it is no mount point. Raises OSError."""
    # Not Path.is_mount, which Windows lacks before Python 3.12.
    if os.path.ismount(path):
        return path.stat().st_dev
    # ismount says no as well to what it cannot look at, such as a drive whose driver died.
    path.lstat()
    return None


def _shown_before(seen: Seen, others: Sequence[Seen]) -> bool:
    """Whether it is one of the others, mounted at a second place.

    On Windows the number is the volume's, which a copy of the drive has as well.
    """
    return os.name == "posix" and bool(seen.device) and any(seen.device == other.device for other in others)


def _letters() -> Iterator[str]:
    """Roots of all drives that may be removable ones. Never network drives or optical ones."""
    if sys.platform != "win32":
        return
    import ctypes

    kernel = ctypes.windll.kernel32
    # An empty card reader must not open a dialogue on the server's screen.
    kernel.SetErrorMode(_SEM_FAILCRITICALERRORS)
    present = kernel.GetLogicalDrives()
    for number in range(26):
        root = f"{chr(ord('A') + number)}:\\"
        if present >> number & 1 and kernel.GetDriveTypeW(root) in (_DRIVE_REMOVABLE, _DRIVE_FIXED):
            yield root
