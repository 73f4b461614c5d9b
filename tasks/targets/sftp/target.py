"""A folder on an SSH server, by SFTP: the session, the remote folder, the target.

The seam is synchronous and asyncssh is not: calls are handed to an event loop in a thread of its own and
waited for, each for as long as the plan's timeout lets it. Nothing of the user's own SSH settings, keys or
agent is used: a backup must not depend on who happens to be logged in.
"""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from tasks.errors import TargetError
from tasks.platform.files import PRIVATE_FILE, PRIVATE_FOLDER
from tasks.platform.secrets import secret_of
from tasks.targets.sftp.errors import Disk, UntrustedError, breaks, is_absent, raised, translate
from tasks.targets.sftp.options import SftpOptions
from tasks.targets.shared.remote import IN_FLIGHT, Entry, Remote, RemoteFile, RemoteFolderTarget
from tasks.targets.shared.transfer import Throttle, throttle_to

if TYPE_CHECKING:
    import asyncssh

T = TypeVar("T")

# OpenSSH drops the connection at requests of 256 KiB and more; 16 at a time fill a fast line.
_PIECE = 255 << 10
_REQUESTS = IN_FLIGHT // _PIECE
# Less than this free is full: a write that does not fit is refused whole.
_FULL = 1 << 20
# SFTP version 3 (draft-ietf-secsh-filexfer-02) as OpenSSH extends it: statvfs flags.
_READ_ONLY = 1
# Keep-alives in a row without an answer, after which the connection counts as broken.
_KEEPALIVES = 2
_FAREWELL_SECONDS = 5
# Added behind the kinds of the known keys: a server with another kind shows it, so that we can say which.
_HOST_KEYS = "+ssh-ed25519,ecdsa-sha2-*,rsa-sha2-*"


class SftpTarget(RemoteFolderTarget):
    """Objects are files below the plan's ``path`` on the server."""

    kind: ClassVar[str] = "sftp"

    def __init__(self, name: str, options: SftpOptions) -> None:
        super().__init__(name, SftpRemote(name, options))


