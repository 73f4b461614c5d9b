"""A share of a Windows server or a NAS, by SMB, without mounting it.

smb_options.py     how it stands in the plan
smb_connection.py  the connection
smb_faults.py      errors
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, Literal

from tasks.platform.files import BLOCK
from tasks.targets.shared.remote import Entry, Remote, RemoteFile
from tasks.targets.shared.remote_folder import RemoteFolderTarget
from tasks.targets.shared.throttle import Throttle, throttle_to
from tasks.targets.smb.connection import Connection
from tasks.targets.smb.errors import is_absent, is_permanent, ours, translate
from tasks.targets.smb.options import SmbOptions, usable

# Each is answered before the next is sent: on a slow line that is the sign of life.
_PIECE = 512 << 10
# Others may open what we write. Otherwise a connection that broke without the server's noticing would lock
# the next try out of its own part file.
_SHARED = "rwd"


class SmbTarget(RemoteFolderTarget):
    """Objects are files below the plan's ``path`` on the share."""

    kind: ClassVar[str] = "smb"

    def __init__(self, name: str, options: SmbOptions) -> None:
        super().__init__(name, SmbRemote(options))


class SmbRemote(Remote):
    """The way by SMB. What lies behind a link on the server is the server's business: it follows them."""

    def __init__(self, options: SmbOptions) -> None:
        self._root = "\\".join(
            ["", "", options.server, options.share, *filter(None, options.path.split("/"))]
        )
        self.where = self._root.replace("\\", "/")
        self._connection = Connection(options)
        self._throttle = throttle_to(self.where, options)

    def look(self, path: str) -> Entry | None:
        import smbclient

        try:
            found = self._connection.call(smbclient.lstat, self._full(path))
        except ours() as error:
            if is_absent(error):
                return None
            raise
        return Entry(
            name=path.rpartition("/")[2],
            bytes=found.st_size,
            modified=found.st_mtime,
            is_file=stat.S_ISREG(found.st_mode),
            is_folder=stat.S_ISDIR(found.st_mode),
        )

    def entries(self, folder: str) -> list[Entry]:
        import smbclient

        def read(full: str, **how: Any) -> list[Entry]:
            return [_entry(item) for item in smbclient.scandir(full, **how)]

        return self._connection.call(read, self._full(folder))

    def open(self, path: str, mode: Literal["read", "new", "go on"]) -> RemoteFile:
        import smbclient

        flags = {"read": "rb", "new": "xb", "go on": "r+b"}[mode]
        raw = self._connection.call(
            smbclient.open_file, self._full(path), mode=flags, buffering=0, share_access=_SHARED
        )
        return SmbFile(self._connection, raw, self._throttle)

    def replace(self, path: str, final: str) -> None:
        import smbclient

        self._connection.call(smbclient.replace, self._full(path), self._full(final))

    def remove(self, path: str) -> None:
        import smbclient

        self._connection.call(smbclient.remove, self._full(path))

    def make_folder(self, path: str) -> None:
        import smbclient

        self._connection.call(smbclient.mkdir, self._full(path))

    def remove_folder(self, path: str) -> None:
        import smbclient

        self._connection.call(smbclient.rmdir, self._full(path))

    def free(self) -> int | None:
        import smbclient

        volume = self._connection.call(smbclient.stat_volume, self._root)
        return int(volume.caller_available_size) if volume.total_size else None

    @contextmanager
    def translated(self, operation: str, *, writing: bool = False) -> Iterator[None]:
        try:
            yield
        except ours() as error:
            raise translate(error, operation, writing=writing, where=self.where) from error

    def is_permanent(self, error: BaseException) -> bool:
        return is_permanent(error)

    def check(self, name: str) -> None:
        if not usable(name):
            raise ValueError(f"not a name that a share can hold: {name!r}")

    def close(self) -> None:
        self._connection.close()

    def _full(self, path: str) -> str:
        return "\\".join([self._root, *path.split("/")]) if path else self._root


class SmbFile(RemoteFile):
    """An open file, one request at a time."""

    def __init__(self, connection: Connection, raw: Any, throttle: Throttle) -> None:
        self._connection = connection
        self._raw = raw
        self._throttle = throttle

    def read(self, size: int, offset: int) -> bytes:
        def ask() -> bytes:
            buffer = bytearray(min(size, BLOCK))
            self._raw.seek(offset)
            return bytes(buffer[: self._raw.readinto(buffer)])

        return self._connection.run(ask)

    def write(self, data: bytes, offset: int) -> None:
        view = memoryview(data)
        done = 0
        while done < len(data):
            piece = view[done : done + _PIECE]
            self._throttle.take(len(piece))
            # The server may take less than all of it.
            done += self._connection.run(partial(self._write, piece, offset + done))

    def _write(self, piece: memoryview, at: int) -> int:
        self._raw.seek(at)
        return int(self._raw.write(piece))

    def sync(self) -> None:
        self._connection.run(self._raw.flush)

    def close(self) -> None:
        try:
            self._connection.run(self._raw.close)
        except ours():
            # The server has forgotten it; smbclient would go on taking it for open.
            self._raw.fd._connected = False


def _entry(item: Any) -> Entry:
    known = item.smb_info
    return Entry(
        name=item.name,
        bytes=known.end_of_file,
        modified=known.last_write_time.timestamp(),
        is_file=item.is_file(follow_symlinks=False),
        is_folder=item.is_dir(follow_symlinks=False),
    )
