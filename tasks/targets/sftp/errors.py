"""What an SSH server, asyncssh or the network says -> the TargetError branch, with a hint.

A server's own message is never quoted. OpenSSH's says only "Failure" for most faults of its disk: then the
file system is asked what it is (sftp.py).
"""

from __future__ import annotations

from typing import Literal

from tasks.errors import DatasaveError, ObjectMissing, TargetError, TargetFull, TargetMissing, TargetReadOnly

Disk = Literal["full", "read-only", "unknown"]

_NETWORK = "Look whether the server is running, the network is up, and `host` and `port` are right."
_RIGHTS = "Give the account on the server rights on that folder."
_FULL = "Free some space there, or let the plan keep fewer backups."
_SAFE_WAY = (
    "Ask whoever runs the server whether its key is new, and have them read it out on the server itself "
    "(`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` shows its fingerprint). Only if it is the same, put "
    "the line of that .pub file into {place}. Otherwise do not go on: someone may be in between."
)


class UntrustedError(Exception):
    """The server did not prove that it is the one we know. ``shown`` are fingerprints of its key.

    ``known`` tells whether any key of that server is known to us.
    """

    def __init__(self, shown: list[str], known: bool) -> None:
        super().__init__()
        self.shown = shown
        self.known = known


def ours() -> tuple[type[BaseException], ...]:
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


def translate(
    error: BaseException, operation: str, *, writing: bool, where: str = "", disk: Disk = "unknown"
) -> TargetError:
    """The error to raise for ``error``. ``writing`` tells a refused write from a refused read.

    ``disk`` is what the server's file system says of itself.
    """
    import asyncssh

    if isinstance(error, UntrustedError):
        return _untrusted(error, operation)
    if isinstance(error, asyncssh.SFTPError) and not breaks(error):
        return _refusal(error, operation, writing, where, disk)
    return _trouble(error, operation)


def is_permanent(error: BaseException) -> bool:
    """Whether trying again is pointless; an error we do not know is a fault in the program, so yes."""
    if isinstance(error, DatasaveError):
        return error.permanent
    return not isinstance(error, ours()) or translate(error, "", writing=True).permanent


def _untrusted(error: UntrustedError, operation: str) -> TargetError:
    shown = f" (it shows {', '.join(error.shown)})" if error.shown else ""
    if error.known:
        cause = f"the server's key is not the known one{shown}: it has changed, or this is another server"
    else:
        cause = f"the server's key is unknown{shown}"
    hint = _SAFE_WAY.format(place="`host_key` in the plan, or into the known_hosts file")
    return TargetError(f"{operation}: {cause}", hint=hint, permanent=True)


def _refusal(error: BaseException, operation: str, writing: bool, where: str, disk: Disk) -> TargetError:
    import asyncssh

    full = asyncssh.SFTPNoSpaceOnFilesystem | asyncssh.SFTPQuotaExceeded
    if isinstance(error, full) or (disk == "full" and writing):
        return TargetFull(f"{operation}: the server's disk is full", hint=_FULL)
    if isinstance(error, asyncssh.SFTPWriteProtect) or (disk == "read-only" and writing):
        return TargetReadOnly(
            f"{operation}: the server's disk is mounted read-only",
            hint="Mount it for writing. A disk that turned read-only by itself is often failing.",
        )
    if is_absent(error):
        if writing:
            return TargetMissing(
                f"{operation}: a folder on the way to {where} is not there",
                hint="Look at the server; correct `path` in the plan, or make the folder that it lies in.",
            )
        return ObjectMissing(
            f"{operation}: there is no such object", hint="`datasave list` shows what is there."
        )
    if isinstance(error, asyncssh.SFTPPermissionDenied):
        kind = TargetReadOnly if writing else TargetError
        return kind(f"{operation}: the server refuses it (permission denied)", hint=_RIGHTS, permanent=True)
    return TargetError(
        f"{operation}: the server failed without saying why ({type(error).__name__})",
        hint="Look at the server's disk, at the account's quota, and at the server's log.",
        permanent=False,
    )


def _trouble(error: BaseException, operation: str) -> TargetError:
    """What never got an answer of the SFTP server: no login, no connection, a cut, silence."""
    import asyncssh

    if isinstance(error, asyncssh.PermissionDenied):
        return TargetError(
            f"{operation}: the server does not let this account in",
            hint="Correct `user`, and `key` or `password`; look whether the public key is in the account's "
            "authorized_keys on the server.",
            permanent=True,
        )
    if isinstance(error, asyncssh.ChannelOpenError):
        return TargetError(
            f"{operation}: the server offers no SFTP to this account",
            hint="Switch SFTP on at the server, for this account.",
            permanent=True,
        )
    strange = asyncssh.ProtocolError | asyncssh.ProtocolNotSupported | asyncssh.KeyExchangeFailed
    if isinstance(error, strange):
        return TargetError(
            f"{operation}: what answers is no SSH server that we can talk to ({type(error).__name__})",
            hint=_NETWORK,
            permanent=False,
        )
    if isinstance(error, TimeoutError):
        return TargetMissing(f"{operation}: the server does not answer", hint=_NETWORK, permanent=False)
    if isinstance(error, OSError) and not isinstance(error, ConnectionResetError | BrokenPipeError):
        return TargetMissing(f"{operation}: the server cannot be reached", hint=_NETWORK, permanent=False)
    return TargetMissing(
        f"{operation}: the connection broke ({type(error).__name__})", hint=_NETWORK, permanent=False
    )
