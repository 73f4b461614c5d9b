"""One zstandard frame, read strictly (RFC 8878, section 3.1.1).

The usual readers take a frame that was cut short for a short one, and pass over what follows its end. So
the frame is taken apart here, block by block; only what is inside a block is the library's. A block
decompresses to at most 128 KiB, which bounds memory whatever a hostile frame promises.
"""

from __future__ import annotations

from typing import BinaryIO

import zstandard

from tasks.archive.faults import told_as
from tasks.errors import ArchiveError, UnsafeArchive

# What stock `zstd -d` allows too. Level 19 needs 8 MiB.
LARGEST_WINDOW = 1 << 27
# What a block decompresses to at most.
LARGEST_BLOCK = 1 << 17

_READ_BYTES = 1 << 20
_MAGIC = b"\x28\xb5\x2f\xfd"
_RUN = 1
_RESERVED = 3
_CHECKSUM_BYTES = 4


class FrameReader:
    """The decompressed contents of a stream that holds one frame and nothing else."""

    def __init__(self, stream: BinaryIO) -> None:
        """Reads the frame's header; raises ArchiveError where it is none that our writer could have left."""
        self._input = _Input(stream)
        self._ready = memoryview(b"")
        self._ended = False
        header = _read_header(self._input)
        self._engine = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW).decompressobj()
        self._decompress(header)

    def piece(self, most: int) -> memoryview:
        """The next bytes, at least one and at most ``most``; none only after the frame proved whole."""
        while not self._ready and not self._ended:
            self._next_block()
        piece, self._ready = self._ready[:most], self._ready[most:]
        return piece

    def exactly(self, size: int) -> bytes:
        """The next ``size`` bytes; raises ArchiveError where the contents end before."""
        if size <= len(self._ready):
            whole, self._ready = bytes(self._ready[:size]), self._ready[size:]
            return whole
        data = bytearray()
        while len(data) < size:
            piece = self.piece(size - len(data))
            if not piece:
                raise damaged("its contents end too early")
            data += piece
        return bytes(data)

    def _next_block(self) -> None:
        header = self._input.exactly(3)
        bits = int.from_bytes(header, "little")
        last, kind, size = bits & 1, bits >> 1 & 3, bits >> 3
        if kind == _RESERVED or size > LARGEST_BLOCK:
            raise damaged("a block's header makes no sense")
        self._ready = self._decompress(header + self._input.exactly(1 if kind == _RUN else size))
        if last:
            self._finish()

    def _finish(self) -> None:
        rest = self._decompress(self._input.exactly(_CHECKSUM_BYTES))
        if rest or not self._engine.eof:
            raise damaged("its last block is not its end")
        if not self._input.at_end():
            raise damaged("something follows its end")
        self._ended = True

    def _decompress(self, data: bytes) -> memoryview:
        try:
            return memoryview(self._engine.decompress(data))
        except zstandard.ZstdError as error:
            raise damaged(str(error)) from error


class _Input:
    """Exact reads on any binary stream."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._held = b""
        self._start = 0

    def exactly(self, size: int) -> bytes:
        while len(self._held) - self._start < size:
            data = self._read()
            if not data:
                raise damaged("it was cut short")
            self._held = self._held[self._start :] + data
            self._start = 0
        self._start += size
        return self._held[self._start - size : self._start]

    def at_end(self) -> bool:
        return self._start == len(self._held) and not self._read()

    def _read(self) -> bytes:
        with told_as("cannot read the archive"):
            return self._stream.read(_READ_BYTES)


def damaged(cause: str) -> ArchiveError:
    """The error for an archive whose bytes are not what a writer left."""
    return ArchiveError(
        f"cannot read the archive: {cause}",
        hint="It is damaged. Do not use what was extracted so far. Use another copy of this backup.",
    )


def _read_header(source: _Input) -> bytes:
    header = source.exactly(len(_MAGIC) + 1)
    if not header.startswith(_MAGIC):
        raise ArchiveError(
            "cannot read the archive: it is not zstandard-compressed",
            hint="Check that this is a .tar.zst file, decrypted if it ended in .age.",
        )
    try:
        header += source.exactly(zstandard.frame_header_size(header) - len(header))
        parameters = zstandard.get_frame_parameters(header)
    except zstandard.ZstdError as error:
        raise damaged(str(error)) from error
    if parameters.dict_id or not parameters.has_checksum:
        raise ArchiveError(
            "cannot read the archive: it has no checksum, or needs a dictionary",
            hint="Extract it with the program that made it.",
        )
    if parameters.window_size > LARGEST_WINDOW:
        raise UnsafeArchive(
            f"cannot read the archive: it asks for {parameters.window_size:,} bytes of memory",
            hint="It is damaged, or was made to exhaust this machine. Use another copy of this backup.",
        )
    return header
