"""The marker of a removable medium: a small file in its root that says which one it is.

``.datasave-medium.json`` holds ``{"datasave": 1, "id": UUID, "label": "TUE", "plan": …, "target": …, "made":
UTC time}``; the objects lie in the folder ``datasave`` beside it. The label is what stands on the sticker;
drive letters and mount points change and say nothing.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from uuid import uuid4

from tasks.errors import TargetError, TargetMissing
from tasks.platform.files import PRIVATE_FOLDER, write_atomic
from tasks.records import Record
from tasks.targets.shared import marker
from tasks.targets.shared.errors import translate

MARKER = ".datasave-medium.json"
FOLDER = "datasave"
_REPAIR = "Look at the drive. If it is sound, remove that file and run `datasave media init` for it again."


class MediumMarker(Record):
    """What the marker of a medium holds; ``id`` is a UUID drawn when the medium was made ready."""

    datasave: Literal[1] = 1
    id: str
    label: str
    plan: str
    target: str
    made: datetime


def read_medium(root: Path, operation: str) -> MediumMarker | None:
    """The marker of the medium at ``root``, None if there is none.

    Raises TargetMissing, begun with ``operation``, if it cannot be read or understood.
    """
    return marker.read_marker_file(root / MARKER, MediumMarker, operation, _REPAIR)


def init_medium(root: Path, label: str, target: str, plan: str, never: Iterable[Path] = ()) -> MediumMarker:
    """Make the drive mounted at ``root`` the medium ``label`` of a target, once.

    Raises TargetError, and writes nothing: where ``root`` is no mount point, lies on a disk of the system
    or on that of one of the paths in ``never``, or is marked already, as a medium or as a folder target.
    There is no way to insist: a folder that is no drive of its own is what the kind ``folder`` is for.
    """
    operation = f"cannot make {root} the medium {label} of {target}"
    _refuse_fixed_disks(root, never, operation)
    _refuse_marked(root, operation)
    made = MediumMarker(id=str(uuid4()), label=label, plan=plan, target=target, made=datetime.now(UTC))
    try:
        (root / FOLDER).mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        write_atomic(root / MARKER, made.model_dump_json().encode() + b"\n")
    except OSError as error:
        raise translate(error, operation, writing=True) from error
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
