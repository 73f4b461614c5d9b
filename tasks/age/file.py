"""Whole age files: encrypt, decrypt, and a reader for what only passes through.

The streams given belong to the caller, who closes them; an OSError of theirs comes through unchanged, save
in ``decrypt_to_file``. Memory stays at a few MiB whatever the size of the file.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

from tasks.age.armor import ArmorReader, ArmorWriter
from tasks.age.buffering import BUFFER, Feed, buffered, write_all
from tasks.age.header import MAGIC, derive_key, read_header, serialise
from tasks.age.recipients import FILE_KEY_BYTES, Identity, Recipient, unwrap_with, wrap_for
from tasks.age.stream import PayloadReader, encrypt_payload
from tasks.errors import AgeError, HeaderError
from tasks.platform.files import atomic_writer

_NONCE_BYTES = 16
# How far into a file its armor may begin; before it, mails have blank lines.
_PROBE = 1024


def encrypt(
    reader: BinaryIO, writer: BinaryIO, recipients: Sequence[Recipient], *, armored: bool = False
) -> None:
    """Encrypt all of ``reader`` so that each recipient alone can open it; raises KeyFormatError.

    ``armored`` writes the ASCII form, for small things that live inside text.
    """
    file_key = secrets.token_bytes(FILE_KEY_BYTES)
    header = serialise(wrap_for(recipients, file_key), file_key)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    armor = ArmorWriter(writer) if armored else None
    sink = cast(BinaryIO, armor) if armor else writer
    write_all(sink, header + nonce)
    encrypt_payload(_payload_key(file_key, nonce), buffered(Feed(reader)), sink)
    if armor:
        armor.finish()


def decrypt(reader: BinaryIO, writer: BinaryIO, identities: Sequence[Identity]) -> None:
    """Decrypt an age file, armored or not, with whichever identity fits.

    What was written before an error was raised is authentic but incomplete: throw it away, or use
    ``decrypt_to_file``. Raises every kind of AgeError but KeyFormatError.
    """
    payload = _open_payload(reader, identities)
    buffer = memoryview(bytearray(BUFFER))
    while count := payload.readinto(buffer):
        write_all(writer, buffer[:count])


def decrypting_reader(reader: BinaryIO, identities: Sequence[Identity]) -> BinaryIO:
    """The plaintext as a stream; the header is checked at once, the payload as it is read.

    Reads raise PayloadError (or ArmorError) at damage, every time. Only the end of file says that the
    whole was there: a consumer that stops earlier has proven nothing about the rest.
    """
    return buffered(_open_payload(reader, identities))


def decrypt_to_file(reader: BinaryIO, path: Path, identities: Sequence[Identity]) -> None:
    """Decrypt into a private file that appears whole or not at all; raises AgeError."""
    try:
        with atomic_writer(path) as stream:
            decrypt(reader, stream, identities)
    except OSError as error:
        raise AgeError(
            f"cannot decrypt into {path}: {error.strerror or error}",
            hint="Check that the disk has room and that you may write to the folder.",
            permanent=False,
        ) from error


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
