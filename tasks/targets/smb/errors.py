"""What a share's server, smbprotocol or the network says -> the TargetError branch, with a hint.

Status codes: [MS-ERREF] 2.3.1, NTSTATUS values. A server's own message is never quoted.
"""

from __future__ import annotations

from tasks.errors import DatasaveError, ObjectMissing, TargetError, TargetFull, TargetMissing, TargetReadOnly

_NETWORK = "Look whether the server is running, the network is up, and `server` and `port` are right."

_NO_SHARE = 0xC00000CC
_ABSENT = frozenset({0xC0000034, 0xC000003A, 0xC000000F, 0xC0000225, 0xC0000103, 0xC0000039})
_DENIED = frozenset({0xC0000022, 0xC0000061, 0xC0000121})
_LOGIN = frozenset(
    {0xC000006D, 0xC000006A, 0xC0000064, 0xC000006E, 0xC000006F, 0xC0000070, 0xC0000071, 0xC0000072}
    | {0xC0000193, 0xC0000224, 0xC0000234, 0xC000015B}
)
_BROKEN = frozenset({0xC00000C9, 0xC0000203, 0xC000020C, 0xC000020D, 0xC0000241, 0xC000035C, 0xC0000128})

_Rule = tuple[type[TargetError], bool, str, str]

# Codes, what they become, whether another try is pointless, the cause in plain words, what to do.
_RULES: tuple[tuple[frozenset[int], _Rule], ...] = (
    (
        _LOGIN,
        (
            TargetError,
            True,
            "the server does not let this account in",
            "Correct `user`, `domain` and `password`; look whether the account is locked or its password has "
            "expired.",
        ),
    ),
    (
        frozenset({_NO_SHARE, 0xC00000CB, 0xC00000BE}),
        (
            TargetMissing,
            True,
            "the server has no such share",
            "Correct `share` in the plan, or make the share on the server.",
        ),
    ),
    (
        frozenset({0xC000007F, 0xC0000044, 0xC0000802}),
        (
            TargetFull,
            True,
            "the server's disk is full",
            "Free some space there, or let the plan keep fewer backups.",
        ),
    ),
    (
        frozenset({0xC00000A2}),
        (
            TargetReadOnly,
            True,
            "the server's disk is mounted read-only",
            "Mount it for writing. A disk that turned read-only by itself is often failing.",
        ),
    ),
    (
        frozenset({0xC0000043, 0xC0000054, 0xC0000055, 0xC0000056}),
        (
            TargetError,
            False,
            "another program on the share has it open",
            "Look for a virus scanner, an indexer or another backup that works on the share.",
        ),
    ),
    (
        frozenset({0xC00000A3, 0xC0000013, 0xC000009D, 0xC00000C0, 0xC000026E}),
        (TargetMissing, True, "the disk behind the share is not there", "Look at the server's disk."),
    ),
    (
        frozenset({0xC0000035, 0xC0000033, 0xC000003B, 0xC00000BA, 0xC0000106}),
        (
            TargetError,
            True,
            "the server takes no such name, or has something else of it",
            "Look at the share, and remove what is in the way if it is not needed.",
        ),
    ),
)


def ours() -> tuple[type[BaseException], ...]:
    """What calls to the share raise."""
    from smbprotocol.exceptions import SMBException
    from spnego.exceptions import SpnegoError

    return SMBException, SpnegoError, OSError


def status_of(error: BaseException) -> int:
    """The server's status code, 0 for errors of another sort."""
    code = _code(error)
    # smbclient looks among the domain's shares for one that the server has not, and says what came of that.
    before = error.__cause__ or error.__context__
    while code in _ABSENT and before is not None:
        if _code(before) == _NO_SHARE:
            return _NO_SHARE
        before = before.__cause__ or before.__context__
    return code


def _code(error: BaseException) -> int:
    code = getattr(error, "ntstatus", None) or getattr(error, "status", None) or 0
    return code if isinstance(code, int) else 0


def is_absent(error: BaseException) -> bool:
    """Whether the server says that there is no such file or folder."""
    return status_of(error) in _ABSENT


def breaks(error: BaseException) -> bool:
    """Whether nothing more is to be expected of the connection after ``error``."""
    code = status_of(error)
    return code in _BROKEN or code in _LOGIN or not code


def translate(error: BaseException, operation: str, *, writing: bool, where: str = "") -> TargetError:
    """The error to raise for ``error``; ``writing`` tells a refused write from a refused read."""
    code = status_of(error)
    if not code or code in _BROKEN:
        return _trouble(error, operation)
    for codes, (fault, permanent, cause, hint) in _RULES:
        if code in codes:
            return fault(f"{operation}: {cause}", hint=hint, permanent=permanent)
    if code in _ABSENT:
        if writing:
            return TargetMissing(
                f"{operation}: a folder on the way to {where} is not there",
                hint="Look at the share; correct `path` in the plan, or make the folder that it lies in.",
            )
        return ObjectMissing(
            f"{operation}: there is no such object", hint="`datasave list` shows what is there."
        )
    if code in _DENIED:
        kind = TargetReadOnly if writing else TargetError
        return kind(
            f"{operation}: the server refuses it (access denied)",
            hint="Give the account rights on the share and on that folder.",
            permanent=True,
        )
    return TargetError(
        f"{operation}: the server failed (0x{code:08x})",
        hint="Look the code up under NTSTATUS, and look at the server's disk and log.",
        permanent=False,
    )


def is_permanent(error: BaseException) -> bool:
    """Whether trying again is pointless; an error we do not know is a fault in the program, so yes."""
    if isinstance(error, DatasaveError):
        return error.permanent
    return not isinstance(error, ours()) or translate(error, "", writing=True).permanent


def _trouble(error: BaseException, operation: str) -> TargetError:
    """What never got an answer of the share: no login, no connection, a cut, silence."""
    from smbprotocol.exceptions import SMBAuthenticationError, SMBConnectionClosed, SMBException, SMBOSError
    from spnego.exceptions import SpnegoError

    if isinstance(error, SMBAuthenticationError | SpnegoError):
        return TargetError(
            f"{operation}: the server and we have no way to log in in common",
            hint="Correct `user`, `domain` and `password`, and look which logins the server takes.",
            permanent=True,
        )
    # smbprotocol has no class for these, but says no more of them than what the plan asked for.
    said = str(error) if isinstance(error, SMBException) else ""
    if "encryption is required" in said or "authenticated as a guest" in said:
        return TargetError(
            f"{operation}: the server offers no encryption to this account",
            hint="Switch SMB 3 with encryption on at the server, and give the account a password. Or set "
            "`encrypt: false`: backups are encrypted anyway, but the account's doings can be watched then.",
            permanent=True,
        )
    if isinstance(error, TimeoutError) or said.startswith("Connection timeout"):
        return TargetMissing(f"{operation}: the server does not answer", hint=_NETWORK, permanent=False)
    closed = isinstance(error, SMBException | ConnectionResetError | BrokenPipeError | SMBConnectionClosed)
    if isinstance(error, OSError) and (not closed or (isinstance(error, SMBOSError) and not error.ntstatus)):
        return TargetMissing(f"{operation}: the server cannot be reached", hint=_NETWORK, permanent=False)
    return TargetMissing(
        f"{operation}: the connection broke ({type(error).__name__})", hint=_NETWORK, permanent=False
    )
