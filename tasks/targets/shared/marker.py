"""The marker: a small file in a target's root that tells the medium from the folder it is mounted on.

``.datasave-target.json`` holds ``{"datasave": 1, "target": name, "id": random hex, "made": UTC time}``.
Without it a backup to an unmounted path would fill the system disk and pass for a success.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

import pydantic

from tasks.errors import TargetError, TargetMissing
from tasks.platform.files import write_atomic
from tasks.records import Record
from tasks.targets.shared.errors import SYSTEM_ERRORS, translate

MARKER = ".datasave-target.json"
# The root of a removable medium has one of its own (media.py); its objects lie in the folder beside that.
MEDIUM_MARKER = ".datasave-medium.json"
MEDIUM_FOLDER = "datasave"
LARGEST_MARKER = 1 << 16

M = TypeVar("M", bound=Record)


class Marker(Record):
    """What the marker file holds; ``id`` is 32 hex digits drawn when the place was prepared."""

    datasave: Literal[1] = 1
    target: str
    id: str
    made: datetime


class Medium(Record):
    """What is mounted at a path right now: its marker's id and the device number of its root.

    The id tells two media apart, the device number a medium from a copy of its marker left on the
    disk beneath. ``umount -l`` needs both: writes and even fsync go on succeeding after it.
    """

    id: str
    device: int


def find_medium(root: Path, target: str, operation: str) -> Medium:
    """The medium of ``target`` at ``root``. Raises TargetMissing; writes nothing."""
    device = device_of(root, operation, _mount_or_adopt(target))
    marker = read_marker(root, target, operation)
    if marker is None:
        raise TargetMissing(
            f"{operation}: {root} holds no marker file {MARKER}, so nothing seems to be mounted there",
            hint=_mount_or_adopt(target),
        )
    hint = "Another drive or share is mounted there. Mount the right one, or correct the plan."
    refuse_another(marker, target, operation, str(root), hint)
    return Medium(id=marker.id, device=device)


def read_marker(root: Path, target: str, operation: str) -> Marker | None:
    """The marker in ``root``, None if there is none. Raises TargetMissing if it cannot be understood."""
    repair = f"Look at the drive. If it is sound, remove that file and run `datasave target init {target}`."
    return read_marker_file(root / MARKER, Marker, operation, repair)


def read_marker_file(path: Path, model: type[M], operation: str, repair: str) -> M | None:
    """What a marker file holds, None if there is none. Raises TargetMissing, begun with ``operation``.

    ``repair`` is the hint for one that cannot be understood.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST_MARKER)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreachable(path, error, operation) from error
    return parse_marker(data, model, operation, str(path), repair)


def parse_marker(data: bytes, model: type[M], operation: str, where: str, repair: str) -> M:
    """The marker ``where`` from its bytes. Raises TargetMissing, with the hint ``repair``."""
    try:
        return model.model_validate_json(data)
    except pydantic.ValidationError as error:
        raise TargetMissing(
            f"{operation}: the marker {where} is damaged or of an unknown version", hint=repair
        ) from error


def new_marker(target: str) -> bytes:
    """What is written into the marker file of a place that becomes the target."""
    marker = Marker(target=target, id=secrets.token_hex(16), made=datetime.now(UTC))
    return marker.model_dump_json().encode() + b"\n"


def refuse_another(marker: Marker, target: str, operation: str, where: str, hint: str) -> None:
    """Raise TargetMissing where the place that is there now is another target's."""
    if marker.target != target:
        cause = f"by its marker, {where} belongs to the target {marker.target!r}"
        raise TargetMissing(f"{operation}: {cause}", hint=hint)


def refuse_taken(marker: Marker, target: str, operation: str) -> None:
    """Raise TargetError where a place that is to be prepared is another target's already."""
    if marker.target != target:
        raise TargetError(
            f"{operation}: by its marker it belongs to the target {marker.target!r}",
            hint=f"Choose another folder. If {marker.target!r} is gone for good, first remove its {MARKER}.",
            permanent=True,
        )


