"""What the tests of the folder target share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.targets.folder.target import FolderOptions, FolderTarget
from tests import mounts


def target_at(path: Path, name: str = "nas") -> FolderTarget:
    """A target on that folder; it is not prepared."""
    return FolderTarget(name, FolderOptions(path=path))


def tree(path: Path) -> list[str]:
    """Everything below a path, hidden files included."""
    return sorted(str(found.relative_to(path)) for found in path.rglob("*"))


@contextmanager
def marked_drive(path: Path) -> Iterator[Path]:
    """A 16 MiB drive mounted over an empty folder of the system disk, marked for the target nas."""
    with mounts.tmpfs(path):
        target_at(path).prepare()
        yield path
