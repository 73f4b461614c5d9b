"""[MS-TDS]: packets, the two messages of a login, and the tokens of a reply. TDS 7.4, without TLS."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

BATCH, REPLY, ATTENTION, TRANSACTION, LOGIN7, PRELOGIN = 0x01, 0x04, 0x06, 0x0E, 0x10, 0x12
BEGIN, COMMIT, ROLLBACK = 5, 7, 8
DONE_MORE, DONE_ERROR, DONE_COUNT, DONE_ATTENTION = 0x01, 0x02, 0x10, 0x20
PACKET = 4096
# Latin1_General, code page 1252, ignoring case: what a server is installed with in the United States.
COLLATION = bytes.fromhex("0904d00034")
LONGEST_SHORT = 4000


class Gone(Exception):
    """The client went away, or the server was stopped."""


@dataclass(frozen=True)
class Login:
    user: str
    password: str
    database: str


def receive(connection: socket.socket) -> tuple[int, bytes]:
    """One whole message: its type and its bytes, from as many packets as it takes."""
    message = b""
    while True:
        kind, status, length = struct.unpack(">BBH4x", _exactly(connection, 8))
        message += _exactly(connection, length - 8)
        if status & 1:
            return kind, message


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        try:
            part = connection.recv(size - len(data))
        except OSError:
            raise Gone from None
        if not part:
            raise Gone
        data += part
    return data


class Reply:
    """A message to the client, sent packet by packet as it grows; ``flush`` sends what there is."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()
        self._packet = 1

    def add(self, token: bytes) -> None:
        self._buffer += token
        while len(self._buffer) > PACKET - 8:
            self._send(PACKET - 8, last=False)

    def flush(self) -> None:
        if self._buffer:
            self._send(len(self._buffer), last=False)

    def end(self) -> None:
        self._send(len(self._buffer), last=True)

    def _send(self, size: int, *, last: bool) -> None:
        head = struct.pack(">BBHHBB", REPLY, int(last), size + 8, 51, self._packet % 256, 0)
        self._packet += 1
        try:
            self._connection.sendall(head + self._buffer[:size])
        except OSError:
            raise Gone from None
        del self._buffer[:size]


def prelogin_answer() -> bytes:
    """Version, encryption "not supported", no instance, no thread, no MARS."""
    options = [(0, bytes([15, 0, 0x10, 0x1B, 0, 0])), (1, b"\x02"), (2, b"\x00"), (3, b""), (4, b"\x00")]
    head, body = b"", b""
    start = 5 * len(options) + 1
    for token, value in options:
        head += struct.pack(">BHH", token, start + len(body), len(value))
        body += value
    return head + b"\xff" + body


def read_login(message: bytes) -> Login:
    """User, password and database of a LOGIN7 message."""

    def text(at: int) -> bytes:
        offset, length = struct.unpack_from("<HH", message, at)
        return message[offset : offset + 2 * length]

    hidden = bytes(byte ^ 0xA5 for byte in text(44))
    password = bytes((byte >> 4) | (byte << 4 & 0xF0) for byte in hidden)
    return Login(*(part.decode("utf-16-le") for part in (text(40), password, text(68))))


def _short_text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode("utf-16-le")


def _framed(token: int, body: bytes) -> bytes:
    return struct.pack("<BH", token, len(body)) + body


def login_ack() -> bytes:
    body = (
        b"\x01" + bytes.fromhex("74000004") + _short_text("Microsoft SQL Server") + bytes([15, 0, 0x10, 0x1B])
    )
    return _framed(0xAD, body)


def environment(kind: int, new: str, old: str = "") -> bytes:
    """ENVCHANGE: 1 the database, 4 the packet size."""
    return _framed(0xE3, bytes([kind]) + _short_text(new) + _short_text(old))


def collation_change() -> bytes:
    return _framed(0xE3, bytes([7, len(COLLATION)]) + COLLATION + b"\x00")


def transaction_change(request: int) -> bytes:
    """ENVCHANGE after a transaction manager request: begun with this number, or ended."""
    number = bytes([8]) + (1).to_bytes(8, "little")
    body = bytes([8]) + number + b"\0" if request == BEGIN else bytes([request + 2, 0]) + number
    return _framed(0xE3, body)


def message(number: int, severity: int, text: str) -> bytes:
    """INFO for severities up to 10, else ERROR."""
    encoded = struct.pack("<H", len(text)) + text.encode("utf-16-le")
    body = struct.pack("<iBB", number, 1, severity) + encoded + _short_text("STANDIN") + _short_text("")
    return _framed(0xAA if severity > 10 else 0xAB, body + struct.pack("<i", 1))


def done(status: int, rows: int = 0) -> bytes:
    return struct.pack("<BHHQ", 0xFD, status, 0, rows)


def result_set(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[bytes]:
    """COLMETADATA and a ROW for each row; a column's type is that of all its values."""
    kinds = [_kind_of([row[index] for row in rows]) for index in range(len(names))]
    head = struct.pack("<BH", 0x81, len(names))
    for name, kind in zip(names, kinds, strict=True):
        head += struct.pack("<IH", 0, 1) + _TYPES[kind] + _short_text(name)
    return [head, *(b"\xd1" + b"".join(map(_value, kinds, row)) for row in rows)]


_TYPES = {
    "bit": b"\x68\x01",
    "integer": b"\x26\x08",
    "float": b"\x6d\x08",
    "text": b"\xe7" + struct.pack("<H", 2 * LONGEST_SHORT) + COLLATION,
    "long text": b"\xe7\xff\xff" + COLLATION,
    "binary": b"\xa5\xff\xff",
}


def _kind_of(values: Sequence[Any]) -> str:
    kinds = {type(value) for value in values if value is not None}
    if not kinds or kinds == {str}:
        return "long text" if any(len(value or "") > LONGEST_SHORT for value in values) else "text"
    if kinds == {bool}:
        return "bit"
    if kinds <= {int, bool}:
        return "integer"
    if kinds <= {int, bool, float}:
        return "float"
    return "binary" if kinds == {bytes} else "long text"


def _value(kind: str, value: Any) -> bytes:
    if kind == "text":
        data = b"" if value is None else value.encode("utf-16-le")
        return b"\xff\xff" if value is None else struct.pack("<H", len(data)) + data
    if kind in ("long text", "binary"):
        return _chunked(
            str(value).encode("utf-16-le") if kind == "long text" and value is not None else value
        )
    if value is None:
        return b"\x00"
    if kind == "bit":
        return bytes([1, int(value)])
    return b"\x08" + struct.pack("<q" if kind == "integer" else "<d", value)


def _chunked(data: bytes | None) -> bytes:
    if data is None:
        return b"\xff" * 8
    body = struct.pack("<I", len(data)) + data if data else b""
    return struct.pack("<Q", len(data)) + body + bytes(4)
