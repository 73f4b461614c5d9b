"""A folder on a network drive or another disk."""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, ClassVar, Literal

from pydantic import Field

from tasks.errors import ObjectMissing, TargetMissing
from tasks.platform.files import BLOCK, create_private
from tasks.records import Progress, Properties, Stat, no_progress
from tasks.targets.base import Target, check_name
from tasks.targets.folder.disk import (
    MediumReader,
    closed_quietly,
    make_folders,
    part_path,
    remove_dead_parts,
    remove_empty,
    sync,
    walk,
)
from tasks.targets.shared.errors import is_permanent, translate
from tasks.targets.shared.marker import Medium, find_medium, prepare_folder
from tasks.targets.shared.throttle import TargetOptions, throttle_to
from tasks.targets.shared.transfer import exactly


class FolderOptions(TargetOptions):
    """How a folder target stands in the plan."""

    kind: Literal["folder"] = Field("folder", description="a folder on a network drive or another disk")
    path: Path = Field(
        description="the folder, made ready once by `datasave adopt`",
        examples=["/mnt/nas/datasave", "Z:\\datasave"],
    )


class FolderTarget(Target):
    """Objects are files, slots are sub-folders; names that begin with a dot are never objects.

    Every call first asks the marker whether the medium is there (see marker.py).
    """

    kind: ClassVar[str] = "folder"

    def __init__(self, name: str, options: FolderOptions) -> None:
        super().__init__(name)
        self.properties = Properties()
        self._root = options.path
        self._throttle = throttle_to(str(options.path), options)

    def prepare(self) -> str:
        """Write the marker, once. Raises TargetError on a place marked for another target."""
        return prepare_folder(self._root, self.name)

    def find(self, operation: str) -> Medium:
        """The medium on which the folder lies right now. Raises TargetMissing, begun with ``operation``."""
        return find_medium(self._root, self.name, operation)

    def put(self, name: str, reader: BinaryIO, size: int, progress: Progress = no_progress) -> Stat:
        """Part file beside the object, fsync, rename, fsync the folder; the medium is checked throughout.

        Part files of dead runs in the same folder go first (disk.py says which), so that they cannot
        keep a full drive full.
        """
        final = self._path(name)
        operation = f"cannot store {name} on {self.name}"
        medium = self.find(operation)
        part = part_path(final)
        made: list[Path] = []
        try:
            with self._translated(operation, writing=True):
                make_folders(final.parent, self._root, made)
                stream = create_private(part)
            with closed_quietly(stream):
                self._same_medium(medium, operation)
                remove_dead_parts(part, final.name)
                self._fill(stream, reader, size, progress, operation)
            self._same_medium(medium, operation)
            with self._translated(operation, writing=True):
                part.replace(final)
                sync(final.parent)
            self._same_medium(medium, operation)
        except BaseException as error:
            with suppress(OSError):
                part.unlink()
            if isinstance(error, TargetMissing):
                remove_empty(made)
            raise
        return Stat(name=name, bytes=size)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Read an object. On Linux the page cache is dropped first, so that bytes come from the medium.

        Elsewhere the system's cache may answer; a network drive's server may have one of its own.
        """
        operation = f"cannot read {name} on {self.name}"
        path = self._object(name, operation)
        with self._translated(operation):
            raw = MediumReader(path, operation)
        with io.BufferedReader(raw, BLOCK) as stream:
            yield stream

    def stat(self, name: str) -> Stat:
        """Size of an object. Raises ObjectMissing."""
        operation = f"cannot find {name} on {self.name}"
        path = self._object(name, operation)
        with self._translated(operation):
            return Stat(name=name, bytes=path.lstat().st_size)

    def list(self, prefix: str = "") -> list[Stat]:
        """All regular files below the root, but for hidden ones and the system's own folders.

        Symbolic links are not followed. Raises TargetMissing also where the medium went away during
        the listing: a list cut short must not look like backups lost.
        """
        operation = f"cannot list {self.name}"
        medium = self.find(operation)
        with self._translated(operation):
            found = [item for item in walk(self._root) if item.name.startswith(prefix)]
        self._same_medium(medium, operation)
        return sorted(found, key=lambda item: item.name)

    def delete(self, name: str) -> None:
        """Remove an object, durably. Raises ObjectMissing."""
        operation = f"cannot delete {name} on {self.name}"
        path = self._object(name, operation)
        with self._translated(operation, writing=True):
            path.unlink()
            sync(path.parent)

    def free_space(self) -> int | None:
        """Bytes free for this user; None where the share answers 0/0/0, which means unknown."""
        operation = f"cannot ask {self.name} for its free space"
        self.find(operation)
        with self._translated(operation):
            usage = shutil.disk_usage(self._root)
        return usage.free if any(usage) else None

    def close(self) -> None:
        """Nothing stays open between calls."""

    def is_permanent(self, error: BaseException) -> bool:
        """By the error's class, or by its errno (faults.py)."""
        return is_permanent(error)

    def _path(self, name: str) -> Path:
        parts = check_name(name).split("/")
        # The marker and part files begin with a dot: no object may take their place.
        if any(part.startswith(".") for part in parts):
            raise ValueError(f"not an object name, since a part of it begins with a dot: {name!r}")
        return self._root.joinpath(*parts)

    def _object(self, name: str, operation: str) -> Path:
        """The path of an object that is there: never a folder, a link or a pipe."""
        path = self._path(name)
        self.find(operation)
        with self._translated(operation):
            mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            raise ObjectMissing(
                f"{operation}: it is no regular file", hint="`datasave list` shows what is there."
            )
        return path

    def _fill(
        self, stream: BinaryIO, reader: BinaryIO, size: int, progress: Progress, operation: str
    ) -> None:
        """Write, flush and fsync; only what the drive says is translated, not what the reader raises."""
        done = 0
        for block in exactly(reader, size, operation):
            for piece in self._throttle.pieces(block):
                with self._translated(operation, writing=True):
                    stream.write(piece)
                done += len(piece)
                progress(done, size)
        with self._translated(operation, writing=True):
            stream.flush()
            # Some file systems find out only here that there is no room.
            os.fsync(stream.fileno())
            stream.close()

    def _same_medium(self, medium: Medium, operation: str) -> None:
        if self.find(operation) != medium:
            raise TargetMissing(
                f"{operation}: another medium than at the start is at {self._root}",
                hint="Leave the drive in and mounted until the run has ended, then run it again.",
            )

    @contextmanager
    def _translated(self, operation: str, *, writing: bool = False) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno == errno.ENOENT:
                # On a drive that was just unmounted no object is missing: the drive is.
                self.find(operation)
            raise translate(error, operation, writing=writing) from error
