"""The backup machine's Ed25519 key, and the signatures it puts under manifests and certificates.

What is signed: a line that names the record type ("datasave manifest v1"), then the record without
its signature as canonical JSON: keys sorted, no spaces, UTF-8, times in UTC ending in ``Z``. The line
keeps a signature under a certificate from ever passing for one under a manifest. A public key is
written ``ed25519:`` + base64 of its 32 bytes, a signature as base64 of its 64 bytes.

Beside each manifest lies a second signature, of the whole file, which ``ssh-keygen -Y verify`` checks where
this program isn't (format: PROTOCOL.sshsig of OpenSSH). What is signed begins otherwise there, so neither
passes for the other.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets
import stat
import textwrap
from collections.abc import Collection, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha512
from pathlib import Path
from typing import TypeVar

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tasks.errors import StateError
from tasks.platform.files import create_private, sync_folder
from tasks.platform.ownership import foreign
from tasks.records import UNTIL, Certificate, Manifest, key_of

Signed = TypeVar("Signed", Manifest, Certificate)

PUBLIC_PREFIX = "ed25519:"
PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64
SSH_NAME = "datasave"
"""What stands for a machine in an allowed-signers file, and the namespace of its signatures."""
_SSH_KIND = b"ssh-ed25519"
_SSH_MAGIC = b"SSHSIG"
ANOTHER_MACHINE = "signed by another machine"
LOST_KEY = (
    "Put the file back from a copy. If it is lost, delete it and a new key is made; add the old public key"
    " (`machine` in any manifest) to the plan's signers, so that older backups go on counting."
)


def load_or_create_key(path: Path) -> Ed25519PrivateKey:
    """The machine's private key in ``path`` (PKCS8 PEM, mode 0600), made on first use.

    Two processes that start at once end up with the same key. Raises StateError.
    """
    if not path.exists():
        try:
            _create_key(path)
        except FileExistsError:
            pass  # another process was faster: its key is the machine's
        except OSError as error:
            raise StateError(
                f"cannot make the machine key {path}: {error.strerror}",
                hint="Check the rights of its folder, and that the disk is local and not full.",
            ) from error
    return load_key(path)


def load_key(path: Path) -> Ed25519PrivateKey:
    """The machine's private key in ``path``.

    Raises StateError: missing, readable by others (POSIX), or not an Ed25519 key.
    """
    try:
        with path.open("rb") as stream:
            _refuse_shared(path, stream.fileno())
            pem = stream.read()
    except OSError as error:
        raise StateError(f"cannot read the machine key {path}: {error.strerror}", hint=LOST_KEY) from error
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StateError(f"cannot read the machine key {path}: it is damaged", hint=LOST_KEY) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise StateError(f"cannot use the machine key {path}: it is not an Ed25519 key", hint=LOST_KEY)
    return key


def public_text(key: Ed25519PublicKey) -> str:
    """A public key as it stands in manifests and in the plan: ``ed25519:`` + base64."""
    return PUBLIC_PREFIX + base64.b64encode(key.public_bytes_raw()).decode("ascii")


def allowed_signer(machine: str) -> str:
    """The line of an allowed-signers file (ssh-keygen(1)) for a public key as `public_text` writes it."""
    key = base64.b64decode(key_of(machine).removeprefix(PUBLIC_PREFIX))
    blob = base64.b64encode(_ssh_strings(_SSH_KIND, key)).decode("ascii")
    return f'{SSH_NAME} namespaces="{SSH_NAME}" {_SSH_KIND.decode("ascii")} {blob}'


def ssh_signature(data: bytes, key: Ed25519PrivateKey) -> bytes:
    """The armored signature of a file's content, for ``ssh-keygen -Y verify -n datasave``."""
    name = SSH_NAME.encode("ascii")
    signed = _SSH_MAGIC + _ssh_strings(name, b"", b"sha512", sha512(data).digest())
    public = _ssh_strings(_SSH_KIND, key.public_key().public_bytes_raw())
    signature = _ssh_strings(_SSH_KIND, key.sign(signed))
    version = (1).to_bytes(4, "big")
    blob = _SSH_MAGIC + version + _ssh_strings(public, name, b"", b"sha512", signature)
    lines = textwrap.wrap(base64.b64encode(blob).decode("ascii"), 70)
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""]).encode()