class SftpRemote(Remote):
    """The folder by SFTP. The server is known by its key alone (`known_hosts` or `host_key`)."""

    readers = 8

    def __init__(self, target: str, options: SftpOptions) -> None:
        self.where = f"{options.user}@{options.host}:{options.path}"
        self._root = options.path.rstrip("/") or "/"
        self._session = SftpSession(target, options)
        self._throttle = throttle_to(self.where, options.bandwidth)

    def look(self, path: str) -> Entry | None:
        full = self._full(path)
        # The root alone may be a link: where it leads is the owner's business.
        try:
            found = self._session.call(lambda sftp: sftp.lstat(full) if path else sftp.stat(full))
        except raised() as error:
            # OpenSSH says "Failure" where something on the way is a file.
            if is_absent(error) or (path and self._lies_below_a_file(path, error)):
                return None
            raise
        return _entry(path, found)

    def entries(self, folder: str) -> list[Entry]:
        async def read(sftp: asyncssh.SFTPClient) -> list[Entry]:
            found = [item async for item in sftp.scandir(self._full(folder).encode())]
            return [_entry(name, item.attrs) for item in found if (name := _text(item.filename))]

        return [entry for entry in self._session.call(read) if entry.name not in (".", "..")]

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

        return SftpFile(self._session, *self._session.call(begin), self._throttle)

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

        self._session.call(rename)

    def remove(self, path: str) -> None:
        self._session.call(lambda sftp: sftp.remove(self._full(path)))

    def make_folder(self, path: str) -> None:
        import asyncssh

        attributes = asyncssh.SFTPAttrs(permissions=PRIVATE_FOLDER)
        self._session.call(lambda sftp: sftp.mkdir(self._full(path), attributes))

    def remove_folder(self, path: str) -> None:
        self._session.call(lambda sftp: sftp.rmdir(self._full(path)))

    def free(self) -> int | None:
        import asyncssh

        try:
            disk = self._session.call(lambda sftp: sftp.statvfs(self._root))
        except (asyncssh.SFTPOpUnsupported, asyncssh.SFTPFailure, asyncssh.SFTPPermissionDenied):
            return None
        return disk.bavail * disk.frsize if disk.blocks else None

    def raised(self) -> tuple[type[BaseException], ...]:
        return raised()

    def translate(self, error: BaseException, operation: str, *, writing: bool = False) -> TargetError:
        disk = self._disk(error) if writing else "unknown"
        return translate(error, operation, writing=writing, where=self.where, disk=disk)

    def check(self, name: str) -> None:
        """Every name that is legal for an object can be used."""

    def close(self) -> None:
        self._session.close()

    def shortcomings(self) -> str:
        def supports(name: str) -> Callable[[asyncssh.SFTPClient], Coroutine[Any, Any, bool]]:
            async def ask(sftp: asyncssh.SFTPClient) -> bool:
                return bool(getattr(sftp._handler, f"_supports_{name}"))

            return ask

        lacks = [
            name for name in ("posix_rename", "fsync", "statvfs") if not self._session.call(supports(name))
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
        with suppress(*raised()):
            disk = self._session.call(lambda sftp: sftp.statvfs(self._root))
            if disk.flags & _READ_ONLY:
                return "read-only"
            if disk.blocks and (disk.bavail * disk.frsize < _FULL or (disk.files and not disk.favail)):
                return "full"
        return "unknown"


class SftpFile(RemoteFile):
    """An open file of ``size`` bytes. Up to _REQUESTS requests are under way together, begun in order."""

    def __init__(
        self, session: SftpSession, file: asyncssh.SFTPClientFile, size: int, throttle: Throttle
    ) -> None:
        self._session = session
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
            self._rest = self._session.wait(self._reads.popleft()) if self._reads else b""
        data, self._rest = self._rest[:size], self._rest[size:]
        self._position += len(data)
        return data

    def _read_ahead(self, until: int) -> None:
        while self._asked < min(until, self._size):
            self._reads.append(self._session.submit(self._file.read(_PIECE, self._asked)))
            self._asked += _PIECE

    def write(self, data: bytes, offset: int) -> None:
        view = memoryview(data)
        for start in range(0, len(data), _PIECE):
            piece = bytes(view[start : start + _PIECE])
            self._throttle.take(len(piece))
            if len(self._writes) >= _REQUESTS:
                self._session.wait(self._writes.popleft())
            self._writes.append(self._session.submit(self._file.write(piece, offset + start)))

    def sync(self) -> None:
        import asyncssh

        while self._writes:
            self._session.wait(self._writes.popleft())
        # A server without that extension answers for its disk itself.
        with suppress(asyncssh.SFTPOpUnsupported):
            self._session.wait(self._session.submit(self._file.fsync()))

    def close(self) -> None:
        for write in self._writes:
            write.cancel()
        for read in self._reads:
            read.cancel()
        with suppress(*raised()):
            self._session.wait(self._session.submit(self._file.close()))


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
    """A file's name as text, "" for one that no put of raised could have given."""
    try:
        return name.decode() if isinstance(name, bytes) else name
    except UnicodeDecodeError:
        return ""


class SftpSession:
    """One SFTP session with the server, for one target.

    Connects when first needed, and again after the connection broke. Safe to use from several threads.
    """

    def __init__(self, target: str, options: SftpOptions) -> None:
        self._target = target
        self._options = options
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ssh: asyncssh.SSHClientConnection | None = None
        self._sftp: asyncssh.SFTPClient | None = None

    def call(self, make: Callable[[asyncssh.SFTPClient], Coroutine[Any, Any, T]]) -> T:
        """What ``make`` gives of the SFTP session. Raises what asyncssh does, TimeoutError, TargetError."""
        with self._lock:
            client = self._client()
        return self.wait(self.submit(make(client)))

    def submit(self, request: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin a request of the session and not wait for it: several can be under way together."""
        loop = self._loop
        if loop is None:
            request.close()
            raise ConnectionResetError
        return asyncio.run_coroutine_threadsafe(request, loop)

    def wait(self, future: Future[T]) -> T:
        """What a request came to. After silence, or a fault of the connection, that is let go of."""
        try:
            return future.result(self._options.timeout)
        except Exception as error:
            future.cancel()
            if breaks(error):
                with self._lock:
                    self._drop()
            raise

    def close(self) -> None:
        """End the connection, the loop and its thread."""
        with self._lock:
            loop, thread = self._loop, self._thread
            if loop is None or thread is None:
                return
            with suppress(Exception):
                asyncio.run_coroutine_threadsafe(self._farewell(), loop).result(_FAREWELL_SECONDS)
            self._drop()
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_FAREWELL_SECONDS)
            if not thread.is_alive():
                loop.close()
            self._loop = self._thread = None

    def _client(self) -> asyncssh.SFTPClient:
        if self._sftp is None:
            operation = f"cannot connect to {self._target}"
            trust, keys = _known_hosts(self._options, operation), _client_keys(self._options, operation)
            password = secret_of(self._options.password) if self._options.password else None
            self._start()
            waiting = self.submit(self._connect(trust, keys, password))
            try:
                # Connecting and logging in have timeouts of their own.
                waiting.result(3 * self._options.timeout)
            except BaseException:
                waiting.cancel()
                self._drop()
                raise
        assert self._sftp is not None  # noqa: S101 - _connect has set it, or raised
        return self._sftp

    def _start(self) -> None:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=self._loop.run_forever, name=f"sftp {self._target}", daemon=True
            )
            self._thread.start()

    def _drop(self) -> None:
        ssh, self._ssh, self._sftp = self._ssh, None, None
        if ssh is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(ssh.abort)

    async def _farewell(self) -> None:
        if self._ssh is not None:
            self._ssh.close()
            await self._ssh.wait_closed()

    async def _connect(self, trust: Any, keys: list[asyncssh.SSHKey], password: str | None) -> None:
        import asyncssh

        options = self._options
        seen: list[asyncssh.SSHKey] = []

        class Client(asyncssh.SSHClient):
            def validate_host_public_key(
                self, _host: str, _addr: str, _port: int, key: asyncssh.SSHKey
            ) -> bool:
                """Asked about a key that is not known: remembered for the message, never accepted."""
                seen.append(key)
                return False

        try:
            self._ssh = await asyncssh.connect(
                options.host,
                options.port,
                username=options.user,
                password=password,
                client_keys=keys,
                client_factory=Client,
                known_hosts=trust,
                server_host_key_algs=_HOST_KEYS,
                x509_trusted_certs=[],
                config=[],
                agent_path=None,
                gss_host=None,
                gss_kex=False,
                gss_auth=False,
                connect_timeout=options.timeout,
                login_timeout=options.timeout,
                keepalive_interval=max(1, options.timeout / (_KEEPALIVES + 1)),
                keepalive_count_max=_KEEPALIVES,
            )
        except asyncssh.HostKeyNotVerifiable as error:
            raise UntrustedError([key.get_fingerprint() for key in seen], self._knows(trust)) from error
        self._sftp = await asyncio.wait_for(self._ssh.start_sftp_client(), options.timeout)

    def _knows(self, trust: Any) -> bool:
        """Whether any key of this server is known."""
        import asyncssh

        if isinstance(trust, asyncssh.SSHKnownHosts):
            return any(trust.match(self._options.host, "", self._options.port)[:2])
        return True


def _known_hosts(options: SftpOptions, operation: str) -> Any:
    """The keys that the server may have, as asyncssh takes them. Raises TargetError."""
    import asyncssh

    try:
        if options.known_hosts is not None:
            return asyncssh.read_known_hosts(str(options.known_hosts))
        return [asyncssh.import_public_key(options.host_key or "")], [], []
    except OSError as error:
        raise TargetError(
            f"{operation}: the file {options.known_hosts} cannot be read: {error.strerror}",
            hint="Correct `known_hosts` in the plan, or the file's rights.",
            permanent=True,
        ) from error
    except ValueError as error:
        raise TargetError(
            f"{operation}: the server's key in the plan is not usable ({type(error).__name__})",
            hint="Copy it from the server once more, whole and on one line.",
            permanent=True,
        ) from error


def _client_keys(options: SftpOptions, operation: str) -> list[asyncssh.SSHKey]:
    """Our own private key, if the plan names one. Raises TargetError, SecretError."""
    import asyncssh

    if options.key is None:
        return []
    passphrase = secret_of(options.key_passphrase) if options.key_passphrase else None
    try:
        _refuse_open_to_others(options.key, operation)
        return [asyncssh.read_private_key(str(options.key), passphrase)]
    except OSError as error:
        cause, hint = f"cannot be read: {error.strerror}", "Correct `key` in the plan, or the file's rights."
    except asyncssh.KeyEncryptionError:
        cause, hint = "does not open with that passphrase", "Correct `key_passphrase`."
    except asyncssh.KeyImportError:
        cause = "is no private key, or needs a passphrase"
        hint = "Name the private key, not the .pub file; set `key_passphrase` if it has one."
    raise TargetError(f"{operation}: the key {options.key} {cause}", hint=hint, permanent=True)


def _refuse_open_to_others(key: Path, operation: str) -> None:
    if os.name == "posix" and stat.S_IMODE(key.stat().st_mode) & 0o077:
        raise TargetError(
            f"{operation}: others can read the private key {key}",
            hint=f'Run: chmod 600 "{key}"',
            permanent=True,
        )
