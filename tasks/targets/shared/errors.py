"""What the operating system says about a file -> the TargetError branch, with a hint."""

from __future__ import annotations

import errno

from tasks.errors import DatasaveError, ObjectMissing, TargetError, TargetFull, TargetMissing, TargetReadOnly


def _codes(*names: str) -> frozenset[int]:
    """The numbers of those errno names that this system has."""
    return frozenset(getattr(errno, name) for name in names if hasattr(errno, name))


_ABSENT = _codes("ENOENT", "ENOTDIR")
_REFUSED = _codes("EACCES", "EPERM")

# Codes, what they become, whether another try is pointless, what to do.
_RULES: tuple[tuple[frozenset[int], type[TargetError], bool, str], ...] = (
    (
        _codes("ENOSPC", "EDQUOT"),
        TargetFull,
        True,
        "Free some space there, or let the plan keep fewer backups.",
    ),
    (
        _codes("EROFS"),
        TargetReadOnly,
        True,
        "Mount it for writing. A drive that turned read-only by itself is often failing.",
    ),
    (
        _codes("ENODEV", "ENXIO", "ENOMEDIUM"),
        TargetMissing,
        True,
        "Plug the drive in again and mount it.",
    ),
    (
        _codes(
            *("ESTALE", "ENOTCONN", "ECONNRESET", "ECONNABORTED", "ETIMEDOUT", "EHOSTDOWN"),
            *("EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENETRESET", "EREMOTEIO"),
        ),
        TargetMissing,
        False,
        "Look whether the server is running and the network is up, then mount the share again.",
    ),
    (
        _codes("EIO"),
        TargetError,
        False,
        "The drive was unplugged or is failing. Check its cable, then its health.",
    ),
    (
        _codes("EFBIG"),
        TargetError,
        True,
        "A FAT32 drive takes no file of 4 GiB or more: format it as exFAT, NTFS or ext4.",
    ),
    (
        _codes("EEXIST", "ENOTDIR", "EISDIR", "ELOOP", "EINVAL", "ENAMETOOLONG", "EILSEQ", "ENOTSUP"),
        TargetError,
        True,
        "Something else has that name there, or its file system takes no such name.",
    ),
)

# Python maps most Windows codes to EACCES, ENOENT or EINVAL, which would say the wrong thing here.
# Source: Microsoft, System Error Codes.
_WINDOWS = {
    19: errno.EROFS,  # ERROR_WRITE_PROTECT
    21: errno.ENODEV,  # ERROR_NOT_READY
    32: errno.EBUSY,  # ERROR_SHARING_VIOLATION
    33: errno.EBUSY,  # ERROR_LOCK_VIOLATION
    39: errno.ENOSPC,  # ERROR_HANDLE_DISK_FULL
    53: errno.EHOSTUNREACH,  # ERROR_BAD_NETPATH
    55: errno.ENODEV,  # ERROR_DEV_NOT_EXIST
    59: errno.ENETRESET,  # ERROR_UNEXP_NET_ERR
    64: errno.ENETRESET,  # ERROR_NETNAME_DELETED
    67: errno.ENODEV,  # ERROR_BAD_NET_NAME
    112: errno.ENOSPC,  # ERROR_DISK_FULL
    121: errno.ETIMEDOUT,  # ERROR_SEM_TIMEOUT
    223: errno.EFBIG,  # ERROR_FILE_TOO_LARGE
    1117: errno.EIO,  # ERROR_IO_DEVICE
    1167: errno.ENODEV,  # ERROR_DEVICE_NOT_CONNECTED
    1231: errno.ENETUNREACH,  # ERROR_NETWORK_UNREACHABLE
}


def translate(error: OSError, operation: str, *, writing: bool) -> TargetError:
    """The error to raise for ``error``; its message is ``operation`` ("cannot store x on nas") and the cause.

    ``writing`` tells a refused write (TargetReadOnly) from a refused read, and an absent object
    (ObjectMissing) from a folder that vanished under a write.
    """
    message = f"{operation}: {error.strerror or str(error) or type(error).__name__}"
    code = _WINDOWS.get(getattr(error, "winerror", None) or 0, error.errno)
    if code in _ABSENT and not writing:
        return ObjectMissing(message, hint="`datasave list` shows what is there.")
    if code in _REFUSED:
        kind = TargetReadOnly if writing else TargetError
        return kind(message, hint="Give the user who runs the backup rights on that folder.", permanent=True)
    for codes, fault, permanent, hint in _RULES:
        if code in codes:
            return fault(message, hint=hint, permanent=permanent)
    return TargetError(message, hint="Run it again. If that does not help, look at the drive or the share.")


def is_permanent(error: BaseException) -> bool:
    """Whether trying again is pointless; an error we do not know is a fault in the program, so yes."""
    if isinstance(error, DatasaveError):
        return error.permanent
    if isinstance(error, OSError):
        return translate(error, "", writing=True).permanent
    return True
