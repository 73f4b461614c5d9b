"""The connection to an SSH server: one for a target, on an event loop in a thread of its own.

The seam is synchronous and asyncssh is not: calls are handed to that thread and waited for, each for as long
as the plan's timeout lets it. Nothing of the user's own SSH settings, keys or agent is used: a backup must
not depend on who happens to be logged in.
"""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tasks.errors import TargetError
from tasks.platform.secrets import secret_of
from tasks.targets.sftp.errors import UntrustedError, breaks
from tasks.targets.sftp.options import SftpOptions

if TYPE_CHECKING:
    import asyncssh

T = TypeVar("T")

# Keep-alives in a row without an answer, after which the connection counts as broken.
_KEEPALIVES = 2
_FAREWELL_SECONDS = 5
# Added behind the kinds of the known keys: a server with another kind shows it, so that we can say which.
_HOST_KEYS = "+ssh-ed25519,ecdsa-sha2-*,rsa-sha2-*"


class Connection:
    """Connects when first needed, and again after the connection broke. Safe to use from several threads."""

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
            session = self._session()
        return self.wait(self.submit(make(session)))

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

    def _session(self) -> asyncssh.SFTPClient:
        if self._sftp is None:
            operation = f"cannot connect to {self._target}"
            trust, keys = known_hosts(self._options, operation), client_keys(self._options, operation)
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


def known_hosts(options: SftpOptions, operation: str) -> Any:
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


def client_keys(options: SftpOptions, operation: str) -> list[asyncssh.SSHKey]:
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
