"""From what a driver raises to the TargetError branch: the frame for every adapter, and the system's table.

A table says what a code means (tasks.errors.Fault);
a Translator says which table answers for which error. Each service's is in its errors.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from tasks.errors import (
    DatasaveError,
    Fault,
    ObjectMissing,
    TargetError,
    TargetFull,
    TargetMissing,
    TargetReadOnly,
)
from tasks.platform.system_errors import ABSENT, DENIED, FULL, TOO_LARGE, number_of, numbers

Code = TypeVar("Code", int, str)

# One row of a table: error, cause, hint, whether another try is pointless.
TargetFault = Fault[TargetError]

_FEWER = "Free some space there, or let the plan keep fewer backups."
_LIST = "`datasave list` shows what is there."

NO_OBJECT = TargetFault(ObjectMissing, "there is no such object", _LIST)
NO_FILE = TargetFault(ObjectMissing, "it is no regular file", _LIST)
HANGS = TargetFault(
    TargetMissing,
    "",
    "The system itself waits for the drive or the server there: look at it, and at its cable or the network. "
    "When it answers again, `datasave retry` does what is missing.",
)
SERVER_FULL = TargetFault(TargetFull, "the server's disk is full", _FEWER)
SERVER_READ_ONLY = TargetFault(
    TargetReadOnly,
    "the server's disk is mounted read-only",
    "Mount it for writing. A disk that turned read-only by itself is often failing.",
)


def no_folder(where: str, what: str) -> TargetFault:
    """What an absent path means under a write; ``what`` is to be looked at: the server, the share."""
    return TargetFault(
        TargetMissing,
        f"a folder on the way to {where} is not there",
        f"Look at the {what}; correct `path` in the plan, or make the folder that it lies in.",
    )


def refused(cause: str, hint: str, *, writing: bool) -> TargetFault:
    """What a lacking right means: a place that cannot be written to, or one that cannot be read."""
    return TargetFault(TargetReadOnly if writing else TargetError, cause, hint)


def by_code(*rows: tuple[Iterable[Code], TargetFault]) -> Mapping[Code, TargetFault]:
    """A table, from rows of all codes that mean the same."""
    return {code: fault for codes, fault in rows for code in codes}


class Translator(ABC):
    """What the errors of one driver mean."""

    @abstractmethod
    def raised(self) -> tuple[type[BaseException], ...]:
        """What calls of the driver raise. Drivers are slow to load: imported when asked for."""

    @abstractmethod
    def translate(self, error: BaseException, operation: str, *, writing: bool = False) -> TargetError:
        """The error to raise for one of those; its message begins with ``operation`` ("cannot store …").

        ``writing`` tells a refused write (TargetReadOnly) from a refused read, and an absent object
        (ObjectMissing) from a folder that vanished under a write.
        """

    def is_permanent(self, error: BaseException) -> bool:
        """Whether trying again is pointless; an error we do not know is a fault in the program, so yes."""
        if isinstance(error, DatasaveError):
            return error.permanent
        return not isinstance(error, self.raised()) or self.translate(error, "", writing=True).permanent

    @contextmanager
    def translated(self, operation: str, *, writing: bool = False) -> Iterator[None]:
        """Turn what the driver raises in the block into TargetErrors that begin with ``operation``."""
        try:
            yield
        except self.raised() as error:
            raise self.translate(error, operation, writing=writing) from error


def _system(kind: type[TargetError], hint: str, *, permanent: bool = True) -> TargetFault:
    """The cause is what the system itself says."""
    return TargetFault(kind, "", hint, permanent)


_SYSTEM = by_code(
    (FULL, _system(TargetFull, _FEWER)),
    (
        numbers("EROFS"),
        _system(
            TargetReadOnly, "Mount it for writing. A drive that turned read-only by itself is often failing."
        ),
    ),
    (
        numbers("ENODEV", "ENXIO", "ENOMEDIUM"),
        _system(TargetMissing, "Plug the drive in again and mount it."),
    ),
    (
        numbers(
            *("ESTALE", "ENOTCONN", "ECONNRESET", "ECONNABORTED", "ETIMEDOUT", "EHOSTDOWN"),
            *("EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENETRESET", "EREMOTEIO"),
        ),
        _system(
            TargetMissing,
            "Look whether the server is running and the network is up, then mount the share again.",
            permanent=False,
        ),
    ),
    (
        numbers("EIO"),
        _system(
            TargetError,
            "The drive was unplugged or is failing. Check its cable, then its health.",
            permanent=False,
        ),
    ),
    (
        TOO_LARGE,
        _system(
            TargetError, "A FAT32 drive takes no file of 4 GiB or more: format it as exFAT, NTFS or ext4."
        ),
    ),
    (
        numbers("EEXIST", "ENOTDIR", "EISDIR", "ELOOP", "EINVAL", "ENAMETOOLONG", "EILSEQ", "ENOTSUP"),
        _system(TargetError, "Something else has that name there, or its file system takes no such name."),
    ),
)
_UNKNOWN = _system(
    TargetError, "Run it again. If that does not help, look at the drive or the share.", permanent=False
)
_RIGHTS = "Give the user who runs the backup rights on that folder."


class SystemErrors(Translator):
    """What the operating system says about a file."""

    def raised(self) -> tuple[type[BaseException], ...]:
        return (OSError,)

    def translate(self, error: BaseException, operation: str, *, writing: bool = False) -> TargetError:
        code = number_of(error) if isinstance(error, OSError) else None
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if code in ABSENT and not writing:
            fault = _system(ObjectMissing, _LIST)
        elif code in DENIED:
            fault = refused("", _RIGHTS, writing=writing)
        else:
            fault = _SYSTEM.get(code or 0, _UNKNOWN)
        return fault.error(operation, said)


SYSTEM_ERRORS = SystemErrors()
translate, is_permanent = SYSTEM_ERRORS.translate, SYSTEM_ERRORS.is_permanent
