"""Whole age files: encrypt, decrypt, streams that do so, and a new header on the same payload.

The streams given belong to the caller, who closes them; an OSError of theirs comes through unchanged.
Memory stays at a few MiB whatever the size of the file.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple, cast

from typing_extensions import Buffer

from tasks.age.armor import ArmorReader, ArmorWriter
from tasks.age.buffering import BUFFER, Feed, buffered, write_all
from tasks.age.header import MAGIC, Stanza, derive_key, read_header, serialise
from tasks.age.recipients import FILE_KEY_BYTES, Identity, Recipient, unwrap_with, wrap_for
from tasks.age.stream import PayloadReader, PayloadWriter
from tasks.errors import HeaderError

_NONCE_BYTES = 16
# How far into a file its armor may begin; before it, mails have blank lines.
_PROBE = 1024


def encrypt(
    reader: BinaryIO, writer: BinaryIO, recipients: Sequence[Recipient], *, armored: bool = False
) -> None:
    """Encrypt all of ``reader`` so that each recipient alone can open it; raises KeyFormatError.

    ``armored`` writes the ASCII form, for small things that live inside text.
    """
    with encrypting_writer(writer, recipients, armored=armored) as payload:
        _copy(Feed(reader), payload)


class OwnKey:
    """The key of one file, for the process that writes the file to read it again: an identity, never stored.

    To be used for one file only. The file's header names its recipients alone.
    """

    def __init__(self) -> None:
        self.secret = secrets.token_bytes(FILE_KEY_BYTES)

    def unwrap(self, stanza: Stanza) -> bytes | None:  # noqa: ARG002 - whomever it is for
        """The file key; whether it is this file's the header's code tells."""
        return self.secret

    def __repr__(self) -> str:
        return "OwnKey(…)"


@contextmanager
def encrypting_writer(
    writer: BinaryIO, recipients: Sequence[Recipient], *, armored: bool = False, key: OwnKey | None = None
) -> Iterator[BinaryIO]:
    """A stream whose contents go to ``writer`` encrypted, as ``encrypt`` would; raises KeyFormatError.

    The file is whole once the block has ended. Where the block raises it stays cut short, and no reader
    takes it for a whole one. With ``key``, a fresh one, this process can open the file as well.
    """
    file_key = (key or OwnKey()).secret
    header = serialise(wrap_for(recipients, file_key), file_key)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    armor = ArmorWriter(writer) if armored else None
    sink = cast(BinaryIO, armor) if armor else writer
    write_all(sink, header + nonce)
    payload = PayloadWriter(_payload_key(file_key, nonce), sink)
    yield cast(BinaryIO, payload)
    payload.finish()
    if armor:
        armor.finish()


def decrypt(reader: BinaryIO, writer: BinaryIO, identities: Sequence[Identity]) -> None:
    """Decrypt an age file, armored or not, with whichever identity fits.

    What was written before an error was raised is authentic but incomplete: throw it away. Raises every
    kind of AgeError but KeyFormatError.
    """
    _copy(_open_payload(reader, identities), writer)


def decrypting_reader(reader: BinaryIO, identities: Sequence[Identity]) -> BinaryIO:
    """The plaintext as a stream; the header is checked at once, the payload as it is read.

    Reads raise PayloadError (or ArmorError) at damage, every time. Only the end of file says that the
    whole was there: a consumer that stops earlier has proven nothing about the rest.
    """
    return buffered(_open_payload(reader, identities))


class Rewrapped(NamedTuple):
    """A file under a new header, ``grown`` bytes longer than the old one (below 0: shorter)."""

    stream: BinaryIO
    grown: int


def rewrapped(reader: BinaryIO, identities: Sequence[Identity], recipients: Sequence[Recipient]) -> Rewrapped:
    """An age file (not armored) from ``reader`` with its file key wrapped for ``recipients`` alone.

    The file key stays, so whoever once had it, or a copy of the old file, can still read the payload, which
    passes through as it is, unread: what it holds must be proven some other way. Raises
    HeaderError, HeaderMACError, NoMatchingIdentity, or KeyFormatError where recipients must not be mixed.
    """
    source = buffered(Feed(reader))
    old = read_header(source)
    file_key = unwrap_with(identities, old)
    new = serialise(wrap_for(recipients, file_key), file_key)
    return Rewrapped(cast("BinaryIO", _Joined(new, source)), len(new) - old.length)


def stanza_kinds(reader: BinaryIO) -> list[str]:
    """The kind of each recipient's entry in the header of an age file (not armored). Raises HeaderError."""
    return [stanza.args[0] for stanza in read_header(buffered(Feed(reader))).stanzas]


def _copy(source: Feed | PayloadReader, writer: BinaryIO) -> None:
    buffer = memoryview(bytearray(BUFFER))
    while count := source.readinto(buffer):
        write_all(writer, buffer[:count])


def _open_payload(reader: BinaryIO, identities: Sequence[Identity]) -> PayloadReader:
    source = _unarmored(reader)
    file_key = unwrap_with(identities, read_header(source))
    nonce = source.read(_NONCE_BYTES)
    if len(nonce) < _NONCE_BYTES:
        raise HeaderError(
            "cannot read the header of the encrypted file: the file ends right behind it",
            hint="The file was cut short. Use another copy of this backup.",
        )
    return PayloadReader(_payload_key(file_key, nonce), source)


def _unarmored(reader: BinaryIO) -> io.BufferedReader:
    feed = Feed(reader)
    start = feed.peek(_PROBE)
    source = buffered(feed)
    if not start.startswith(MAGIC) and b"-----" in start:
        return buffered(ArmorReader(source))
    return source


def _payload_key(file_key: bytes, nonce: bytes) -> bytes:
    return derive_key(file_key, nonce, b"payload")


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
