"""A bucket at AWS, or at another service that speaks S3: the target."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import BinaryIO, ClassVar

from tasks.platform.files import BLOCK, HashingReader
from tasks.records import Progress, Properties, Stat, no_progress
from tasks.targets.base import Target
from tasks.targets.capabilities import (
    SupportsLock,
    SupportsPolicies,
    SupportsPrepare,
    SupportsProbe,
    SupportsThaw,
    SupportsVerify,
    reads_back,
)
from tasks.targets.s3.bucket import policies, survey
from tasks.targets.s3.connection import READERS, S3Client
from tasks.targets.s3.errors import S3_ERRORS, translated
from tasks.targets.s3.lock import ObjectLock, locked_until, remove
from tasks.targets.s3.options import S3Options
from tasks.targets.s3.reading import ObjectReader, thaw
from tasks.targets.s3.upload import Upload, multipart_etag, part_bytes

_ARCHIVE = ".tar.zst.age"
_PAGES = ("RECOVER.md", "RUNBOOK.md", "RUNBOOK.html")
_LOCKED = (_ARCHIVE, ".manifest.json", ".manifest.json.sig", ".journal.zst.age", *_PAGES)


class S3Target(
    Target,
    SupportsPrepare,
    SupportsProbe,
    SupportsVerify,
    SupportsLock,
    SupportsThaw,
    SupportsPolicies,
):
    """Objects are objects of a bucket, below the plan's ``prefix``.

    Writing never reads, and never needs the right to: what is there is looked up in listings. Archives,
    manifests and the recovery pages are locked where the plan says so. Certificates are not: one
    made years later would outlast its archive, and pruning, which takes the manifest first, would stop
    between the two.
    """

    kind: ClassVar[str] = "s3"
    errors = S3_ERRORS

    def __init__(self, name: str, options: S3Options) -> None:
        super().__init__(name)
        self._options = options
        self._connection = S3Client(name, options)
        self._object_lock = ObjectLock(self._connection, options.lock) if options.lock else None
        self.properties = Properties(
            immutable_until=locked_until(options.lock, datetime.now(UTC)) if options.lock else None,
            thaw_seconds=options.thaw_seconds,
            readers=READERS,
            stamps_prove=True,
        )

    def prepare(self) -> str:
        """Look at the bucket and say what it lacks; nothing is made or changed. Raises TargetError."""
        return survey(self._connection)

    def probe(self) -> str:
        """As ``prepare``: a small object could not be taken away again with keys that only write."""
        return self.prepare()

    def policies(self) -> dict[str, str]:
        """The least rights for writer, reader and pruner, as JSON text; the writer is held to the prefix."""
        return policies(self._connection.bucket, self._options.prefix)

    def put(self, name: str, reader: BinaryIO, size: int, progress: Progress = no_progress) -> Stat:
        """Send, then lock, then look at the lock. Raises TargetUnlocked where it is there without one.

        A put that was cut off, even by the death of the process, goes on where it stopped when the
        same bytes are put under the same name again.
        """
        operation = f"cannot store {name} on {self.name}"
        self._connection.key(name)
        lock = self._object_lock if name.endswith(_LOCKED) else None
        if lock:
            lock.check_bucket(operation)
        in_class = self._options.storage_class and name.endswith(_ARCHIVE)
        extra = {"StorageClass": self._options.storage_class or ""} if in_class else {}
        version = Upload(self._connection, name, size, operation, extra).run(reader, progress)
        if lock:
            lock.hold(name, version, operation)
        return Stat(name=name, bytes=size)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Read an object, with the reader's keys; a cut connection is taken up again.

        An object in cold storage is asked for, and TargetError says when to come back.
        """
        operation = f"cannot read {name} on {self.name}"
        with io.BufferedReader(ObjectReader(self._connection, name, operation), BLOCK) as stream:
            yield stream

    def stat(self, name: str) -> Stat:
        """Size of an object. Raises ObjectMissing."""
        found = self._connection.find(name, f"cannot find {name} on {self.name}")
        return Stat(name=name, bytes=found.bytes)

    def list(self, prefix: str = "") -> list[Stat]:
        """All objects of our folder, current versions only."""
        with translated(f"cannot list {self.name}"):
            found = [
                Stat(name=name, bytes=item.bytes, stamp=f"{item.etag} {item.modified}")
                for name, item in self._connection.list(prefix)
            ]
        return sorted(found, key=lambda stat: stat.name)

    def delete(self, name: str) -> None:
        """Remove an object and its older versions, with the pruner's keys.

        Raises ObjectMissing, or TargetLocked, which says until when.
        """
        remove(self._connection, name, f"cannot delete {name} on {self.name}")

    def free_space(self) -> int | None:
        """Unknown: no service says what is left of a quota."""
        return None

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def verify(
        self,
        name: str,
        size: int,
        sha256: str,
        progress: Progress = no_progress,
        local: BinaryIO | None = None,
    ) -> bool:
        """Compare size and ETag with those of ``local``; without it, or where the ETag says nothing, read.

        The service made the ETag from the bytes it stored. Raises TargetUnlocked where the plan asks for a
        lock and it is not there.
        """
        operation = f"cannot verify {name} on {self.name}"
        found = self._connection.find(name, operation)
        if found.bytes != size:
            return False
        same = local is not None and self._has_etag_of(local, size, sha256, found.etag, progress)
        # An ETag that differs is no proof of damage: with KMS keys, or other part sizes, it always does.
        same = same or reads_back(self, name, size, sha256, progress)
        if self._object_lock and name.endswith(_LOCKED):
            self._object_lock.check(name, found.modified, operation)
        return same

    def locked_until(self, name: str) -> datetime | None:
        """As the service says it, for what the plan wants locked."""
        if self._object_lock is None or not name.endswith(_LOCKED):
            return None
        operation = f"cannot look at the lock of {name} on {self.name}"
        return self._object_lock.end_of(name, self._connection.find(name, operation).modified, operation)

    def thaw(self, name: str) -> float:
        """Ask for an archive out of cold storage; seconds until it can probably be read, 0.0 if it can."""
        operation = f"cannot wake {name} on {self.name}"
        self._connection.find(name, operation, role="reader")
        return thaw(self._connection, name, operation)

    def _has_etag_of(self, local: BinaryIO, size: int, sha256: str, etag: str, progress: Progress) -> bool:
        """Whether ``local`` is the bytes of ``sha256``, and their ETag is the object's."""
        digests, whole = _digests(local, size, part_bytes(size, self._options.part_size), progress)
        formula = multipart_etag(digests) if "-" in etag else digests[0].hex()
        return whole == sha256 and etag == formula


def _digests(local: BinaryIO, size: int, each: int, progress: Progress) -> tuple[list[bytes], str]:
    """MD5 of each part of ``each`` bytes, and the sha256 of all."""
    reader = HashingReader(local, progress, size)
    digests, left = [], each
    md5 = hashlib.md5(usedforsecurity=False)
    while block := reader.read(min(BLOCK, left)):
        md5.update(block)
        left -= len(block)
        if not left:
            digests.append(md5.digest())
            md5, left = hashlib.md5(usedforsecurity=False), each
    if left < each or not digests:
        digests.append(md5.digest())
    return digests, reader.hexdigest()
