"""Classic key pairs: ``age1…`` and ``AGE-SECRET-KEY-1…`` (C2SP age.md, "The X25519 recipient type")."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from tasks.age.encoding import encode_base64, encode_bech32
from tasks.age.header import Stanza, derive_key
from tasks.age.recipients import (
    Family,
    check_stanza,
    decode_field,
    malformed_stanza,
    open_file_key,
    seal_file_key,
)
from tasks.errors import KeyFormatError

RECIPIENT_PREFIX = "age"
IDENTITY_PREFIX = "AGE-SECRET-KEY-"
_KIND = "X25519"
_INFO = b"age-encryption.org/v1/X25519"
_POINT_BYTES = 32


class X25519Recipient:
    """A holder's public key. ``public``: 32 bytes; raises KeyFormatError where it is unusable."""

    family: Family = "classic"

    def __init__(self, public: bytes) -> None:
        if len(public) != _POINT_BYTES or is_low_order(public):
            raise KeyFormatError(
                "cannot use the recipient: it is not a proper X25519 key",
                hint="Ask the holder for the line that begins with age1 again.",
            )
        self._public = public

    def wrap(self, file_key: bytes) -> Stanza:
        ephemeral = X25519PrivateKey.generate()
        share = ephemeral.public_key().public_bytes_raw()
        secret = ephemeral.exchange(X25519PublicKey.from_public_bytes(self._public))
        key = derive_key(secret, share + self._public, _INFO)
        return Stanza((_KIND, encode_base64(share)), seal_file_key(key, file_key))

    def __str__(self) -> str:
        return encode_bech32(RECIPIENT_PREFIX, self._public)

    def __repr__(self) -> str:
        return f"X25519Recipient({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, X25519Recipient) and other._public == self._public

    def __hash__(self) -> int:
        return hash(self._public)


class X25519Identity:
    """A holder's secret key. ``secret``: 32 bytes."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != _POINT_BYTES:
            raise KeyFormatError(
                "cannot use the identity: it is not a proper X25519 key",
                hint="Copy the whole line that begins with AGE-SECRET-KEY-1 again.",
            )
        self._private = X25519PrivateKey.from_private_bytes(secret)
        self._public = self._private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> X25519Identity:
        """A fresh key from the system's random source."""
        return cls(X25519PrivateKey.generate().private_bytes_raw())

    def recipient(self) -> X25519Recipient:
        """The public half."""
        return X25519Recipient(self._public)

    def secret_text(self) -> str:
        """The secret itself, ``AGE-SECRET-KEY-1…``: for a key file, never for a log."""
        return encode_bech32(IDENTITY_PREFIX.lower(), self._private.private_bytes_raw()).upper()

    def unwrap(self, stanza: Stanza) -> bytes | None:
        if stanza.args[0] != _KIND:
            return None
        check_stanza(stanza, arguments=2)
        share = decode_field(stanza, 1, _POINT_BYTES)
        try:
            secret = self._private.exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError as error:
            # A low-order point makes the secret zero whatever our key is: an attacker would know it.
            raise malformed_stanza(stanza, "has a degenerate share") from error
        return open_file_key(derive_key(secret, share + self._public, _INFO), stanza.body)

    def __repr__(self) -> str:
        return f"X25519Identity(for {self.recipient()})"


def is_low_order(point: bytes) -> bool:
    """Whether any exchange with this point (32 bytes) gives zero, known to everyone."""
    try:
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(point))
    except ValueError:
        return True
    return False
