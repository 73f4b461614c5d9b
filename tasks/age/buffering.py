"""Whole reads and whole writes on any binary stream: pipes, sockets and raw files return short."""

from __future__ import annotations

import io
from typing import BinaryIO

from typing_extensions import Buffer

from tasks.errors import AgeError

BUFFER = 1 << 18


class Feed(io.RawIOBase):
    """Raw stream over anything with ``read``; ``peek`` shows its beginning without consuming it."""

    def __init__(self, inner: BinaryIO) -> None:
        super().__init__()
        self._inner = inner
        self._start = b""

    def readable(self) -> bool:
        return True

    def peek(self, size: int) -> bytes:
        """The first ``size`` bytes, fewer only where the stream is shorter. Before any read."""
        while len(self._start) < size and (data := self._take(size - len(self._start))):
            self._start += data
        return self._start

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        if self._start:
            data, self._start = self._start[: len(view)], self._start[len(view) :]
        else:
            data = self._take(len(view))
        view[: len(data)] = data
        return len(data)

    def _take(self, size: int) -> bytes:
        data: bytes | None = self._inner.read(size)
        if data is None:
            # Taking "nothing there yet" for the end would silently cut the backup short.
            raise AgeError("cannot read a stream in non-blocking mode", hint="Report this as a fault.")
        return data


def buffered(raw: io.RawIOBase) -> io.BufferedReader:
    """A reader on ``raw`` whose ``read(n)`` is short only at the end of the stream."""
    return io.BufferedReader(raw, BUFFER)


def write_all(writer: BinaryIO, data: memoryview | bytes) -> None:
    """Write all of ``data``; a raw file or a pipe may take only a part at a time."""
    view = memoryview(data)
    while view:
        written: int | None = writer.write(view)
        if not written:
            raise AgeError("cannot write to a stream that takes no data", hint="Report this as a fault.")
        view = view[written:]
