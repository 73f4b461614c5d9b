"""A share of a Windows server or a NAS, by SMB, without mounting it: the session, the remote folder, the
target.
"""

from __future__ import annotations

import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, ClassVar, Literal, TypeVar

from tasks.errors import TargetError
from tasks.platform.files import BLOCK
from tasks.platform.secrets import secret_of
from tasks.targets.shared.remote import Entry, Remote, RemoteFile, RemoteFolderTarget
from tasks.targets.shared.transfer import Throttle, throttle_to
from tasks.targets.smb.errors import breaks, is_absent, raised, translate
from tasks.targets.smb.options import SmbOptions, usable

# Each is answered before the next is sent: on a slow line that is the sign of life.
_PIECE = 512 << 10
# Others may open what we write. Otherwise a connection that broke without the server's noticing would lock
# the next try out of its own part file.
_SHARED = "rwd"
_FAREWELL_SECONDS = 5

T = TypeVar("T")


class SmbTarget(RemoteFolderTarget):
    """Objects are files below the plan's ``path`` on the share."""

    kind: ClassVar[str] = "smb"

    def __init__(self, name: str, options: SmbOptions) -> None:
        super().__init__(name, SmbRemote(options))


class SmbRemote(Remote):
    """The folder by SMB. What lies behind a link on the server is the server's business: it follows them."""

    def __init__(self, options: SmbOptions) -> None:
        self._root = "\\".join(
            ["", "", options.server, options.share, *filter(None, options.path.split("/"))]
        )
        self.where = self._root.replace("\\", "/")
        self._session = SmbSession(options)
        self._throttle = throttle_to(self.where, options.bandwidth)

    def look(self, path: str) -> Entry | None:
        try:
            found = self._session.call(_smbclient().lstat, self._full(path))
        except raised() as error:
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
        def read(full: str, **how: Any) -> list[Entry]:
            return [_entry(item) for item in _smbclient().scandir(full, **how)]

        return self._session.call(read, self._full(folder))

    def open(self, path: str, mode: Literal["read", "new", "go on"]) -> RemoteFile:
        flags = {"read": "rb", "new": "xb", "go on": "r+b"}[mode]
        raw = self._session.call(
            _smbclient().open_file, self._full(path), mode=flags, buffering=0, share_access=_SHARED
        )
        return SmbFile(self._session, raw, self._throttle)

    def replace(self, path: str, final: str) -> None:
        self._session.call(_smbclient().replace, self._full(path), self._full(final))

    def remove(self, path: str) -> None:
        self._session.call(_smbclient().remove, self._full(path))

    def make_folder(self, path: str) -> None:
        self._session.call(_smbclient().mkdir, self._full(path))

    def remove_folder(self, path: str) -> None:
        self._session.call(_smbclient().rmdir, self._full(path))

    def free(self) -> int | None:
        volume = self._session.call(_smbclient().stat_volume, self._root)
        return int(volume.caller_available_size) if volume.total_size else None

    def raised(self) -> tuple[type[BaseException], ...]:
        return raised()

    def translate(self, error: BaseException, operation: str, *, writing: bool = False) -> TargetError:
        return translate(error, operation, writing=writing, where=self.where)

    def check(self, name: str) -> None:
        if not usable(name):
            raise ValueError(f"not a name that a share can hold: {name!r}")

    def close(self) -> None:
        self._session.close()

    def _full(self, path: str) -> str:
        return "\\".join([self._root, *path.split("/")]) if path else self._root


