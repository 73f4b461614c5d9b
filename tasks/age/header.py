"""The textual header: one stanza per recipient, closed by a MAC under the file key.

Strict on purpose: each header has exactly one spelling, so nothing can be smuggled past a reader that
is more lenient than the writer was. Grammar: C2SP age.md, "ABNF definition of file header".
"""

from __future__ import annotations

import hashlib
import hmac
import io
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tasks.age.encoding import decode_base64, encode_base64
from tasks.errors import HeaderError, HeaderMACError

MAGIC = b"age-encryption.org/"
_VERSION_LINE = MAGIC + b"v1"
_COLUMNS = 64
_MAC_MARK = b"---"
_MAC_BYTES = 32
# The format sets no limit. Ours stops a hostile file from filling the memory, and leaves room for
# some six hundred hybrid recipients.
_LIMIT = 1 << 20
_HINT = "The file is damaged, was altered, or is not an age file. Use another copy of this backup."


@dataclass(frozen=True)
class Stanza:
    """The file key as wrapped for one recipient. ``args[0]`` names the recipient type."""

    args: tuple[str, ...]
    body: bytes


@dataclass(frozen=True)
class Header:
    """A header as read. ``covered`` are the very bytes that the MAC is about."""

    stanzas: tuple[Stanza, ...]
    mac: bytes
    covered: bytes

    @property
    def length(self) -> int:
        """Bytes of the header in the file, its last line included."""
        return len(self.covered) + len(" " + encode_base64(self.mac) + "\n")

    def verify(self, file_key: bytes) -> None:
        """Raise HeaderMACError unless this header was made by someone who knew the file key."""
        if not hmac.compare_digest(self.mac, _mac(file_key, self.covered)):
            raise HeaderMACError(
                "cannot trust the encrypted file: its header was altered after it was written",
                hint="Someone or something changed the file. Use another copy of this backup.",
            )


def derive_key(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """32 bytes of HKDF-SHA-256 (RFC 5869), the format's only key derivation."""
    return HKDF(SHA256(), 32, salt, info).derive(secret)


def serialise(stanzas: Sequence[Stanza], file_key: bytes) -> bytes:
    """The header's bytes, the MAC line included."""
    lines = [_VERSION_LINE]
    for stanza in stanzas:
        lines.append(("-> " + " ".join(stanza.args)).encode("ascii"))
        body = encode_base64(stanza.body).encode("ascii")
        # Always a last line of fewer than 64 columns, if need be an empty one: it ends the stanza.
        lines += [body[start : start + _COLUMNS] for start in range(0, len(body) + 1, _COLUMNS)]
    covered = b"\n".join([*lines, _MAC_MARK])
    return covered + b" " + encode_base64(_mac(file_key, covered)).encode("ascii") + b"\n"


def read_header(source: io.BufferedReader) -> Header:
    """Read a header and leave ``source`` at the payload's first byte; raises HeaderError."""
    lines = _Lines(source)
    _check_version(lines.take())
    stanzas = []
    while (line := lines.take()).startswith(b"->"):
        stanzas.append(Stanza(_parse_arguments(line), _read_body(lines)))
    if not stanzas:
        raise _malformed("it names no recipient")
    mac = _parse_mac(line)
    # The bytes as they came. A header put together again from its parts would carry a valid MAC
    # even where the original did not.
    covered = bytes(lines.raw[: len(lines.raw) - len(line) - 1 + len(_MAC_MARK)])
    return Header(tuple(stanzas), mac, covered)


class _Lines:
    """The header's lines, without their line feeds; ``raw`` is all that was read so far."""

    def __init__(self, source: io.BufferedReader) -> None:
        self._source = source
        self.raw = bytearray()

    def take(self) -> bytes:
        line = self._source.readline(_LIMIT - len(self.raw))
        self.raw += line
        if line.endswith(b"\n"):
            return line[:-1]
        raise _malformed("it is too long" if len(self.raw) >= _LIMIT else "it ends early")


def _mac(file_key: bytes, covered: bytes) -> bytes:
    return hmac.digest(derive_key(file_key, b"", b"header"), covered, hashlib.sha256)


def _malformed(cause: str) -> HeaderError:
    return HeaderError(f"cannot read the header of the encrypted file: {cause}", hint=_HINT)


def _check_version(line: bytes) -> None:
    if line == _VERSION_LINE:
        return
    if line.startswith(MAGIC) and not line.endswith(b"\r"):
        raise HeaderError(
            "cannot read the header of the encrypted file: its version of the age format is unknown",
            hint="Decrypt it with the current version of the age program (age-encryption.org).",
        )
    raise _malformed("it does not begin like an age file")


def _parse_arguments(line: bytes) -> tuple[str, ...]:
    arrow, *arguments = line.split(b" ")
    if arrow != b"->" or not arguments or not all(_is_visible(argument) for argument in arguments):
        raise _malformed("a recipient line is malformed")
    return tuple(argument.decode("ascii") for argument in arguments)


def _is_visible(argument: bytes) -> bool:
    return bool(argument) and all(0x21 <= code <= 0x7E for code in argument)


def _read_body(lines: _Lines) -> bytes:
    body = bytearray()
    while True:
        line = lines.take()
        if len(line) > _COLUMNS:
            raise _malformed("a line is longer than 64 columns")
        body += decode_base64(line.decode("latin-1"))
        if len(line) < _COLUMNS:
            return bytes(body)


def _parse_mac(line: bytes) -> bytes:
    mark, separator, text = line.partition(b" ")
    if mark != _MAC_MARK or not separator:
        raise _malformed("a line is neither a recipient nor the closing line")
    mac = decode_base64(text.decode("latin-1"))
    if len(mac) != _MAC_BYTES:
        raise _malformed("its authentication code has the wrong length")
    return mac
