"""What is sent of an archive: its parts one by one, each a stream that keeps to the bandwidth."""

from __future__ import annotations

import hashlib
import io
import threading
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from tasks.targets.s3.options import MIB, MOST_PARTS
from tasks.targets.shared.throttle import Throttle
from tasks.targets.shared.transfer import exactly


class StoppedError(BaseException):
    """Sending was given up elsewhere. No Exception: botocore would take it for a network fault and retry."""


class Body(io.RawIOBase):
    """The bytes of one request. A stream, because bytes would be sent in a single call with one timeout
    for all of it: on a slow line each part would time out for ever.
    """

    def __init__(self, data: bytes | bytearray, throttle: Throttle, stopped: threading.Event) -> None:
        super().__init__()
        self._view = memoryview(data)
        self._throttle = throttle
        self._stopped = stopped
        self._position = 0
        self.on_the_wire = True

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._view)}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        end = len(self._view) if size < 0 else self._position + size
        data = bytes(self._view[self._position : end])
        if self.on_the_wire:
            if self._stopped.is_set():
                raise StoppedError
            self._throttle.take(len(data), self._stopped)
        self._position += len(data)
        return data


def count_only_what_is_sent(client: Any) -> None:
    """Let a client's bodies know when botocore reads them to sign a request and when to send it."""

    def switch(*, on: bool) -> Any:
        def handler(request: Any, **_: object) -> None:
            if isinstance(request.body, Body):
                request.body.on_the_wire = on

        return handler

    events = client.meta.events
    events.register_first("request-created.s3", switch(on=False))
    events.register_last("request-created.s3", switch(on=True))


@dataclass
class Part:
    """One part of an object, numbered from 1, and its MD5."""

    number: int
    data: bytearray
    md5: bytes

    @property
    def sha256(self) -> bytes:
        """Computed when it is asked for: only services with Amazon's newer checksums want it."""
        return hashlib.sha256(self.data).digest()

    @property
    def etag(self) -> str:
        """The ETag a service gives it where it does not encrypt with keys of its own."""
        return self.md5.hex()


def part_bytes(size: int, wanted: int) -> int:
    """Size of the parts of an object of ``size`` bytes: ``wanted`` MiB, or more where 10,000 are too few."""
    smallest = -(-size // MOST_PARTS)
    return max(wanted * MIB, -(-smallest // MIB) * MIB)


def parts(
    reader: BinaryIO, size: int, each: int, operation: str, allowance: threading.Semaphore
) -> Iterator[Part]:
    """The parts of exactly ``size`` bytes, ``each`` long but the last; one is begun when ``allowance`` lets.

    Raises TargetError as transfer.exactly does.
    """
    number, filled = 1, 0
    data = _buffer(size, each, allowance)
    for block in exactly(reader, size, operation):
        rest = memoryview(block)
        while rest:
            if filled == len(data):
                yield _part(number, data)
                number, filled = number + 1, 0
                data = bytearray()  # let go of the old one before there is another
                data = _buffer(size - (number - 1) * each, each, allowance)
            taken = rest[: len(data) - filled]
            data[filled : filled + len(taken)] = taken
            filled += len(taken)
            rest = rest[len(taken) :]
    yield _part(number, data)


def _buffer(left: int, each: int, allowance: threading.Semaphore) -> bytearray:
    allowance.acquire()
    return bytearray(min(left, each))


def _part(number: int, data: bytearray) -> Part:
    return Part(number, data, hashlib.md5(data, usedforsecurity=False).digest())


def multipart_etag(digests: list[bytes]) -> str:
    """The ETag of an object made of parts with these MD5 digests: of all services that imitate Amazon."""
    joined = hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest()
    return f"{joined}-{len(digests)}"


def text64(digest: bytes) -> str:
    """A digest as headers want it."""
    return b64encode(digest).decode("ascii")
