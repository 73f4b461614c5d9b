"""What the tests of removable media share: drives in images, mounted side by side as in /media."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.targets.capabilities import Turn
from tasks.targets.drive.target import DriveOptions, DriveTarget
from tasks.targets.shared.media import FOLDER, init_medium
from tests import mounts

CALENDAR: dict[str, Any] = {"mon": "MON", "tue": "TUE", "wed": "WED", "thu": "THU", "fri": ["F1", "F2"]}
PLAN, TARGET = "office", "drives"


def options(media: Path) -> DriveOptions:
    """Drives turn up in the folder ``media``."""
    return DriveOptions.model_validate({"kind": "drive", "calendar": CALENDAR, "mounts": [f"{media}/*"]})


def drives(media: Path, label: str | None = None, **known: Any) -> DriveTarget:
    """The target, on the turn of ``label``; without one, on whatever is plugged in."""
    turn = Turn(label=label, plan=PLAN, **known) if label else None
    return DriveTarget(TARGET, options(media), turn)


@contextmanager
def medium(
    media: Path, label: str, place: str = "", *, target: str = TARGET, plan: str = PLAN
) -> Iterator[Path]:
    """A 16 MiB ext4 in an image, plugged in at ``place`` (its label) and made that medium."""
    media.mkdir(exist_ok=True)
    with mounts.ext4(media / (place or label), 16) as drive:
        (drive.path / "lost+found").rmdir()
        init_medium(drive.path, label, target, plan)
        yield drive.path


@contextmanager
def clone(media: Path, path: Path, place: str) -> Iterator[Path]:
    """A copy of the whole drive at ``path``, image and all, plugged in beside it."""
    mounts.run("sync", "--file-system", path)
    image = media / f"{place}.img"
    shutil.copy(path.with_name(f"{path.name}.img"), image)
    mounts.mount_ext4(media / place, image)
    try:
        yield media / place
    finally:
        mounts.run("umount", media / place)


def objects(path: Path) -> Path:
    """The folder of a medium in which the objects lie."""
    return path / FOLDER
