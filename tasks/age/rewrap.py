"""Another header on the same payload: who can open a file changes, its encrypted data doesn't.

The file key stays, so whoever once had it, or a copy of the old file, can still read what it protects.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple, cast

from typing_extensions import Buffer

from tasks.age.buffering import Feed, buffered
from tasks.age.header import read_header, serialise
from tasks.age.recipients import Identity, Recipient, unwrap_with, wrap_for


class Rewrapped(NamedTuple):
    """A file under a new header, ``grown`` bytes longer than the old one (below 0: shorter)."""

    stream: BinaryIO
    grown: int


def rewrapped(reader: BinaryIO, identities: Sequence[Identity], recipients: Sequence[Recipient]) -> Rewrapped:
    """An age file (not armored) from ``reader`` with its file key wrapped for ``recipients`` alone.

    The payload passes through as it is, unread: what it holds must be proven some other way. Raises
    HeaderError, HeaderMACError, NoMatchingIdentity, or KeyFormatError where recipients must not be mixed.
    """
    source = buffered(Feed(reader))
    old = read_header(source)
    file_key = unwrap_with(identities, old)
    new = serialise(wrap_for(recipients, file_key), file_key)
    return Rewrapped(cast("BinaryIO", _Joined(new, source)), len(new) - old.length)


class _Joined(io.RawIOBase):
    """A header, then what follows it in another stream."""

    def __init__(self, head: bytes, rest: io.BufferedReader) -> None:
        super().__init__()
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if self._head:
            wanted = len(self._head) if size < 0 else size
            data, self._head = self._head[:wanted], self._head[wanted:]
            return data + self._rest.read() if size < 0 else data
        return self._rest.read(size)

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)
