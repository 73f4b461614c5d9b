"""Age files built by hand, byte by byte, right and wrong.

Written against the specification (C2SP age.md) with hmac and bare primitives only, without the code under
test: a fault in that code cannot hide by being on both sides.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from tasks.age.file import decrypt
from tasks.age.keys import Identity, X25519Identity

FILE_KEY = bytes(range(100, 116))
NONCE = bytes(range(16))
SECRET = hashlib.sha256(b"holder").digest()
HOLDER = X25519Identity(SECRET)
PASSPHRASE = "four small words here"
SALT = bytes(range(50, 66))
EPHEMERAL = hashlib.sha256(b"ephemeral").digest()
CHUNK = 65536
ORDER_8_POINT = bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    extracted = hmac.digest(salt or bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def stanza(*arguments: str, body: bytes = b"") -> bytes:
    text = b64(body)
    lines = [text[start : start + 64] for start in range(0, len(text) + 1, 64)]
    return ("-> " + " ".join(arguments) + "\n" + "\n".join(lines) + "\n").encode()


def wrap(key: bytes, file_key: bytes = FILE_KEY) -> bytes:
    return ChaCha20Poly1305(key).encrypt(bytes(12), file_key, None)


def share() -> bytes:
    return X25519PrivateKey.from_private_bytes(EPHEMERAL).public_key().public_bytes_raw()


def x25519_body(file_key: bytes = FILE_KEY) -> bytes:
    public = X25519PrivateKey.from_private_bytes(SECRET).public_key().public_bytes_raw()
    secret = X25519PrivateKey.from_private_bytes(EPHEMERAL).exchange(
        X25519PublicKey.from_public_bytes(public)
    )
    return wrap(hkdf(secret, share() + public, b"age-encryption.org/v1/X25519"), file_key)


def x25519_stanza() -> bytes:
    return stanza("X25519", b64(share()), body=x25519_body())


def scrypt_body(work_factor: int, salt: bytes = SALT, file_key: bytes = FILE_KEY) -> bytes:
    salted = b"age-encryption.org/v1/scrypt" + salt
    key = hashlib.scrypt(PASSPHRASE.encode(), salt=salted, n=1 << work_factor, r=8, p=1, dklen=32)
    return wrap(key, file_key)


def scrypt_stanza(work_factor: int = 2, *, written: str | None = None) -> bytes:
    return stanza("scrypt", b64(SALT), written or str(work_factor), body=scrypt_body(work_factor))


def header(*stanzas: bytes, version: bytes = b"age-encryption.org/v1\n") -> bytes:
    """A header with a proper MAC over whatever stands in it."""
    covered = version + b"".join(stanzas) + b"---"
    mac = hmac.digest(hkdf(FILE_KEY, b"", b"header"), covered, "sha256")
    return covered + b" " + b64(mac).encode() + b"\n"


def payload(*chunks: bytes, finals: Sequence[bool] | None = None) -> bytes:
    """Nonce and sealed chunks; the last one is marked final unless ``finals`` says otherwise."""
    cipher = ChaCha20Poly1305(hkdf(FILE_KEY, NONCE, b"payload"))
    marks = finals or [False] * (len(chunks) - 1) + [True]
    sealed = [
        cipher.encrypt(number.to_bytes(11, "big") + bytes([mark]), chunk, None)
        for number, (chunk, mark) in enumerate(zip(chunks, marks, strict=True))
    ]
    return NONCE + b"".join(sealed)


def opened(data: bytes, *identities: Identity) -> bytes:
    """What the code under test makes of a file; the holder's key is tried where none is given."""
    plain = io.BytesIO()
    decrypt(io.BytesIO(data), plain, identities or (HOLDER,))
    return plain.getvalue()


def armor(data: bytes, *, line_end: bytes = b"\n") -> bytes:
    text = base64.b64encode(data)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    framed = [b"-----BEGIN AGE ENCRYPTED FILE-----", *lines, b"-----END AGE ENCRYPTED FILE-----"]
    return line_end.join(framed) + line_end


class Dribble(io.RawIOBase):
    """A pipe on a bad day: hands out and takes in seven bytes at most at a time."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__()
        self._source = io.BytesIO(data)
        self.taken = bytearray()

    def read(self, size: int = -1, /) -> bytes:
        return self._source.read(min(size, 7) if size >= 0 else 7)

    def write(self, data: object, /) -> int:
        part = bytes(memoryview(data)[:7])  # type: ignore[arg-type]
        self.taken += part
        return len(part)
