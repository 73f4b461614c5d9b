"""Reading exactly as many bytes as were announced, for every adapter's put."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from tasks.errors import TargetError
from tasks.platform.files import BLOCK

_CHANGED = "The file changed while it was being sent. Run the backup again."


def exactly(reader: BinaryIO, size: int, operation: str) -> Iterator[bytes]:
    """Blocks of at most 1 MiB that add up to ``size`` bytes, after which the reader must be at its end.

    Raises TargetError, begun with ``operation``, where the reader ends early or goes on; what the reader
    itself raises passes through as it is, because it says nothing about the target.
    """
    done = 0
    while done < size:
        block = reader.read(min(BLOCK, size - done))
        if not block:
            raise TargetError(
                f"{operation}: the data ended after {done} of {size} bytes", hint=_CHANGED, permanent=True
            )
        done += len(block)
        yield block
    if reader.read(1):
        raise TargetError(f"{operation}: the data goes on past {size} bytes", hint=_CHANGED, permanent=True)
