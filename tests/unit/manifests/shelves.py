"""Manifests, places and shelves for tests: real signatures, objects in a dict."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, BinaryIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tasks.errors import ObjectMissing
from tasks.manifests.manifest import manifest_name, sealed_name, stem, to_json
from tasks.manifests.signing import public_text, sign_record
from tasks.records import BackupEntry, Certificate, Finding, Holder, Manifest, Properties, Stat

# RFC 8032, section 7.1, test 1: a key whose public half is known from elsewhere.
KEY = Ed25519PrivateKey.from_private_bytes(
    bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
)
MACHINE = public_text(KEY.public_key())
STRANGER = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
TAKEN = datetime(2026, 11, 23, 2, tzinfo=UTC)
SEALED = b"sealed archive"


def manifest(sequence: int = 417, taken: datetime = TAKEN, **changes: Any) -> Manifest:
    """An unsigned manifest of source "clinic"; ``sealed_name`` follows the other facts."""
    facts: dict[str, Any] = {
        "source": "clinic",
        "kind": "sqlite",
        "engine_version": "3.45.1",
        "program_version": "0.1.0",
        "sequence": sequence,
        "taken": taken,
        "sealed_at": taken,
        "copy_bytes": 73728,
        "archive_bytes": 9000,
        "archive_sha256": "a" * 64,
        "sealed_bytes": len(SEALED),
        "sealed_sha256": f"{sequence:064x}",
        "recipients": (Holder(name="Bank safe – Zürich", recipient="age1qqqq"),),
        "checks": (Finding(check="integrity", passed=True, detail="1 of 1 passed"),),
        "contents": "-----BEGIN AGE ENCRYPTED FILE-----\n…\n-----END AGE ENCRYPTED FILE-----\n",
        "machine": "",
        **changes,
    }
    facts.setdefault("sealed_name", sealed_name(stem(facts["source"], taken, sequence)))
    return Manifest(**facts)


def signed(sequence: int = 417, taken: datetime = TAKEN, **changes: Any) -> Manifest:
    """The same, signed by KEY."""
    return sign_record(manifest(sequence, taken, **changes), KEY)


def certificate(**changes: Any) -> Certificate:
    """An unsigned certificate for backup 417 of source "clinic"."""
    facts: dict[str, Any] = {
        "source": "clinic",
        "sequence": 417,
        "sealed_name": sealed_name(stem("clinic", TAKEN, 417)),
        "sealed_sha256": f"{417:064x}",
        "target": "nas",
        "holder": "Owner",
        "drilled": datetime(2026, 11, 29, 6, tzinfo=UTC),
        "seconds": 12.5,
        "passed": True,
        "checks": (Finding(check="integrity", passed=True, detail="1 of 1 passed"),),
        "contents": "",
        "machine": "",
        **changes,
    }
    return Certificate(**facts)


class ShortReads(io.BytesIO):
    """Gives less than it is asked for, as a network does."""

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = 1 << 20 if size is None or size < 0 else size
        return super().read(min(wanted, 1000))


class DictTarget:
    """A place whose objects lie in a dict; ``faults`` are raised when an object is opened."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.properties = Properties()
        self.faults: dict[str, Exception] = {}

    def add(self, record: Manifest, slot: str = "", archive: bytes | None = SEALED, name: str = "") -> None:
        """Put a manifest and its archive; ``name`` is another stem than the record's own."""
        own = name or record.sealed_name.removesuffix(".tar.zst.age")
        folder = f"{slot}/" if slot else ""
        self.objects[folder + manifest_name(own)] = to_json(record)
        if archive is not None:
            self.objects[folder + sealed_name(own)] = archive

    def list(self, prefix: str = "") -> list[Stat]:
        """As Target.list."""
        names = sorted(name for name in self.objects if name.startswith(prefix))
        return [Stat(name=name, bytes=len(self.objects[name])) for name in names]

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """As Target.open."""
        if name in self.faults:
            raise self.faults[name]
        if name not in self.objects:
            raise ObjectMissing(f"cannot open {name}: it is not there")
        yield ShortReads(self.objects[name])


def backup_entry(sequence: int, taken: datetime, slot: str = "", defect: str = "") -> BackupEntry:
    """A backup as a shelf would show it, for the pure functions that judge one."""
    record = manifest(sequence, taken)
    own = stem("clinic", taken, sequence)
    path = f"{slot}/{own}" if slot else own
    return BackupEntry(
        name=sealed_name(own),
        slot=slot,
        manifest_name=manifest_name(path),
        manifest=record,
        defect=defect,
        bytes=record.sealed_bytes,
    )
