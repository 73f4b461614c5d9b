"""One stage of a pipeline in a thread of its own: hashing, encrypting and writing beside what feeds them.

What such a stage does with a large piece of data (hashlib, cryptography, writing to a file) lets other
threads run meanwhile.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import BinaryIO, cast

from typing_extensions import Buffer

# With pieces of half a MiB 2 MiB a stage; more of them only moves data out of the processor's cache.
_WAITING = 4


@contextmanager
def written_beside(writer: BinaryIO) -> Iterator[BinaryIO]:
    """A stream whose contents a thread of its own writes to ``writer``, piece by piece, in order.

    When the block has ended all is written. What the thread raises is raised here by a later write, or at the
    end of the block; what ``writer`` got is of no use then. ``writer`` is the thread's for the length of the
    block, and must take each piece whole, as buffered files do.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="relay") as thread:
        relay = _Relay(writer, thread)
        yield cast(BinaryIO, relay)
        relay.finish()


class _Relay(io.RawIOBase):
    """Hands pieces to a thread; at most ``_WAITING`` of them wait."""

    def __init__(self, writer: BinaryIO, thread: ThreadPoolExecutor) -> None:
        super().__init__()
        self._writer = writer
        self._thread = thread
        self._waiting: deque[Future[int]] = deque()

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        if len(self._waiting) == _WAITING:
            self._waiting.popleft().result()
        piece = bytes(data)  # the caller may use its buffer again; what is bytes already is not copied
        self._waiting.append(self._thread.submit(self._writer.write, piece))
        return len(piece)

    def finish(self) -> None:
        """Wait until all is written."""
        while self._waiting:
            self._waiting.popleft().result()
