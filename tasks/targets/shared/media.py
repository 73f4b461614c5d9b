"""Removable media: the marker that says which one it is, and where they turn up on this computer.

``.datasave-medium.json`` in a drive's root holds ``{"datasave": 1, "id": UUID, "label": "TUE", "plan": …,
"target": …, "made": UTC time}``; the objects lie in the folder ``datasave`` beside it. The label is what
stands on the sticker; drive letters and mount points change and say nothing.
"""

from __future__ import annotations

import glob
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from tasks.errors import TargetError, TargetMissing
from tasks.platform.files import PRIVATE_FOLDER, write_atomic
from tasks.platform.patience import NoAnswer, within
from tasks.targets.capabilities import MediumMarker
from tasks.targets.shared import marker
from tasks.targets.shared.errors import SYSTEM_ERRORS

MARKER = marker.MEDIUM_MARKER
FOLDER = marker.MEDIUM_FOLDER

_LINUX = ("/media/*", "/media/*/*", "/run/media/*/*", "/mnt/*")
_MACOS = ("/Volumes/*",)

# Source: Microsoft, GetDriveTypeW and SetErrorMode. USB hard disks are "fixed".
_DRIVE_REMOVABLE, _DRIVE_FIXED = 2, 3
_SEM_FAILCRITICALERRORS = 1

# A drive that sleeps takes some seconds to answer; one that does not answer must not keep the others waiting.
_WAKE_SECONDS = 30.0

_REPAIR = "Look at the drive. If it is sound, remove that file and run `datasave media init` for it again."


def read_medium(root: Path, operation: str) -> MediumMarker | None:
    """The marker of the medium at ``root``, None if there is none.

    Raises TargetMissing, begun with ``operation``, if it cannot be read or understood.
    """
    return marker.read_marker_file(root / MARKER, MediumMarker, operation, _REPAIR)


def init_medium(root: Path, label: str, target: str, plan: str, never: Iterable[Path] = ()) -> MediumMarker:
    """Make the drive mounted at ``root`` the medium ``label`` of a target, once.

    Raises TargetError, and writes nothing: where ``root`` is no mount point, lies on a disk of the system
    or on that of one of the paths in ``never``, or is marked already, as a medium or as a folder target.
    This cannot be overridden: a folder that is not a drive of its own belongs to a target of kind ``folder``.
    """
    operation = f"cannot make {root} the medium {label} of {target}"
    _refuse_fixed_disks(root, never, operation)
    _refuse_marked(root, operation)
    made = MediumMarker(id=str(uuid4()), label=label, plan=plan, target=target, made=datetime.now(UTC))
    with SYSTEM_ERRORS.translated(operation, writing=True):
        (root / FOLDER).mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        write_atomic(root / MARKER, made.model_dump_json().encode() + b"\n")
    return made


def _refuse_fixed_disks(root: Path, never: Iterable[Path], operation: str) -> None:
    if not root.is_dir():
        raise TargetMissing(f"{operation}: it is not there", hint="Plug the drive in and mount it first.")
    # Not Path.is_mount, which Windows lacks before Python 3.12.
    if not os.path.ismount(root):
        raise TargetError(
            f"{operation}: it is a folder and not the root of a drive",
            hint="Give the path where the drive is mounted, or its letter as in E:\\. For a folder on a disk "
            "that stays, use a target of kind `folder`.",
            permanent=True,
        )
    device = root.stat().st_dev
    for path in (*_of_the_system(), *never):
        try:
            same = path.stat().st_dev == device
        except OSError:
            continue
        if same:
            raise TargetError(
                f"{operation}: {path} of this computer lies on the same disk",
                hint="A medium is a drive of its own that can be carried away.",
                permanent=True,
            )


def _of_the_system() -> list[Path]:
    names = ["/", "/usr", "/boot", "/etc", "/var", "/home", "/root", "/opt", "/srv", "/System", "/Users"]
    if os.name != "posix":
        names = [os.environ.get("SYSTEMDRIVE", "C:") + "\\", os.environ.get("PROGRAMDATA", "C:\\")]
    return [*map(Path, names), Path(sys.prefix), Path(tempfile.gettempdir())]


def _refuse_marked(root: Path, operation: str) -> None:
    known = read_medium(root, operation)
    if known is not None:
        raise TargetError(
            f"{operation}: by its marker it is the medium {known.label} of {known.plan}, "
            f"target {known.target}",
            hint=f"If it is really to be used anew, look at what is on it, then remove its {MARKER}.",
            permanent=True,
        )
    if (root / marker.MARKER).exists():
        raise TargetError(
            f"{operation}: it is marked as the place of a folder target",
            hint=f"Use another drive. If that target is gone for good, first remove its {marker.MARKER}.",
            permanent=True,
        )


@dataclass(frozen=True)
class Drive:
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


def plugged_in(patterns: Sequence[str]) -> list[Drive]:
    """Every drive mounted at a path that fits one of the patterns, each once, in order of the patterns.

    A plain folder is none, even with a marker in it: it lies on the disk beneath.
    """
    found: list[Drive] = []
    for path in dict.fromkeys(path for pattern in patterns for path in _fitting(pattern)):
        try:
            seen = within(_WAKE_SECONDS, path, _look, Path(path))
        except NoAnswer as error:
            seen = Drive(Path(path), 0, None, str(error.strerror))
        if seen and not _shown_before(seen, found):
            found.append(seen)
    return found


def _fitting(pattern: str) -> list[str]:
    try:
        # Path.glob would want each pattern split into a folder and the rest.
        return sorted(within(_WAKE_SECONDS, pattern, glob.glob, pattern))
    except NoAnswer:
        return [pattern]  # what hangs there is told as a drive that cannot be looked at


def _look(path: Path) -> Drive | None:
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
        return Drive(path, device, marker, defect) if same else None
    except OSError as error:
        return Drive(path, 0, None, f"{path} cannot be read: {error.strerror}")


def _device_mounted(path: Path) -> int | None:
    """Device number of the drive mounted at ``path``, None where it is no mount point. Raises OSError."""
    # Not Path.is_mount, which Windows lacks before Python 3.12.
    if os.path.ismount(path):
        return path.stat().st_dev
    # ismount says no as well to what it cannot look at, such as a drive whose driver died.
    path.lstat()
    return None


def _shown_before(seen: Drive, others: Sequence[Drive]) -> bool:
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
