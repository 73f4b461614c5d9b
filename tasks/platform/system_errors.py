"""The operating system's error numbers, named once: which mean a full disk, which a lacking right.

What they mean for a target or an archive, and what to do then, stands in the tables there
(tasks/targets/shared/errors.py, tasks/archive/faults.py).
"""

from __future__ import annotations

import errno

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


def numbers(*names: str) -> frozenset[int]:
    """The numbers of those errno names that this system has."""
    return frozenset(getattr(errno, name) for name in names if hasattr(errno, name))


def number_of(error: OSError) -> int | None:
    """The errno of an error; on Windows the one that its own code stands for."""
    return _WINDOWS.get(getattr(error, "winerror", None) or 0, error.errno)


FULL = numbers("ENOSPC", "EDQUOT")
TOO_LARGE = numbers("EFBIG")
DENIED = numbers("EACCES", "EPERM")
ABSENT = numbers("ENOENT", "ENOTDIR")


# What programs of Windows end with when it ends them. Source: [MS-ERREF] 2.3.1, NTSTATUS values.
_CRASHES = {
    0xC0000005: "it reached for memory that is not its own",
    0xC000001D: "this processor lacks an instruction that it uses",
    0xC0000017: "there was not enough memory",
    0xC00000FD: "its stack overflowed",
    0xC0000135: "a DLL that it needs is not on this machine",
    0xC0000139: "a DLL that it needs is of another version",
    0xC000013A: "Ctrl-C, a log-out or a shutdown ended it",
    0xC0000142: "a DLL that it needs could not start",
    0xC0000374: "it damaged its own memory",
    0xC0000409: "it stopped itself after an overrun of its memory",
}


def ended_by_system(code: int) -> str:
    """What ended a program that did not end by itself, by its exit status; an empty text where it did."""
    if code >= 0xC0000000:
        return f"{_CRASHES.get(code, 'Windows ended it')} (0x{code:08X})"
    return f"signal {code - 128} ended it" if 128 < code < 256 else ""
