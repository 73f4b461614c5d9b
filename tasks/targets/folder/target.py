"""A folder on a network drive or another disk, known by its marker."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from tasks.targets.base import TargetOptions
from tasks.targets.capabilities import SupportsPrepare
from tasks.targets.shared.marker import Medium, find_medium, prepare_folder
from tasks.targets.shared.mounted import MountedFolder


class FolderOptions(TargetOptions):
    """How a folder target stands in the plan."""

    kind: Literal["folder"] = Field("folder", description="a folder on a network drive or another disk")
    path: Path = Field(
        description="the folder, made ready once by `datasave target init`",
        examples=["/mnt/nas/datasave", "Z:\\datasave"],
    )


class FolderTarget(MountedFolder, SupportsPrepare):
    """A mounted folder that is marked for this target (see marker.py)."""

    kind: ClassVar[str] = "folder"

    def __init__(self, name: str, options: FolderOptions) -> None:
        super().__init__(name, options.path, options.bandwidth)

    def prepare(self) -> str:
        """Write the marker, once. Raises TargetError on a place marked for another target."""
        return prepare_folder(self._root, self.name)

    def find(self, operation: str) -> Medium:
        """By the marker. Raises TargetMissing, begun with ``operation``."""
        return find_medium(self._root, self.name, operation)
