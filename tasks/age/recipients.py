"""What every kind of recipient and identity offers, and the rules that hold across kinds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from tasks.age.encoding import decode_base64
from tasks.age.header import Header, Stanza
from tasks.errors import HeaderError, KeyFormatError, NoMatchingIdentity

FILE_KEY_BYTES = 16
_WRAPPED_BYTES = FILE_KEY_BYTES + 16
# Zero, as the format has it: each wrapping key is used for one message only.
_NONCE = bytes(12)
SCRYPT = "scrypt"

Family = Literal["classic", "post-quantum", "passphrase"]


class Recipient(Protocol):
    """Someone a file can be encrypted to."""

    @property
    def family(self) -> Family:
        """Only recipients of one family may share a file."""

    def wrap(self, file_key: bytes) -> Stanza:
        """Wrap the file key (16 bytes) with fresh randomness, for this recipient alone."""


class Identity(Protocol):
    """The secret that opens what was encrypted to its recipient."""

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """The file key (16 bytes), or None where the stanza is for another key.

        Raises HeaderError where the stanza is of this identity's type and malformed.
        """


def wrap_for(recipients: Sequence[Recipient], file_key: bytes) -> list[Stanza]:
    """One stanza per recipient; raises KeyFormatError where they must not share a file."""
    if not recipients:
        raise KeyFormatError(
            "cannot encrypt: there is no recipient",
            hint="Name at least one holder with a recipient key (age1…) in the plan.",
        )
    families = {recipient.family for recipient in recipients}
    if "passphrase" in families and len(recipients) > 1:
        # Whoever knows a passphrase can make a file; a second way in would break that assurance.
        raise KeyFormatError(
            "cannot encrypt: a passphrase stands beside another recipient",
            hint="Encrypt either to one passphrase or to the holders' keys.",
        )
    if len(families) > 1:
        # One classic recipient would open the whole file to a future quantum computer.
        raise KeyFormatError(
            "cannot encrypt: post-quantum and classic recipients are mixed",
            hint="Give every holder a key of the same kind: all age1pq1… or all age1….",
        )
    return [recipient.wrap(file_key) for recipient in recipients]


def unwrap_with(identities: Sequence[Identity], header: Header) -> bytes:
    """The file key, from the first identity that fits; checks the header's MAC with it.

    Raises HeaderError, HeaderMACError or NoMatchingIdentity.
    """
    kinds = [stanza.args[0] for stanza in header.stanzas]
    if SCRYPT in kinds and len(kinds) > 1:
        raise HeaderError(
            "cannot accept the header of the encrypted file: a passphrase stands beside another recipient",
            hint="No proper program writes such a file. Use another copy of this backup.",
        )
    for identity in identities:
        for stanza in header.stanzas:
            file_key = identity.unwrap(stanza)
            if file_key is not None:
                header.verify(file_key)
                return file_key
    raise _no_match(kinds)


def _no_match(kinds: Sequence[str]) -> NoMatchingIdentity:
    if SCRYPT in kinds:
        hint = "The file is locked with a passphrase. Check the passphrase and the keyboard's language."
    else:
        hint = "Use the secret key of one of the holders that the backup's manifest names."
    return NoMatchingIdentity("cannot decrypt the file: none of the given keys opens it", hint=hint)


def seal_file_key(wrapping_key: bytes, file_key: bytes) -> bytes:
    """The stanza body: the file key under a wrapping key that is used once."""
    return ChaCha20Poly1305(wrapping_key).encrypt(_NONCE, file_key, None)


def open_file_key(wrapping_key: bytes, body: bytes) -> bytes | None:
    """The file key, or None where the wrapping key does not fit."""
    try:
        return ChaCha20Poly1305(wrapping_key).decrypt(_NONCE, body, None)
    except InvalidTag:
        return None


def check_stanza(stanza: Stanza, arguments: int) -> None:
    """Raise HeaderError unless the stanza has so many arguments and a body of 32 bytes.

    The body's length is checked before any decryption: a longer one could be made to open under
    many keys at once, and so tell an attacker which key was tried.
    """
    if len(stanza.args) != arguments:
        raise malformed_stanza(stanza, "has the wrong number of fields")
    if len(stanza.body) != _WRAPPED_BYTES:
        raise malformed_stanza(stanza, "has a wrapped key of the wrong length")


def decode_field(stanza: Stanza, place: int, length: int) -> bytes:
    """The base64 argument at ``place``, of exactly ``length`` bytes; raises HeaderError."""
    data = decode_base64(stanza.args[place])
    if len(data) != length:
        raise malformed_stanza(stanza, "has a field of the wrong length")
    return data


def malformed_stanza(stanza: Stanza, cause: str) -> HeaderError:
    """The error for a stanza that no proper writer makes."""
    return HeaderError(
        f"cannot read the header of the encrypted file: its {stanza.args[0]} entry {cause}",
        hint="The file is damaged or was altered. Use another copy of this backup.",
    )
