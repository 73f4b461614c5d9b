"""Places that hold backups, read as they are on a bare machine: no plan, no marker, nothing written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.errors import TargetMissing, TargetReadOnly
from tasks.records import Stat
from tasks.targets.base import Target
from tasks.targets.shared.errors import translate
from tasks.targets.shared.marker import MARKER, Medium
from tasks.targets.shared.media import FOLDER, plugged_in
from tasks.targets.shared.media import MARKER as MEDIUM_MARKER
from tasks.targets.shared.mounted import MountedFolder
from tasks.targets.shared.remote import RemoteFolderTarget

_HINT = "Give the folder that holds the .tar.zst.age files, or one above it."


class ReadingOnly(Target):
    """A target that refuses to change anything: what may be the last copy is only looked at."""

    def put(self, name: str, *_: Any, **__: Any) -> Stat:
        """Raises TargetReadOnly."""
        raise TargetReadOnly(f"cannot store {name} on {self.name}: it was opened for reading only")

    def delete(self, name: str) -> None:
        """Raises TargetReadOnly."""
        raise TargetReadOnly(f"cannot delete {name} on {self.name}: it was opened for reading only")


class UnmarkedFolder(ReadingOnly, MountedFolder):
    """A folder or a drive; of a medium that Datasave made ready, the folder in which its backups lie."""

    kind = "folder"
    _crosses = True

    def __init__(self, path: Path) -> None:
        root = path / FOLDER if (path / MEDIUM_MARKER).is_file() and (path / FOLDER).is_dir() else path
        super().__init__(str(path), root)

    def find(self, operation: str) -> Medium:
        """What is there. Raises TargetMissing where it is no folder."""
        try:
            found = self._root.stat()
        except FileNotFoundError as error:
            raise TargetMissing(f"{operation}: there is no such folder", hint=_HINT) from error
        except OSError as error:
            raise translate(error, operation, writing=True) from error
        if not self._root.is_dir():
            raise TargetMissing(f"{operation}: it is not a folder", hint=_HINT)
        return Medium(id="", device=found.st_dev)


class UnmarkedRemote(ReadingOnly, RemoteFolderTarget):
    """A folder on another machine."""

    kind = "remote"
    _crosses = True

    def _find(self, operation: str) -> str:
        with self._remote.translated(operation):
            found = self._remote.look("")
        if found is None or not found.is_folder:
            raise TargetMissing(f"{operation}: the folder {self._remote.where} is not there", hint=_HINT)
        return ""


def plugged_in_places(patterns: Sequence[str]) -> list[UnmarkedFolder]:
    """The places with backups on the drives that are plugged in at paths that fit one of the patterns.

    Raises TargetMissing where there is none.
    """
    found = []
    for drive in plugged_in(patterns):
        try:
            roots = [drive.root, *sorted(path for path in drive.root.iterdir() if path.is_dir())]
        except OSError:
            continue  # a drive that cannot be read holds nothing that could be restored from here
        if (drive.root / MEDIUM_MARKER).is_file():
            roots = roots[:1]
        found += [UnmarkedFolder(root) for root in roots if _holds_backups(root)]
    if not found:
        raise TargetMissing(
            f"no drive with backups is plugged in: looked at {', '.join(patterns)}",
            hint="Plug one in and mount it, or say where the backups are: a folder, s3://…, sftp://… or smb://….",
        )
    return found


def _holds_backups(root: Path) -> bool:
    marked = any((root / name).is_file() for name in (MARKER, MEDIUM_MARKER))
    try:
        return marked or any(root.glob("*.manifest.json"))
    except OSError:
        return False
