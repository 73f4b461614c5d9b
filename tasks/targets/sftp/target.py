"""A folder on an SSH server, by SFTP.

sftp_options.py     how it stands in the plan
sftp_connection.py  the connection, the server's key, our own
sftp_faults.py      errors
"""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tasks.platform.files import PRIVATE_FILE, PRIVATE_FOLDER
from tasks.targets.sftp.connection import Connection
from tasks.targets.sftp.errors import Disk, is_absent, is_permanent, ours, translate
from tasks.targets.sftp.options import SftpOptions
from tasks.targets.shared.remote import IN_FLIGHT, Entry, Remote, RemoteFile
from tasks.targets.shared.remote_folder import RemoteFolderTarget
from tasks.targets.shared.throttle import Throttle, throttle_to

if TYPE_CHECKING:
    import asyncssh

# OpenSSH drops the connection at requests of 256 KiB and more; 16 at a time fill a fast line.
_PIECE = 255 << 10
_REQUESTS = IN_FLIGHT // _PIECE
# Less than this free is full: a write that does not fit is refused whole.
_FULL = 1 << 20
# SFTP version 3 (draft-ietf-secsh-filexfer-02) as OpenSSH extends it: statvfs flags.
_READ_ONLY = 1


class SftpTarget(RemoteFolderTarget):
    """Objects are files below the plan's ``path`` on the server."""

    kind: ClassVar[str] = "sftp"

    def __init__(self, name: str, options: SftpOptions) -> None:
        super().__init__(name, SftpRemote(name, options))


class SftpRemote(Remote):
    """The way by SFTP. The server is known by its key alone (sftp_connection.py)."""

    def __init__(self, target: str, options: SftpOptions) -> None:
        self.where = f"{options.user}@{options.host}:{options.path}"
        self._root = options.path.rstrip("/") or "/"
        self._connection = Connection(target, options)
        self._throttle = throttle_to(self.where, options)

    def look(self, path: str) -> Entry | None:
        full = self._full(path)
        # The root alone may be a link: where it leads is the owner's business.
        try:
            found = self._connection.call(lambda sftp: sftp.lstat(full) if path else sftp.stat(full))
        except ours() as error:
            # OpenSSH says "Failure" where something on the way is a file.
            if is_absent(error) or (path and self._lies_below_a_file(path, error)):
                return None
            raise
        return _entry(path, found)

    def entries(self, folder: str) -> list[Entry]:
        async def read(sftp: asyncssh.SFTPClient) -> list[Entry]:
            found = [item async for item in sftp.scandir(self._full(folder).encode())]
            return [_entry(name, item.attrs) for item in found if (name := _text(item.filename))]

        return [entry for entry in self._connection.call(read) if entry.name not in (".", "..")]

    def open(self, path: str, mode: Literal["read", "new", "go on"]) -> RemoteFile:
        import asyncssh

        flags = {
            "read": asyncssh.FXF_READ,
            # Never through a link or over a file that someone put there before.
            "new": asyncssh.FXF_WRITE | asyncssh.FXF_CREAT | asyncssh.FXF_EXCL,
            "go on": asyncssh.FXF_WRITE,
        }[mode]
        attributes = asyncssh.SFTPAttrs(permissions=PRIVATE_FILE) if mode == "new" else asyncssh.SFTPAttrs()

        async def begin(sftp: asyncssh.SFTPClient) -> tuple[asyncssh.SFTPClientFile, int]:
            file = await sftp.open(self._full(path), flags, attributes, encoding=None)
            size = (await file.stat()).size if mode == "read" else 0
            return file, size or 0

        return SftpFile(self._connection, *self._connection.call(begin), self._throttle)

    def replace(self, path: str, final: str) -> None:
        import asyncssh

        async def rename(sftp: asyncssh.SFTPClient) -> None:
            try:
                await sftp.posix_rename(self._full(path), self._full(final))
            except asyncssh.SFTPOpUnsupported:
                # Without that extension no server replaces a file: the new one is whole and synced by now.
                with suppress(asyncssh.SFTPNoSuchFile):
                    await sftp.remove(self._full(final))
                await sftp.rename(self._full(path), self._full(final))

        self._connection.call(rename)

    def remove(self, path: str) -> None:
        self._connection.call(lambda sftp: sftp.remove(self._full(path)))

    def make_folder(self, path: str) -> None:
        import asyncssh

        attributes = asyncssh.SFTPAttrs(permissions=PRIVATE_FOLDER)
        self._connection.call(lambda sftp: sftp.mkdir(self._full(path), attributes))

    def remove_folder(self, path: str) -> None:
        self._connection.call(lambda sftp: sftp.rmdir(self._full(path)))

    def free(self) -> int | None:
        import asyncssh

        try:
            disk = self._connection.call(lambda sftp: sftp.statvfs(self._root))
        except (asyncssh.SFTPOpUnsupported, asyncssh.SFTPFailure, asyncssh.SFTPPermissionDenied):
            return None
        return disk.bavail * disk.frsize if disk.blocks else None

    @contextmanager
    def translated(self, operation: str, *, writing: bool = False) -> Iterator[None]:
        try:
            yield
        except ours() as error:
            disk = self._disk(error) if writing else "unknown"
            raise translate(error, operation, writing=writing, where=self.where, disk=disk) from error

    def is_permanent(self, error: BaseException) -> bool:
        return is_permanent(error)

    def check(self, name: str) -> None:
        """Every name that is legal for an object can be used."""

    def close(self) -> None:
        self._connection.close()

    def shortcomings(self) -> str:
        def supports(name: str) -> Callable[[asyncssh.SFTPClient], Coroutine[Any, Any, bool]]:
            async def ask(sftp: asyncssh.SFTPClient) -> bool:
                return bool(getattr(sftp._handler, f"_supports_{name}"))

            return ask

        lacks = [
            name for name in ("posix_rename", "fsync", "statvfs") if not self._connection.call(supports(name))
        ]
        return f"; note that the server lacks {', '.join(lacks)}, as OpenSSH has it" if lacks else ""

    def _full(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}" if path else self._root

    def _lies_below_a_file(self, path: str, error: BaseException) -> bool:
        import asyncssh

        parent = path.rpartition("/")[0]
        if not parent or not isinstance(error, asyncssh.SFTPFailure):
            return False
        found = self.look(parent)
        return found is None or not found.is_folder

    def _disk(self, error: BaseException) -> Disk:
        """Why the server's disk fails, where it says no more than "Failure"."""
        import asyncssh

        if not isinstance(error, asyncssh.SFTPFailure):
            return "unknown"
        with suppress(*ours()):
            disk = self._connection.call(lambda sftp: sftp.statvfs(self._root))
            if disk.flags & _READ_ONLY:
                return "read-only"
            if disk.blocks and (disk.bavail * disk.frsize < _FULL or (disk.files and not disk.favail)):
                return "full"
        return "unknown"


