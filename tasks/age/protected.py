"""Identity files under a passphrase, as ``age -p`` makes them: the whole file is an age file itself.

``age -d -i FILE`` asks for the passphrase of such a file, so the stock way back stays open.
"""

from __future__ import annotations

from io import BytesIO

from tasks.age.file import decrypt, encrypt
from tasks.age.header import MAGIC
from tasks.age.scrypt import ScryptIdentity, ScryptRecipient

# A key file is a few lines; stock age reads no more than this of one.
MAX_BYTES = 1 << 24
_ARMOR = b"-----BEGIN AGE ENCRYPTED FILE-----"


def is_protected(data: bytes) -> bool:
    """Whether a key file is encrypted, in either form that age writes."""
    return data.startswith(MAGIC) or data.lstrip().startswith(_ARMOR)


def protect(text: str, passphrase: str) -> bytes:
    """A key file's text under a passphrase, in the ASCII form; raises KeyFormatError."""
    sealed = BytesIO()
    encrypt(BytesIO(text.encode("utf-8")), sealed, [ScryptRecipient(passphrase)], armored=True)
    return sealed.getvalue()


def unprotect(data: bytes, passphrase: str) -> bytes:
    """What a protected key file holds. Raises NoMatchingIdentity where the passphrase is another."""
    plain = BytesIO()
    decrypt(BytesIO(data), plain, [ScryptIdentity(passphrase)])
    return plain.getvalue()
