"""What a share's server, smbprotocol or the network says -> the TargetError branch, with a hint.

Status codes: [MS-ERREF] 2.3.1, NTSTATUS values. A server's own message is never quoted.
"""

from __future__ import annotations

from tasks.errors import TargetError, TargetMissing
from tasks.targets.shared.errors import (
    NO_OBJECT,
    SERVER_FULL,
    SERVER_READ_ONLY,
    TargetFault,
    by_code,
    no_folder,
    refused,
)

_NETWORK = "Look whether the server is running, the network is up, and `server` and `port` are right."

_NO_SHARE = 0xC00000CC
_ABSENT = frozenset({0xC0000034, 0xC000003A, 0xC000000F, 0xC0000225, 0xC0000103, 0xC0000039})
_DENIED = frozenset({0xC0000022, 0xC0000061, 0xC0000121})
_LOGIN = frozenset(
    {0xC000006D, 0xC000006A, 0xC0000064, 0xC000006E, 0xC000006F, 0xC0000070, 0xC0000071, 0xC0000072}
    | {0xC0000193, 0xC0000224, 0xC0000234, 0xC000015B}
)
_BROKEN_CODES = frozenset(
    {0xC00000C9, 0xC0000203, 0xC000020C, 0xC000020D, 0xC0000241, 0xC000035C, 0xC0000128}
)

_CODES = by_code(
    (
        _LOGIN,
        TargetFault(
            TargetError,
            "the server does not let this account in",
            "Correct `user`, `domain` and `password`; look whether the account is locked or its password has "
            "expired.",
        ),
    ),
    (
        {_NO_SHARE, 0xC00000CB, 0xC00000BE},
        TargetFault(
            TargetMissing,
            "the server has no such share",
            "Correct `share` in the plan, or make the share on the server.",
        ),
    ),
    ({0xC000007F, 0xC0000044, 0xC0000802}, SERVER_FULL),
    ({0xC00000A2}, SERVER_READ_ONLY),
    (
        {0xC0000043, 0xC0000054, 0xC0000055, 0xC0000056},
        TargetFault(
            TargetError,
            "another program on the share has it open",
            "Look for a virus scanner, an indexer or another backup that works on the share.",
            permanent=False,
        ),
    ),
    (
        {0xC00000A3, 0xC0000013, 0xC000009D, 0xC00000C0, 0xC000026E},
        TargetFault(TargetMissing, "the disk behind the share is not there", "Look at the server's disk."),
    ),
    (
        {0xC0000035, 0xC0000033, 0xC000003B, 0xC00000BA, 0xC0000106},
        TargetFault(
            TargetError,
            "the server takes no such name, or has something else of it",
            "Look at the share, and remove what is in the way if it is not needed.",
        ),
    ),
)
_NO_LOGIN = TargetFault(
    TargetError,
    "the server accepts none of the login methods that we offer",
    "Correct `user`, `domain` and `password`, and look which logins the server takes.",
)
_NO_ENCRYPTION = TargetFault(
    TargetError,
    "the server offers no encryption to this account",
    "Switch SMB 3 with encryption on at the server, and give the account a password. Or set "
    "`encrypt: false`: backups are encrypted anyway, but what the account does can be watched then.",
)
_SILENT = TargetFault(TargetMissing, "the server does not answer", _NETWORK, permanent=False)
_UNREACHABLE = TargetFault(TargetMissing, "the server cannot be reached", _NETWORK, permanent=False)
_BROKEN = TargetFault(TargetMissing, "the connection broke", _NETWORK, permanent=False)
_FAILED = TargetFault(
    TargetError,
    "the server failed",
    "Look the code up under NTSTATUS, and look at the server's disk and log.",
    permanent=False,
)


def raised() -> tuple[type[BaseException], ...]:
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
    return code in _BROKEN_CODES or code in _LOGIN or not code


def translate(error: BaseException, operation: str, *, writing: bool, where: str) -> TargetError:
    """The error to raise for ``error``, as Translator.translate says; ``where`` is the folder in messages."""
    code = status_of(error)
    if not code or code in _BROKEN_CODES:
        fault = _unanswered(error)
        return fault.error(operation, f" ({type(error).__name__})" if fault is _BROKEN else "")
    fault = _refusal(code, writing, where)
    return fault.error(operation, f" (0x{code:08x})" if fault is _FAILED else "")


def _refusal(code: int, writing: bool, where: str) -> TargetFault:
    if code in _ABSENT:
        return no_folder(where, "share") if writing else NO_OBJECT
    if code in _DENIED:
        cause = "the server refuses it (access denied)"
        hint = "Give the account rights on the share and on that folder."
        return refused(cause, hint, writing=writing)
    return _CODES.get(code, _FAILED)


def _unanswered(error: BaseException) -> TargetFault:
    """What never got an answer of the share: no login, no connection, a cut, silence."""
    from smbprotocol.exceptions import SMBAuthenticationError, SMBConnectionClosed, SMBException, SMBOSError
    from spnego.exceptions import SpnegoError

    if isinstance(error, SMBAuthenticationError | SpnegoError):
        return _NO_LOGIN
    # smbprotocol has no class for these, but says no more of them than what the plan asked for.
    said = str(error) if isinstance(error, SMBException) else ""
    if "encryption is required" in said or "authenticated as a guest" in said:
        return _NO_ENCRYPTION
    if isinstance(error, TimeoutError) or said.startswith("Connection timeout"):
        return _SILENT
    closed = isinstance(error, SMBException | ConnectionResetError | BrokenPipeError | SMBConnectionClosed)
    if isinstance(error, OSError) and (not closed or (isinstance(error, SMBOSError) and not error.ntstatus)):
        return _UNREACHABLE
    return _BROKEN
