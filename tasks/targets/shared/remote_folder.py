"""The target on a folder of another machine, by whichever way (remote.py)."""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import BinaryIO

import pydantic

from tasks.errors import ObjectMissing, TargetError, TargetMissing
from tasks.platform.files import BLOCK
from tasks.records import Progress, Properties, Stat, no_progress
from tasks.targets.base import Target, check_name
from tasks.targets.shared.marker import MARKER, Marker
from tasks.targets.shared.remote import Entry, Remote, RemoteReader
from tasks.targets.shared.remote_parts import Upload

_LARGEST = 1 << 16
# Folders that systems and NAS boxes put beside ours, with copies of files in them.
_OF_THE_SYSTEM = frozenset(
    {"lost+found", "System Volume Information", "$RECYCLE.BIN", "@eaDir", "#recycle", "#snapshot"}
)


class RemoteFolderTarget(Target):
    """Objects are files, slots are sub-folders; names that begin with a dot are never objects.

    Every call first asks the marker whether the place is the right one: on a server whose backup disk is
    not mounted, the folder beneath it must not fill up and pass for a target.
    """

    def __init__(self, name: str, remote: Remote) -> None:
        super().__init__(name)
        self.properties = Properties()
        self._remote = remote

    def prepare(self) -> str:
        """Write the marker, once, making the folder itself if need be.

        Raises TargetMissing where its parent is not there either, TargetError where it is marked for another
        target.
        """
        remote = self._remote
        operation = f"cannot prepare {remote.where} for {self.name}"
        with remote.translated(operation, writing=True):
            root = remote.look("")
            if root is None:
                remote.make_folder("")
        marker = self._marker(operation)
        if marker is None:
            self._write_marker(operation)
            what = "marked" if root else "made and marked"
            return f"{what} {remote.where} for {self.name}{remote.shortcomings()}"
        if marker.target != self.name:
            raise TargetError(
                f"{operation}: by its marker it belongs to the target {marker.target!r}",
                hint=f"Choose another folder. If {marker.target!r} is gone for good, first remove its "
                f"{MARKER}.",
                permanent=True,
            )
        return f"{remote.where} was already marked for {self.name}{remote.shortcomings()}"

    def put(self, name: str, reader: BinaryIO, size: int, progress: Progress = no_progress) -> Stat:
        """Part file beside the object, sync, look at its size, rename; the marker is checked throughout.

        A put that was cut off, even by the death of the process, goes on where it stopped when the same
        bytes are put under the same name again (remote_parts.py).
        """
        operation = f"cannot store {name} on {self.name}"
        self._check(name)
        place = self._find(operation)
        upload = Upload(self._remote, name, size, operation)
        try:
            upload.send(reader, progress)
            self._same_place(place, operation)
            upload.publish()
            self._same_place(place, operation)
        except BaseException as error:
            upload.give_up(error)
            raise
        finally:
            upload.release()
        return Stat(name=name, bytes=size)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Read an object. The server may answer from its memory; nothing of this machine's is used."""
        operation = f"cannot read {name} on {self.name}"
        self._object(name, operation)
        with self._remote.translated(operation):
            raw = RemoteReader(self._remote, self._remote.open(name, "read"), operation)
        with io.BufferedReader(raw, BLOCK) as stream:
            yield stream

    def stat(self, name: str) -> Stat:
        """Size of an object. Raises ObjectMissing."""
        entry = self._object(name, f"cannot find {name} on {self.name}")
        return Stat(name=name, bytes=entry.bytes)

    def list(self, prefix: str = "") -> list[Stat]:
        """All files below the folder, but for hidden ones and the systems' own folders.

        Raises TargetMissing also where the place went away during the listing: a list cut short must not
        look like backups lost.
        """
        operation = f"cannot list {self.name}"
        place = self._find(operation)
        with self._remote.translated(operation):
            found = [item for item in self._walk("") if item.name.startswith(prefix)]
        self._same_place(place, operation)
        return sorted(found, key=lambda item: item.name)

    def delete(self, name: str) -> None:
        """Remove an object. Raises ObjectMissing."""
        operation = f"cannot delete {name} on {self.name}"
        self._object(name, operation)
        with self._remote.translated(operation, writing=True):
            self._remote.remove(name)

    def free_space(self) -> int | None:
        """Bytes free for this user; None where the server does not say, or says 0 of 0."""
        operation = f"cannot ask {self.name} for its free space"
        self._find(operation)
        with self._remote.translated(operation):
            return self._remote.free()

    def close(self) -> None:
        """Close the connection; the next call would open a new one."""
        self._remote.close()

    def is_permanent(self, error: BaseException) -> bool:
        """By the error's class, or by what the server or the network said."""
        return self._remote.is_permanent(error)

    def _check(self, name: str) -> None:
        # The marker and part files begin with a dot: no object may take their place.
        if any(part.startswith(".") for part in check_name(name).split("/")):
            raise ValueError(f"not an object name, since a part of it begins with a dot: {name!r}")
        self._remote.check(name)

    def _object(self, name: str, operation: str) -> Entry:
        """An object that is there: never a folder, a link or a pipe. Raises ObjectMissing."""
        self._check(name)
        self._find(operation)
        with self._remote.translated(operation):
            entry = self._remote.look(name)
        if entry is None or not entry.is_file:
            cause = "there is no such object" if entry is None else "it is no regular file"
            raise ObjectMissing(f"{operation}: {cause}", hint="`datasave list` shows what is there.")
        return entry

    def _walk(self, folder: str) -> Iterator[Stat]:
        for entry in self._remote.entries(folder):
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name in _OF_THE_SYSTEM or entry.name.startswith(".") or "\\" in entry.name:
                continue
            if entry.is_folder:
                yield from self._walk(name)
            elif entry.is_file:
                yield Stat(name=name, bytes=entry.bytes)

    def _find(self, operation: str) -> str:
        """The marker's id. Raises TargetMissing, begun with ``operation``; writes nothing."""
        marker = self._marker(operation)
        where = self._remote.where
        hint = f"Look at the server. If this is a new place, run `datasave adopt {self.name}`."
        if marker is None:
            with self._remote.translated(operation):
                gone = self._remote.look("") is None
            if gone:
                raise TargetMissing(f"{operation}: the folder {where} is not there", hint=hint)
            raise TargetMissing(
                f"{operation}: {where} holds no marker file {MARKER}, "
                "so the disk behind it seems to be missing",
                hint=hint,
            )
        if marker.target != self.name:
            raise TargetMissing(
                f"{operation}: by its marker, {where} belongs to the target {marker.target!r}",
                hint="Another disk seems to be mounted on the server, or the plan names the wrong folder.",
            )
        return marker.id

    def _same_place(self, place: str, operation: str) -> None:
        if self._find(operation) != place:
            raise TargetMissing(
                f"{operation}: another disk than at the start is at {self._remote.where}",
                hint="Leave the server's disk in and mounted until the run has ended, then run it again.",
            )

    def _marker(self, operation: str) -> Marker | None:
        """The marker, None if there is none. Raises TargetMissing if it cannot be understood."""
        with self._remote.translated(operation):
            if self._remote.look(MARKER) is None:
                return None
            file = self._remote.open(MARKER, "read")
            try:
                data = file.read(_LARGEST, 0)
            finally:
                file.close()
        try:
            return Marker.model_validate_json(data)
        except pydantic.ValidationError as error:
            raise TargetMissing(
                f"{operation}: the marker {MARKER} at {self._remote.where} is damaged "
                "or of an unknown version",
                hint="Look at the server's disk. If it is sound, remove that file and run "
                f"`datasave adopt {self.name}`.",
            ) from error

    def _write_marker(self, operation: str) -> None:
        marker = Marker(target=self.name, id=secrets.token_hex(16), made=datetime.now(UTC))
        data = marker.model_dump_json().encode() + b"\n"
        upload = Upload(self._remote, MARKER, len(data), operation)
        try:
            upload.send(io.BytesIO(data), no_progress)
            upload.publish()
        except BaseException as error:
            upload.give_up(error)
            raise
