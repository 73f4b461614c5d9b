"""The connection to a share: one for a target, apart from smbclient's pool, which all of a process share.

smbclient waits without end for a server that fell silent. So each call is watched: after the plan's timeout
the socket is shut under it, and it ends.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from tasks.platform.secrets import secret_of
from tasks.targets.smb.errors import breaks
from tasks.targets.smb.options import SmbOptions

T = TypeVar("T")

_FAREWELL_SECONDS = 5


class Connection:
    """Calls of smbclient, one at a time: it counts a server's credits without regard for other threads.

    Connects when first needed, and again after the connection broke.
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
