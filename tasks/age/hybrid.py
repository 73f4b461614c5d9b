"""Post-quantum key pairs: ``age1pq1…`` and ``AGE-SECRET-KEY-PQ-1…``.

ML-KEM-768 and X25519 together (X-Wing), so that both must fall; HPKE base mode with HKDF-SHA-256 and
ChaCha20-Poly1305. Source: C2SP age.md, "The MLKEM768-X25519 hybrid post-quantum recipient type".
"""

from __future__ import annotations

import hashlib
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from tasks.age.encoding import encode_base64, encode_bech32
from tasks.age.header import Stanza
from tasks.age.recipients import Family, check_stanza, decode_field, malformed_stanza
from tasks.age.x25519 import is_low_order
from tasks.errors import KeyFormatError

RECIPIENT_PREFIX = "age1pq"
IDENTITY_PREFIX = "AGE-SECRET-KEY-PQ-"
_KIND = "mlkem768x25519"
_INFO = b"age-encryption.org/mlkem768x25519"
_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_SEED_BYTES = 32
_MLKEM_SEED_BYTES = 64
_MLKEM_PUBLIC_BYTES = 1184
_MLKEM_CIPHERTEXT_BYTES = 1088
_POINT_BYTES = 32
_ENCAPSULATED_BYTES = _MLKEM_CIPHERTEXT_BYTES + _POINT_BYTES


class HybridRecipient:
    """A holder's public key. ``public``: 1216 bytes; raises KeyFormatError where it is unusable."""

    family: Family = "post-quantum"

    def __init__(self, public: bytes) -> None:
        mlkem, point = public[:_MLKEM_PUBLIC_BYTES], public[_MLKEM_PUBLIC_BYTES:]
        try:
            self._key = MLKEM768X25519PublicKey(
                MLKEM768PublicKey.from_public_bytes(mlkem), X25519PublicKey.from_public_bytes(point)
            )
            usable = not is_low_order(point)
        except ValueError:
            usable = False
        if not usable:
            raise KeyFormatError(
                "cannot use the recipient: it is not a proper post-quantum key",
                hint="Ask the holder for the line that begins with age1pq1 again, all 2000 letters.",
            )
        self._public = public

    def wrap(self, file_key: bytes) -> Stanza:
        sealed = _SUITE.encrypt(file_key, self._key, _INFO)
        encapsulated, body = sealed[:_ENCAPSULATED_BYTES], sealed[_ENCAPSULATED_BYTES:]
        return Stanza((_KIND, encode_base64(encapsulated)), body)

    def __str__(self) -> str:
        return encode_bech32(RECIPIENT_PREFIX, self._public)

    def __repr__(self) -> str:
        return f"HybridRecipient({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HybridRecipient) and other._public == self._public

    def __hash__(self) -> int:
        return hash(self._public)


class HybridIdentity:
    """A holder's secret key. ``seed``: 32 bytes, from which both halves are derived."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != _SEED_BYTES:
            raise KeyFormatError(
                "cannot use the identity: it is not a proper post-quantum key",
                hint="Copy the whole line that begins with AGE-SECRET-KEY-PQ-1 again.",
            )
        self._seed = seed
        expanded = hashlib.shake_256(seed).digest(_MLKEM_SEED_BYTES + _POINT_BYTES)
        self._mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_BYTES])
        self._x25519 = X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_BYTES:])
        self._key = MLKEM768X25519PrivateKey(self._mlkem, self._x25519)

    @classmethod
    def generate(cls) -> HybridIdentity:
        """A fresh key from the system's random source."""
        return cls(secrets.token_bytes(_SEED_BYTES))

    def recipient(self) -> HybridRecipient:
        """The public half."""
        mlkem, x25519 = self._mlkem.public_key(), self._x25519.public_key()
        return HybridRecipient(mlkem.public_bytes_raw() + x25519.public_bytes_raw())

    def secret_text(self) -> str:
        """The secret itself, ``AGE-SECRET-KEY-PQ-1…``: for a key file, never for a log."""
        return encode_bech32(IDENTITY_PREFIX.lower(), self._seed).upper()

    def unwrap(self, stanza: Stanza) -> bytes | None:
        if stanza.args[0] != _KIND:
            return None
        check_stanza(stanza, arguments=2)
        encapsulated = decode_field(stanza, 1, _ENCAPSULATED_BYTES)
        if is_low_order(encapsulated[_MLKEM_CIPHERTEXT_BYTES:]):
            # HPKE would only say "does not open"; such a share is an attack and must not pass as a miss.
            raise malformed_stanza(stanza, "has a degenerate share")
        try:
            return _SUITE.decrypt(encapsulated + stanza.body, self._key, _INFO)
        except InvalidTag:
            return None

    def __repr__(self) -> str:
        return f"HybridIdentity(for {self.recipient()})"