class SmbFile(RemoteFile):
    """An open file, one request at a time."""

    def __init__(self, session: SmbSession, raw: Any, throttle: Throttle) -> None:
        self._session = session
        self._raw = raw
        self._throttle = throttle

    def read(self, size: int, offset: int) -> bytes:
        def ask() -> bytes:
            buffer = bytearray(min(size, BLOCK))
            self._raw.seek(offset)
            return bytes(buffer[: self._raw.readinto(buffer)])

        return self._session.run(ask)

    def write(self, data: bytes, offset: int) -> None:
        view = memoryview(data)
        done = 0
        while done < len(data):
            piece = view[done : done + _PIECE]
            self._throttle.take(len(piece))
            # The server may take less than all of it.
            done += self._session.run(partial(self._write, piece, offset + done))

    def _write(self, piece: memoryview, at: int) -> int:
        self._raw.seek(at)
        return int(self._raw.write(piece))

    def sync(self) -> None:
        self._session.run(self._raw.flush)

    def close(self) -> None:
        try:
            self._session.run(self._raw.close)
        except raised():
            # The server has forgotten it; smbclient would go on taking it for open.
            self._raw.fd._connected = False


def _smbclient() -> Any:
    """The driver, which is slow to load: not before it is used."""
    import smbclient

    return smbclient


def _entry(item: Any) -> Entry:
    known = item.smb_info
    return Entry(
        name=item.name,
        bytes=known.end_of_file,
        modified=known.last_write_time.timestamp(),
        is_file=item.is_file(follow_symlinks=False),
        is_folder=item.is_dir(follow_symlinks=False),
    )


class SmbSession:
    """Calls of smbclient, one at a time: it counts a server's credits without regard for other threads.

    One for a target, apart from smbclient's pool, which all of a process share. Connects when first needed,
    and again after the connection broke. smbclient waits without end for a server that fell silent, so each
    call is watched: after the plan's timeout the socket is shut under it, and it ends.
    """

    def __init__(self, options: SmbOptions) -> None:
        self._options = options
        self._lock = threading.RLock()
        self._cache: dict[str, Any] = {}
        self._known: dict[str, Any] = {}

    def call(self, function: Callable[..., T], *arguments: Any, **more: Any) -> T:
        """A function of smbclient that may have to connect, with what it needs for that.

        Raises SMBException, OSError (TimeoutError after silence).
        """
        with self._lock:
            how = self._how()
            return self.run(lambda: function(*arguments, **how, **more))

    def run(self, request: Callable[[], T]) -> T:
        """What ``request`` on an open file comes to. Raises as ``call`` does."""
        with self._lock, self._watched(self._options.timeout) as silence:
            try:
                return request()
            except Exception as error:
                if silence.is_set():
                    self._drop()
                    raise TimeoutError from error
                # How smbprotocol says that there is nobody; the system's own error says why.
                if isinstance(error, ValueError) and isinstance(error.__cause__, OSError):
                    raise error.__cause__ from error
                if breaks(error):
                    self._drop()
                raise

    def close(self) -> None:
        """Log off and disconnect."""
        from smbclient import delete_session

        options = self._options
        with self._lock, self._watched(_FAREWELL_SECONDS), suppress(Exception):
            delete_session(options.server, options.port, self._cache, timeout=_FAREWELL_SECONDS)
        with self._lock:
            self._drop()
            self._known = {}

    def _how(self) -> dict[str, Any]:
        options = self._options
        if not self._known:
            self._known = {
                "username": f"{options.domain}\\{options.user}" if options.domain else options.user,
                "password": secret_of(options.password),
                "port": options.port,
                # False would be refused where the server itself insists on encryption.
                "encrypt": True if options.encrypt else None,
                "require_signing": True,
                "connection_timeout": options.timeout,
                "connection_cache": self._cache,
            }
        return self._known

    def _drop(self) -> None:
        self._hang_up()
        self._cache.clear()

    def _hang_up(self) -> None:
        """Shut the sockets, whatever waits on them; smbprotocol's own way would wait for a lock."""
        for connection in list(self._cache.values()):
            with suppress(AttributeError, OSError):
                connection.transport._sock.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def _watched(self, seconds: float) -> Iterator[threading.Event]:
        """Hang up if the block takes longer; the event tells whether that was done."""
        done, silence = threading.Event(), threading.Event()

        def watch() -> None:
            while not done.wait(seconds):
                silence.set()
                self._hang_up()

        threading.Thread(target=watch, name="smb watch", daemon=True).start()
        try:
            yield silence
        finally:
            done.set()
