"""A passphrase instead of keys (C2SP age.md, "The scrypt recipient type")."""

from __future__ import annotations

import re
import secrets

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from tasks.age.encoding import encode_base64
from tasks.age.header import Stanza
from tasks.age.recipients import (
    SCRYPT,
    Family,
    check_stanza,
    decode_field,
    malformed_stanza,
    open_file_key,
    seal_file_key,
)
from tasks.errors import AgeError, KeyFormatError

_LABEL = b"age-encryption.org/v1/scrypt"
_SALT_BYTES = 16
_BLOCK_SIZE = 8
_MAX_WORK_FACTOR = 22


class ScryptRecipient:
    """A passphrase to encrypt to. Raises KeyFormatError.

    A work factor of n costs 2^n KiB of memory: 18 takes 256 MiB and about a second.
    """

    family: Family = "passphrase"

    def __init__(self, passphrase: str, work_factor: int = 18) -> None:
        if not 1 <= work_factor <= _MAX_WORK_FACTOR:
            raise KeyFormatError(
                f"cannot use the work factor {work_factor}",
                hint=f"Choose one from 1 to {_MAX_WORK_FACTOR}; 18 is usual.",
            )
        self._passphrase = _encode_passphrase(passphrase)
        self._work_factor = work_factor

    def wrap(self, file_key: bytes) -> Stanza:
        salt = secrets.token_bytes(_SALT_BYTES)
        key = _stretch(self._passphrase, salt, self._work_factor)
        arguments = (SCRYPT, encode_base64(salt), str(self._work_factor))
        return Stanza(arguments, seal_file_key(key, file_key))

    def __repr__(self) -> str:
        return "ScryptRecipient(passphrase hidden)"


class ScryptIdentity:
    """A passphrase to decrypt with. Refuses files that ask for more work than ``max_work_factor``."""

    def __init__(self, passphrase: str, max_work_factor: int = _MAX_WORK_FACTOR) -> None:
        self._passphrase = _encode_passphrase(passphrase)
        self._max_work_factor = max_work_factor

    def unwrap(self, stanza: Stanza) -> bytes | None:
        if stanza.args[0] != SCRYPT:
            return None
        check_stanza(stanza, arguments=3)
        salt = decode_field(stanza, 1, _SALT_BYTES)
        key = _stretch(self._passphrase, salt, self._parse_work_factor(stanza))
        return open_file_key(key, stanza.body)

    def _parse_work_factor(self, stanza: Stanza) -> int:
        text = stanza.args[2]
        if not re.fullmatch("[1-9][0-9]*", text):
            raise malformed_stanza(stanza, "has a malformed work factor")
        # Whoever made the file chose the number: without a cap it would eat all memory and days of work.
        # The length goes first, because int() itself refuses numbers of thousands of digits.
        if len(text) > 2 or int(text) > self._max_work_factor:
            raise malformed_stanza(stanza, f"asks for a work factor above {self._max_work_factor}")
        return int(text)

    def __repr__(self) -> str:
        return "ScryptIdentity(passphrase hidden)"


def _encode_passphrase(passphrase: str) -> bytes:
    if not passphrase:
        raise KeyFormatError("cannot use an empty passphrase", hint="Choose a passphrase of several words.")
    try:
        # As the bytes came in from the environment, even where they were not UTF-8.
        return passphrase.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        # Not chained: that error carries the passphrase.
        raise KeyFormatError(
            "cannot use the passphrase: it holds a character that does not exist",
            hint="Type the passphrase again.",
        ) from None


def _stretch(passphrase: bytes, salt: bytes, work_factor: int) -> bytes:
    try:
        return Scrypt(_LABEL + salt, 32, 1 << work_factor, _BLOCK_SIZE, 1).derive(passphrase)
    except MemoryError as error:
        raise AgeError(
            f"cannot turn the passphrase into a key: it takes {1 << work_factor} KiB of memory",
            hint="Close other programs, or use a machine with more memory.",
            permanent=False,
        ) from error
