"""Operating system errors in the program's own words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.errors import ArchiveError

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_DENIED = {errno.EACCES, errno.EPERM}


@contextmanager
def told_as(operation: str) -> Iterator[None]:
    """Raise an OSError of the block as an ArchiveError; ``operation`` is "cannot …"."""
    try:
        yield
    except OSError as error:
        cause = error.strerror or str(error)
        raise ArchiveError(f"{operation}: {cause}", hint=_hint(error), permanent=False) from error


def _hint(error: OSError) -> str:
    if error.errno in _FULL:
        return "Make room on this disk, or let staging be on a larger one, then run this again."
    if error.errno in _DENIED:
        return "Check the rights of the account that Datasave runs under."
    return "Check the disk and the connection to it, then run this again."
