"""What an SSH server, asyncssh or the network says -> the TargetError branch, with a hint.

A server's own message is never quoted. OpenSSH's says only "Failure" for most faults of its disk: then the
file system is asked what it is (target.py).
"""

from __future__ import annotations

from typing import Literal

from tasks.errors import TargetError, TargetMissing
from tasks.targets.shared.errors import (
    NO_OBJECT,
    SERVER_FULL,
    SERVER_READ_ONLY,
    TargetFault,
    no_folder,
    refused,
)

Disk = Literal["full", "read-only", "unknown"]

_NETWORK = "Look whether the server is running, the network is up, and `host` and `port` are right."
_SAFE_WAY = (
    "Ask whoever runs the server whether its key is new, and have them read it out on the server itself "
    "(`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` shows its fingerprint). Only if it is the same, put "
    "the line of that .pub file into `host_key` in the plan, or into the known_hosts file. Otherwise do not "
    "go on: someone may be in between."
)
_FAILED = TargetFault(
    TargetError,
    "the server failed without saying why",
    "Look at the server's disk, at the account's quota, and at the server's log.",
    permanent=False,
)
_NO_LOGIN = TargetFault(
    TargetError,
    "the server does not let this account in",
    "Correct `user`, and `key` or `password`; look whether the public key is in the account's "
    "authorized_keys on the server.",
)
_NO_SFTP = TargetFault(
    TargetError,
    "the server offers no SFTP to this account",
    "Switch SFTP on at the server, for this account.",
)
_STRANGE = TargetFault(
    TargetError, "what answers is no SSH server that we can talk to", _NETWORK, permanent=False
)
_SILENT = TargetFault(TargetMissing, "the server does not answer", _NETWORK, permanent=False)
_UNREACHABLE = TargetFault(TargetMissing, "the server cannot be reached", _NETWORK, permanent=False)
_BROKEN = TargetFault(TargetMissing, "the connection broke", _NETWORK, permanent=False)
# Their messages name the error's class: there is nothing else to go by.
_NAMED = (_FAILED, _STRANGE, _BROKEN)


class UntrustedError(Exception):
    """The server did not prove that it is the one we know. ``shown`` are fingerprints of its key.

    ``known`` tells whether any key of that server is known to us.
    """

    def __init__(self, shown: list[str], known: bool) -> None:
        super().__init__()
        self.shown = shown
        self.known = known


def raised() -> tuple[type[BaseException], ...]:
    """What calls to the server raise."""
    import asyncssh

    return asyncssh.Error, asyncssh.ChannelListenError, UntrustedError, OSError


def breaks(error: BaseException) -> bool:
    """Whether nothing more is to be expected of the connection after ``error``."""
    import asyncssh

    lost = asyncssh.SFTPConnectionLost | asyncssh.SFTPNoConnection | asyncssh.SFTPBadMessage
    if isinstance(error, asyncssh.SFTPError):
        return isinstance(error, lost)
    return isinstance(error, asyncssh.Error | OSError)


def is_absent(error: BaseException) -> bool:
    """Whether the server says that there is no such file or folder."""
    import asyncssh

    return isinstance(error, asyncssh.SFTPNoSuchFile | asyncssh.SFTPNoSuchPath | asyncssh.SFTPNotADirectory)


def translate(error: BaseException, operation: str, *, writing: bool, where: str, disk: Disk) -> TargetError:
    """The error to raise for ``error``, as Translator.translate says.

    ``where`` is the folder in messages, ``disk`` what the server's file system says of itself.
    """
    import asyncssh

    if isinstance(error, UntrustedError):
        return _untrusted(error).error(operation)
    if isinstance(error, asyncssh.SFTPError) and not breaks(error):
        fault = _refusal(error, writing, where, disk)
    else:
        fault = _unanswered(error)
    return fault.error(operation, f" ({type(error).__name__})" if fault in _NAMED else "")


def _untrusted(error: UntrustedError) -> TargetFault:
    shown = f" (it shows {', '.join(error.shown)})" if error.shown else ""
    if error.known:
        cause = f"the server's key is not the known one{shown}: it has changed, or this is another server"
    else:
        cause = f"the server's key is unknown{shown}"
    return TargetFault(TargetError, cause, _SAFE_WAY)


def _refusal(error: BaseException, writing: bool, where: str, disk: Disk) -> TargetFault:
    import asyncssh

    full = asyncssh.SFTPNoSpaceOnFilesystem | asyncssh.SFTPQuotaExceeded
    if isinstance(error, full) or (disk == "full" and writing):
        return SERVER_FULL
    if isinstance(error, asyncssh.SFTPWriteProtect) or (disk == "read-only" and writing):
        return SERVER_READ_ONLY
    if is_absent(error):
        return no_folder(where, "server") if writing else NO_OBJECT
    if isinstance(error, asyncssh.SFTPPermissionDenied):
        cause = "the server refuses it (permission denied)"
        return refused(cause, "Give the account on the server rights on that folder.", writing=writing)
    return _FAILED


def _unanswered(error: BaseException) -> TargetFault:
    """What never got an answer of the SFTP server: no login, no connection, a cut, silence."""
    import asyncssh

    if isinstance(error, asyncssh.PermissionDenied):
        return _NO_LOGIN
    if isinstance(error, asyncssh.ChannelOpenError):
        return _NO_SFTP
    strange = asyncssh.ProtocolError | asyncssh.ProtocolNotSupported | asyncssh.KeyExchangeFailed
    if isinstance(error, strange):
        return _STRANGE
    if isinstance(error, TimeoutError):
        return _SILENT
    if isinstance(error, OSError) and not isinstance(error, ConnectionResetError | BrokenPipeError):
        return _UNREACHABLE
    return _BROKEN
