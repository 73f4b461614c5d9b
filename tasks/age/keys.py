"""Recipients and identities from their text, and key files, with a passphrase or without.

A key file under a passphrase is an age file itself, as ``age -p`` makes it; ``age -d -i FILE`` asks for its
passphrase. Errors never quote the text: it may be a secret.
"""

from __future__ import annotations

from io import BytesIO

from tasks.age import hybrid, x25519
from tasks.age.armor import ARMOR_BEGIN
from tasks.age.encoding import decode_bech32
from tasks.age.file import decrypt, encrypt
from tasks.age.header import MAGIC
from tasks.age.hybrid import HybridIdentity, HybridRecipient
from tasks.age.recipients import Identity, Recipient
from tasks.age.scrypt import ScryptIdentity, ScryptRecipient
from tasks.age.x25519 import X25519Identity, X25519Recipient
from tasks.errors import KeyFormatError

KeyPair = X25519Identity | HybridIdentity

# A key file is a few lines; stock age reads no more than this of one.
MAX_KEY_FILE_BYTES = 1 << 24

_SECRET_KEY = "AGE-SECRET-KEY-"  # noqa: S105 - how the text of a secret key begins
_KEY_FILE_HINT = (
    "Give the key file that `datasave keys new` or age-keygen made for a holder: it has a line that begins "
    "with AGE-SECRET-KEY-, in capital letters."
)
_PUBLIC = "the public half of a key"
# How the texts of keys of other sorts begin, in small letters.
_OTHER_KEYS = {
    "-----begin openssh": "an SSH key",
    "-----begin": "a key of another sort",
    "ssh-": "an SSH key",
    "ecdsa-": "an SSH key",
    "sk-": "an SSH key",
    "age-plugin-": "a key for a plugin of age, such as a hardware token's",
    "age1": _PUBLIC,
}

__all__ = [
    "MAX_KEY_FILE_BYTES",
    "HybridIdentity",
    "HybridRecipient",
    "Identity",
    "KeyPair",
    "Recipient",
    "ScryptIdentity",
    "ScryptRecipient",
    "X25519Identity",
    "X25519Recipient",
    "is_protected",
    "key_pairs_of",
    "parse_identity",
    "parse_identity_file",
    "parse_recipient",
    "protect",
    "secret_bytes",
    "unprotect",
]


def parse_recipient(text: str) -> X25519Recipient | HybridRecipient:
    """A recipient from ``age1…`` or ``age1pq1…``; raises KeyFormatError."""
    if text.strip().upper().startswith(x25519.IDENTITY_PREFIX):
        raise KeyFormatError(
            "cannot use a secret key as a recipient",
            hint="Give the public key that begins with age1. The secret one belongs to its holder alone; "
            "if others may have seen it, make a new pair.",
        )
    _refuse_other_keys(text.strip(), "recipient", "Recipients begin with age1 or age1pq1, in small letters.")
    prefix, data = decode_bech32(text.strip())
    if prefix == x25519.RECIPIENT_PREFIX:
        return X25519Recipient(data)
    if prefix == hybrid.RECIPIENT_PREFIX:
        return HybridRecipient(data)
    raise KeyFormatError(
        "cannot use the recipient: it is of a kind this program does not know",
        hint="Recipients begin with age1 or age1pq1, in small letters. Keys of hardware tokens and SSH keys "
        "do not work here.",
    )


def parse_identity(text: str) -> KeyPair:
    """An identity from ``AGE-SECRET-KEY-1…`` or ``AGE-SECRET-KEY-PQ-1…``; raises KeyFormatError."""
    line = text.strip()
    _refuse_other_keys(line, "identity", _KEY_FILE_HINT)
    if not line.upper().startswith(_SECRET_KEY):
        # Whatever it is, no character was lost: it is another file.
        raise KeyFormatError("cannot use the identity: it is not a secret age key", hint=_KEY_FILE_HINT)
    prefix, data = decode_bech32(line)
    if prefix == x25519.IDENTITY_PREFIX:
        return X25519Identity(data)
    if prefix == hybrid.IDENTITY_PREFIX:
        return HybridIdentity(data)
    raise KeyFormatError(
        "cannot use the identity: it is not a secret age key",
        hint="Secret keys begin with AGE-SECRET-KEY-1 or AGE-SECRET-KEY-PQ-1, in capital letters.",
    )


def _refuse_other_keys(text: str, use: str, hint: str) -> None:
    """Raise KeyFormatError for keys of other sorts: they are whole, and of no use here."""
    folded = text.casefold()
    sort = next((sort for begins, sort in _OTHER_KEYS.items() if folded.startswith(begins)), "")
    if sort and not (sort == _PUBLIC and use == "recipient"):
        raise KeyFormatError(f"cannot use the {use}: it is {sort}", hint=hint)


def parse_identity_file(text: str) -> list[KeyPair]:
    """All identities of a key file as age-keygen writes it: one a line, # begins a comment line.

    Raises KeyFormatError, naming the line by its number.
    """
    identities: list[KeyPair] = []
    # Windows editors put a byte order mark before the first line.
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            identities.append(parse_identity(line))
        except KeyFormatError as error:
            raise KeyFormatError(f"line {number} of the key file: {error.message}", hint=error.hint) from None
    if not identities:
        raise KeyFormatError(
            "cannot use the key file: it holds no secret key",
            hint="Give the file that age-keygen wrote, with a line that begins with AGE-SECRET-KEY-.",
        )
    return identities


def secret_bytes(identity: KeyPair) -> bytes:
    """The 32 bytes that an identity is made of: an X25519 scalar, or a hybrid seed. Never shown."""
    return decode_bech32(identity.secret_text())[1]


def key_pairs_of(secret: bytes) -> tuple[KeyPair, KeyPair]:
    """Both kinds of identity that these 32 bytes can be; the recipient tells which one was meant."""
    return X25519Identity(secret), HybridIdentity(secret)


def is_protected(data: bytes) -> bool:
    """Whether a key file is encrypted, in either form that age writes."""
    return data.startswith(MAGIC) or data.lstrip().startswith(ARMOR_BEGIN)


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
