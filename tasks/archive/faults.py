"""Operating system errors in the program's own words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tasks.errors import ArchiveError, Fault
from tasks.platform.system_errors import DENIED, FULL, TOO_LARGE, number_of


def _fault(hint: str) -> Fault[ArchiveError]:
    """The system's own words are the cause; the same again may work once the hint was followed."""
    return Fault(ArchiveError, "", hint, permanent=False)


_FAULTS = {
    **dict.fromkeys(
        FULL | TOO_LARGE,
        _fault("Make room on this disk, or let staging be on a larger one, then run this again."),
    ),
    **dict.fromkeys(DENIED, _fault("Check the rights of the account that Datasave runs under.")),
}
_OTHER = _fault("Check the disk and the connection to it, then run this again.")


@contextmanager
def told_as(operation: str) -> Iterator[None]:
    """Raise an OSError of the block as an ArchiveError; ``operation`` is "cannot …"."""
    try:
        yield
    except OSError as error:
        fault = _FAULTS.get(number_of(error) or 0, _OTHER)
        raise fault.error(operation, error.strerror or str(error)) from error
