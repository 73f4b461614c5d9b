"""A folder on a network drive or another disk, known by its marker."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import ClassVar, Literal
from urllib.parse import SplitResult, unquote

from pydantic import Field

from tasks.options import Place
from tasks.targets.capabilities import SupportsDisk, SupportsPrepare
from tasks.targets.shared.addresses import Access, checked
from tasks.targets.shared.marker import Medium, find_medium, prepare_folder
from tasks.targets.shared.mounted import MountedFolder, MountedOptions


class FolderOptions(MountedOptions):
    """How a folder target stands in the plan."""

    kind: Literal["folder"] = Field("folder", description="a folder on a network drive or another disk")
    path: Path = Field(
        description="the folder, made ready once by `datasave target init`",
        examples=["/mnt/nas/datasave", "Z:\\datasave"],
    )

    @property
    def place(self) -> Place:
        """The folder."""
        return Place("", str(self.path))

    @classmethod
    def from_address(cls, address: str, parts: SplitResult, _access: Access) -> FolderOptions:
        """See shared.addresses: file:///path."""
        return checked(cls, address, path=unquote(parts.path))

    @classmethod
    def needs_password(cls, _access: Access) -> bool:
        """See shared.addresses."""
        return False

    def rescue_words(self) -> tuple[str, ...]:
        """See shared.addresses."""
        return (quote(str(self.path)),)

    def access_needed(self) -> str:
        """See shared.addresses."""
        return ""


class FolderTarget(MountedFolder, SupportsPrepare, SupportsDisk):
    """A mounted folder that is marked for this target (see marker.py)."""

    kind: ClassVar[str] = "folder"

    def __init__(self, name: str, options: FolderOptions) -> None:
        super().__init__(name, options.path, options.bandwidth, options.timeout)

    def prepare(self) -> str:
        """Write the marker, once. Raises TargetError on a place marked for another target."""
        operation = f"cannot prepare {self._root} for {self.name}"
        return self._doing(operation)(prepare_folder, self._root, self.name)

    def disk(self) -> int:
        """See SupportsDisk."""
        operation = f"cannot look at {self.name}"
        return self._doing(operation)(self.find, operation).device

    def find(self, operation: str) -> Medium:
        """By the marker. Raises TargetMissing, begun with ``operation``."""
        return find_medium(self._root, self.name, operation)
