"""Canonical base64 without padding (headers) and Bech32 without a length limit (keys).

Sources: RFC 4648 section 4 and 3.5; BIP 173, whose 90 character limit the age format lifts.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence

from tasks.errors import HeaderError, KeyFormatError

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_LENGTH = 6


def encode_base64(data: bytes) -> str:
    """Standard alphabet, no padding."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").decode("ascii")


def decode_base64(text: str) -> bytes:
    """Decode what ``encode_base64`` would have written and nothing else; raises HeaderError.

    Python's own decoder ignores stray bits after the last byte, which would let the same header be
    spelled in several ways. Encoding again and comparing closes that.
    """
    try:
        data = binascii.a2b_base64(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise _malformed_base64() from error
    if encode_base64(data) != text:
        raise _malformed_base64()
    return data


def _malformed_base64() -> HeaderError:
    return HeaderError(
        "cannot read the header of the encrypted file: a field is not canonical base64",
        hint="The file is damaged or was altered. Use another copy of this backup.",
    )


def encode_bech32(prefix: str, data: bytes) -> str:
    """Lower-case Bech32 of ``data`` behind ``prefix`` (lower case, without the separating 1)."""
    words = _to_words(data)
    checksum = _polymod([*_expand(prefix), *words, *([0] * _CHECKSUM_LENGTH)]) ^ 1
    words += [(checksum >> 5 * (5 - place)) & 31 for place in range(_CHECKSUM_LENGTH)]
    return prefix + "1" + "".join(_ALPHABET[word] for word in words)


def decode_bech32(text: str) -> tuple[str, bytes]:
    """The prefix in the case it was written in, and the data; raises KeyFormatError.

    The error never quotes ``text``: it may be a secret key.
    """
    prefix, separator, payload = text.rpartition("1")
    if not separator or not prefix or len(payload) < _CHECKSUM_LENGTH or not _one_case(text):
        raise _malformed_key("it is not in the form of an age key")
    try:
        words = [_VALUES[character] for character in payload.lower()]
    except KeyError:
        raise _malformed_key("it contains a character that no age key has") from None
    if _polymod([*_expand(prefix.lower()), *words]) != 1:
        raise _malformed_key("its check characters do not fit")
    return prefix, _from_words(words[:-_CHECKSUM_LENGTH])


def _one_case(text: str) -> bool:
    printable = all(33 <= ord(character) <= 126 for character in text)
    return printable and text in (text.lower(), text.upper())


def _malformed_key(cause: str) -> KeyFormatError:
    return KeyFormatError(
        f"cannot read the key: {cause}",
        hint="A character was lost or mistyped. Copy the whole key again, as one line.",
    )


def _to_words(data: bytes) -> list[int]:
    """Groups of five bits, the last one filled up with zeros."""
    filling = -len(data) * 8 % 5
    number = int.from_bytes(data, "big") << filling
    return [(number >> shift) & 31 for shift in range(len(data) * 8 + filling - 5, -1, -5)]


def _from_words(words: Sequence[int]) -> bytes:
    filling = len(words) * 5 % 8
    number = 0
    for word in words:
        number = number << 5 | word
    # Only the filling that encoding makes: at most four bits, all zero.
    if filling > 4 or number & ((1 << filling) - 1):
        raise _malformed_key("its end is not canonical")
    return (number >> filling).to_bytes(len(words) * 5 // 8, "big")


def _expand(prefix: str) -> list[int]:
    codes = [ord(character) for character in prefix]
    return [*(code >> 5 for code in codes), 0, *(code & 31 for code in codes)]


def _polymod(values: Sequence[int]) -> int:
    """The BCH checksum of BIP 173."""
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATORS):
            if top >> bit & 1:
                checksum ^= generator
    return checksum