class SftpFile(RemoteFile):
    """An open file of ``size`` bytes. Up to _REQUESTS requests are under way together, begun in order."""

    def __init__(
        self, connection: Connection, file: asyncssh.SFTPClientFile, size: int, throttle: Throttle
    ) -> None:
        self._connection = connection
        self._file = file
        self._size = size
        self._throttle = throttle
        self._writes: deque[Future[int]] = deque()
        self._reads: deque[Future[bytes]] = deque()
        self._position = self._asked = self._ahead = 0
        self._rest = b""

    def read(self, size: int, offset: int) -> bytes:
        if offset != self._position:
            self._reads.clear()
            self._position, self._asked, self._ahead, self._rest = offset, offset, 0, b""
        if not self._rest:
            self._read_ahead(offset + max(size, self._ahead))
            # The more was read from front to back, the further ahead it pays to ask.
            self._ahead = min(2 * max(size, self._ahead), IN_FLIGHT)
            self._rest = self._connection.wait(self._reads.popleft()) if self._reads else b""
        data, self._rest = self._rest[:size], self._rest[size:]
        self._position += len(data)
        return data

    def _read_ahead(self, until: int) -> None:
        while self._asked < min(until, self._size):
            self._reads.append(self._connection.submit(self._file.read(_PIECE, self._asked)))
            self._asked += _PIECE

    def write(self, data: bytes, offset: int) -> None:
        view = memoryview(data)
        for start in range(0, len(data), _PIECE):
            piece = bytes(view[start : start + _PIECE])
            self._throttle.take(len(piece))
            if len(self._writes) >= _REQUESTS:
                self._connection.wait(self._writes.popleft())
            self._writes.append(self._connection.submit(self._file.write(piece, offset + start)))

    def sync(self) -> None:
        import asyncssh

        while self._writes:
            self._connection.wait(self._writes.popleft())
        # A server without that extension answers for its disk itself.
        with suppress(asyncssh.SFTPOpUnsupported):
            self._connection.wait(self._connection.submit(self._file.fsync()))

    def close(self) -> None:
        for write in self._writes:
            write.cancel()
        for read in self._reads:
            read.cancel()
        with suppress(*ours()):
            self._connection.wait(self._connection.submit(self._file.close()))


def _entry(path: str, found: asyncssh.SFTPAttrs) -> Entry:
    mode = found.permissions or 0
    return Entry(
        name=path.rpartition("/")[2],
        bytes=found.size or 0,
        modified=float(found.mtime or 0),
        is_file=stat.S_ISREG(mode),
        is_folder=stat.S_ISDIR(mode),
    )


def _text(name: bytes | str) -> str:
    """A file's name as text, "" for one that no put of ours could have given."""
    try:
        return name.decode() if isinstance(name, bytes) else name
    except UnicodeDecodeError:
        return ""