def _ssh_strings(*strings: bytes) -> bytes:
    return b"".join(len(string).to_bytes(4, "big") + string for string in strings)


def json_ready(value: object) -> str:
    """``default`` for json.dumps: a time as UTC ISO text ending in ``Z``. Raises ValueError if naive."""
    if not isinstance(value, datetime):
        raise TypeError(f"not part of a record: {type(value).__name__}")
    if value.utcoffset() is None:
        raise ValueError("a time without a zone cannot be recorded")
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def signed_bytes(record: Manifest | Certificate) -> bytes:
    """Exactly the bytes that a signature covers. Everything but ``signature`` itself is in them."""
    kind = "manifest" if isinstance(record, Manifest) else "certificate"
    text = json.dumps(
        record.model_dump(exclude={"signature"}),
        default=json_ready,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )
    return f"datasave {kind} v1\n{text}".encode()


def sign_record(record: Signed, key: Ed25519PrivateKey) -> Signed:
    """``record`` with ``machine`` and ``signature`` set."""
    named = record.model_copy(update={"machine": public_text(key.public_key())})
    signature = base64.b64encode(key.sign(signed_bytes(named))).decode("ascii")
    return named.model_copy(update={"signature": signature})


def signature_defect(record: Manifest | Certificate, trusted: Collection[str] | None) -> str:
    """Why a record's signature cannot be trusted, in plain words; empty if it can.

    ``trusted`` holds public keys as `public_text` writes them, of keys
    that have ended as records.ended_key does. None asks only whether the record is
    whole, by the key it names itself: a new machine without a plan knows no other.
    """
    if not record.signature:
        return "not signed"
    public = _decoded(record.machine.removeprefix(PUBLIC_PREFIX), PUBLIC_BYTES)
    signature = _decoded(record.signature, SIGNATURE_BYTES)
    if public is None or signature is None or not record.machine.startswith(PUBLIC_PREFIX):
        return "signature does not match"
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed_bytes(record))
    except (InvalidSignature, ValueError):
        return "signature does not match"
    if trusted is not None and record.machine not in trusted:
        return _ended_defect(record, trusted)
    return ""


def without_contradiction(signers: Iterable[str]) -> frozenset[str]:
    """Those trusted; one that has ended by one statement has ended, whatever another one says."""
    told = frozenset(signers)
    over = {key_of(signer) for signer in told if UNTIL in signer}
    return frozenset(signer for signer in told if signer not in over)


def _ended_defect(record: Manifest | Certificate, trusted: Collection[str]) -> str:
    found = (one.partition(UNTIL) for one in trusted)
    ends = [int(until) for machine, _, until in found if until and machine == record.machine]
    if not ends:
        return f"{ANOTHER_MACHINE} ({record.machine[: len(PUBLIC_PREFIX) + 8]}…)"
    return f"signed by a key that ended with backup #{min(ends)}" if record.sequence > min(ends) else ""


def _create_key(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with create_private(temporary) as stream:
            stream.write(pem)
            stream.flush()
            os.fsync(stream.fileno())
        if os.name == "posix":
            # A link fails where the name exists; a rename would replace the other process's key.
            os.link(temporary, path)
        else:
            temporary.rename(path)  # on Windows a rename never replaces
        sync_folder(path.parent)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _refuse_shared(path: Path, descriptor: int) -> None:
    # Whoever reads this key can sign forged manifests, and with them steer what gets pruned.
    info = os.fstat(descriptor)
    if whose := foreign(info):
        raise StateError(
            f"refused the machine key {path}: {whose}",
            hint="Run Datasave under the account that made it. If strangers had it, delete it for a new key.",
        )
    mode = stat.S_IMODE(info.st_mode)
    if os.name == "posix" and mode & 0o077:
        raise StateError(
            f"refused the machine key {path}: others can read it (mode {mode:04o})",
            hint=f"Run `chmod 600 {path}`. If strangers use this machine, delete the file for a new key.",
        )


def _decoded(text: str, size: int) -> bytes | None:
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    # b64decode ignores stray trailing bits: only the one canonical spelling of a key may pass.
    canonical = base64.b64encode(raw).decode("ascii") == text
    return raw if canonical and len(raw) == size else None
