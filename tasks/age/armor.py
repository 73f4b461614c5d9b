"""The ASCII form of an age file: strict PEM with 64 columns (RFC 7468 section 3; C2SP age.md, "ASCII armor").

Blank lines before the whole, white space after it (less than 1024 bytes each) and CRLF line ends are
accepted, for armor travels by mail: what the age program's own reader takes (armor.go). Anything else that
another writer would not have written is refused.
"""

from __future__ import annotations

import binascii
import io
from typing import BinaryIO

from typing_extensions import Buffer

from tasks.age.buffering import write_all
from tasks.errors import ArmorError

ARMOR_BEGIN = b"-----BEGIN AGE ENCRYPTED FILE-----"
_END = b"-----END AGE ENCRYPTED FILE-----"
_COLUMNS = 64
_LINE_BYTES = 48
# Longer than any proper line, so that a longer one is noticed without reading all of it.
_LINE_LIMIT = 128
_MOST_BLANK = 1024
_BATCH_BYTES = 1024 * _LINE_BYTES


class ArmorWriter(io.RawIOBase):
    """Armors what is written to it; only ``finish`` makes it complete. Does not close ``inner``."""

    def __init__(self, inner: BinaryIO) -> None:
        super().__init__()
        self._inner = inner
        self._pending = b""
        write_all(inner, ARMOR_BEGIN + b"\n")

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        view = memoryview(data).cast("B")
        joined = self._pending + bytes(view)
        whole = len(joined) - len(joined) % _LINE_BYTES
        self._pending = joined[whole:]
        self._write_lines(joined[:whole])
        return len(view)

    def finish(self) -> None:
        """Write the last line and the closing one."""
        self._write_lines(self._pending)
        write_all(self._inner, _END + b"\n")

    def _write_lines(self, data: bytes) -> None:
        starts = range(0, len(data), _LINE_BYTES)
        write_all(
            self._inner, b"".join(binascii.b2a_base64(data[start : start + _LINE_BYTES]) for start in starts)
        )


class ArmorReader(io.RawIOBase):
    """The bytes inside an armor; raises ArmorError where it is not exactly as a writer leaves it."""

    def __init__(self, source: io.BufferedReader) -> None:
        super().__init__()
        self._source = source
        self._ready = memoryview(b"")
        self._short_line_seen = False
        self._ended = False
        self._read_opening()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        if not self._ready and not self._ended:
            self._ready = memoryview(self._read_batch())
        count = min(len(view), len(self._ready))
        view[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _read_opening(self) -> None:
        line, blank = b"\n", -1
        while line and not line.strip() and blank < _MOST_BLANK:
            blank += len(line)
            line = self._source.readline(_LINE_LIMIT)
        if line not in (ARMOR_BEGIN + b"\n", ARMOR_BEGIN + b"\r\n"):
            raise _malformed("it does not begin with the proper line")

    def _read_batch(self) -> bytes:
        batch = bytearray()
        while len(batch) < _BATCH_BYTES and not self._ended:
            line = self._source.readline(_LINE_LIMIT)
            if line.startswith(_END):
                self._check_nothing_follows(line)
                self._ended = True
            else:
                batch += self._decode(line)
        return bytes(batch)

    def _decode(self, line: bytes) -> bytes:
        if not line.endswith(b"\n"):
            raise _malformed("it has no closing line, or a line is too long")
        if self._short_line_seen:
            raise _malformed("something stands between its last line and the closing line")
        text = line[:-2] if line.endswith(b"\r\n") else line[:-1]
        try:
            data = binascii.a2b_base64(text)
        except ValueError as error:
            raise _malformed("a line is not base64") from error
        # Encoding again and comparing refuses stray bits, blanks and everything else base64 decoders skip.
        if not text or len(text) > _COLUMNS or binascii.b2a_base64(data, newline=False) != text:
            raise _malformed("a line is not canonical")
        self._short_line_seen = len(data) < _LINE_BYTES
        return data

    def _check_nothing_follows(self, line: bytes) -> None:
        rest = self._source.read(_MOST_BLANK)
        if line.removeprefix(_END) not in (b"", b"\n", b"\r\n") or rest.strip() or len(rest) == _MOST_BLANK:
            raise _malformed("something follows its closing line")


def _malformed(cause: str) -> ArmorError:
    return ArmorError(
        f"cannot read the armored file: {cause}",
        hint="It was changed on its way, perhaps by a mail program. Copy it again, from BEGIN to END.",
    )