def crossed_into(folder: str, names: Collection[str]) -> frozenset[str]:
    """Which of the ``names`` in a folder of a target lead into another target; all of them where it is one.

    ``folder`` is its name, relative to the target's root, "" for that itself. A marker says where another
    target begins: what lies there is neither listed nor written to, whoever may have put it there.
    """
    if MEDIUM_MARKER in names and not folder:
        return frozenset({MEDIUM_FOLDER})
    return frozenset(names) if folder and (MARKER in names or MEDIUM_MARKER in names) else frozenset()


def another_target(folder: str, where: str, operation: str) -> TargetError:
    """The error for an object in a folder that is another target's by the marker in it."""
    return TargetError(
        f"{operation}: by the marker in it, the folder {folder} in {where} belongs to another target",
        hint="Give each target a place of its own, none inside another. If that one is gone for good, remove "
        f"the {MARKER} in that folder.",
        permanent=True,
    )


def device_of(folder: Path, operation: str, hint: str) -> int:
    """Device number of what ``folder`` lies on. Raises TargetMissing, begun with ``operation``.

    ``hint`` is for one that is not there.
    """
    try:
        return folder.stat().st_dev
    except FileNotFoundError as error:
        raise TargetMissing(f"{operation}: the folder {folder} is not there", hint=hint) from error
    except OSError as error:
        raise _unreachable(folder, error, operation) from error


def prepare_folder(root: Path, target: str) -> str:
    """Mark ``root`` as the place of ``target``, making the folder itself if need be; says what was done.

    Raises TargetMissing where its parent is not there either, TargetError where the place is marked
    for another target or its marker cannot be understood.
    """
    operation = f"cannot prepare {root} for {target}"
    _refuse_inside_another(root, operation)
    with SYSTEM_ERRORS.translated(operation, writing=True):
        made = _make_root(root, target, operation)
        marker = read_marker(root, target, operation)
        if marker is None:
            write_atomic(root / MARKER, new_marker(target))
    if marker is None:
        what = "made and marked" if made else "marked"
        return f"{what} {root} for {target}{_same_disk(root)}"
    refuse_taken(marker, target, operation)
    return f"{root} was already marked for {target}"


def _refuse_inside_another(root: Path, operation: str) -> None:
    """Raise TargetError for the folder of a medium, one with such a folder, or one in another target's."""
    for folder in (root, *root.parents):
        inner = root.relative_to(folder).parts[:1]
        on_medium = (folder / MEDIUM_MARKER).is_file() and inner in ((), (MEDIUM_FOLDER,))
        if on_medium or (inner and (folder / MARKER).is_file()):
            raise TargetError(
                f"{operation}: by the marker in {folder}, another target has its backups there",
                hint="Choose a folder that lies in no other target's, and has none in it.",
                permanent=True,
            )


def _make_root(root: Path, target: str, operation: str) -> bool:
    try:
        root.mkdir(mode=0o700)
    except FileExistsError:
        return False
    except FileNotFoundError as error:
        raise TargetMissing(
            f"{operation}: its parent folder {root.parent} is not there", hint=_mount_or_adopt(target)
        ) from error
    return True


def _unreachable(path: Path, error: OSError, operation: str) -> TargetMissing:
    return TargetMissing(
        f"{operation}: {path} cannot be read: {error.strerror}",
        hint="Look at the drive or the share, and whether the user who runs the backup may read there.",
        permanent=translate(error, operation, writing=True).permanent,
    )


def _same_disk(root: Path) -> str:
    # Adopting the empty folder under an unmounted drive would defeat the marker's purpose.
    if os.name == "posix" and root.stat().st_dev == Path("/").stat().st_dev:
        return "; note that it lies on the system disk: if it should be a drive or a share, it is not mounted"
    return ""


def _mount_or_adopt(target: str) -> str:
    return f"Mount the drive or the share. If this is a new place, run `datasave target init {target}`."
