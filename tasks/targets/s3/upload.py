"""Sending an object: small ones in one request, large ones in parts, going on where a dead run stopped.

Written by hand on botocore's calls, since no kept library goes on with an upload that another process began:
boto3's s3transfer starts anew and leaves the parts behind, to be paid for. What makes going on safe: a part
that is there already counts only where its size and digest are those of the part just read from the sealed
file, and the object is put together of exactly the parts named.

Parts of uploads that were not finished are paid for until someone aborts them. Of the object being sent that
is done here; those of objects that are never sent again are for the bucket's lifecycle rule (bucket.py asks
for it).
"""

from __future__ import annotations

import hashlib
import threading
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from tasks.errors import ObjectMissing, TargetError
from tasks.records import Progress
from tasks.targets.s3.connection import Body, S3Client
from tasks.targets.s3.errors import cannot, code_of, denied, translated
from tasks.targets.s3.options import MIB, MOST_PARTS
from tasks.targets.shared.transfer import exactly


@dataclass
class Part:
    """One part of an object, numbered from 1, and its MD5."""

    number: int
    data: bytearray
    md5: bytes

    @property
    def sha256(self) -> bytes:
        """Computed when it is asked for: only services with Amazon's newer checksums want it."""
        return hashlib.sha256(self.data).digest()

    @property
    def etag(self) -> str:
        """The ETag a service gives it where it does not encrypt with keys of its own."""
        return self.md5.hex()


def part_bytes(size: int, wanted: int) -> int:
    """Size of the parts of an object of ``size`` bytes: ``wanted`` MiB, or more where 10,000 are too few."""
    smallest = -(-size // MOST_PARTS)
    return max(wanted * MIB, -(-smallest // MIB) * MIB)


def parts(
    reader: BinaryIO, size: int, each: int, operation: str, allowance: threading.Semaphore
) -> Iterator[Part]:
    """The parts of exactly ``size`` bytes, ``each`` long but the last; one is begun when ``allowance`` lets.

    Raises TargetError as transfer.exactly does.
    """
    number, filled = 1, 0
    data = _buffer(size, each, allowance)
    for block in exactly(reader, size, operation):
        rest = memoryview(block)
        while rest:
            if filled == len(data):
                yield _part(number, data)
                number, filled = number + 1, 0
                data = bytearray()  # let go of the old one before there is another
                data = _buffer(size - (number - 1) * each, each, allowance)
            taken = rest[: len(data) - filled]
            data[filled : filled + len(taken)] = taken
            filled += len(taken)
            rest = rest[len(taken) :]
    yield _part(number, data)


def _buffer(left: int, each: int, allowance: threading.Semaphore) -> bytearray:
    allowance.acquire()
    return bytearray(min(left, each))


def _part(number: int, data: bytearray) -> Part:
    return Part(number, data, hashlib.md5(data, usedforsecurity=False).digest())


def multipart_etag(digests: list[bytes]) -> str:
    """The ETag of an object made of parts with these MD5 digests: of all services that imitate Amazon."""
    joined = hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest()
    return f"{joined}-{len(digests)}"


def text64(digest: bytes) -> str:
    """A digest as headers want it."""
    return b64encode(digest).decode("ascii")


# Uploads that a thread of this process works on: nobody else may go on with them or abort them.
_claimed: set[str] = set()
_lock = threading.Lock()


class Unfinished:
    """The unfinished uploads of one object."""

    def __init__(self, connection: S3Client, name: str, operation: str, extra: dict[str, str]) -> None:
        self._client = connection.client("writer")
        self._where = connection.where(name)
        self._operation = operation
        self._extra = extra
        self._algorithm = "SHA256" if connection.checksums == "when_supported" else None

    def claim(self, count: int) -> tuple[str, dict[int, dict[str, Any]]]:
        """The id of an upload that is ours until ``release``, and its parts by number.

        The newest that fits, or a new one. One with parts beyond ``count``, begun with another part size,
        does not: some services (radosgw) put an object together of all its parts or not at all. Raises
        TargetError.
        """
        for entry in sorted(self._list(), key=lambda entry: entry["Initiated"], reverse=True):
            upload = str(entry["UploadId"])
            if _claim(upload):
                with suppress(TargetError):
                    there = self._parts(upload)
                    if max(there, default=0) <= count and self._fits(entry, there):
                        return upload, there
                self.release(upload)
        return self._create(), {}

    def release(self, upload: str) -> None:
        """Let others have it."""
        with _lock:
            _claimed.discard(upload)

    def abort(self, upload: str) -> None:
        """Remove an upload and its parts where that can be done; what stays only costs money."""
        with suppress(TargetError), translated(self._operation):
            self._client.abort_multipart_upload(**self._where, UploadId=upload)

    def abort_dead(self) -> None:
        """Remove what dead runs left of this object."""
        with suppress(TargetError):
            for entry in self._list():
                upload = str(entry["UploadId"])
                if _claim(upload):
                    self.abort(upload)
                    self.release(upload)

    def _create(self) -> str:
        sums = {"ChecksumAlgorithm": self._algorithm} if self._algorithm else {}
        with translated(self._operation, writing=True):
            answer = self._client.create_multipart_upload(**self._where, **sums, **self._extra)
        upload = str(answer["UploadId"])
        _claim(upload)
        return upload

    def _fits(self, entry: dict[str, Any], there: dict[int, dict[str, Any]]) -> bool:
        """Whether it was begun with what the plan says now: neither can be changed any more."""
        if entry.get("StorageClass", "STANDARD") != self._extra.get("StorageClass", "STANDARD"):
            return False
        if "ChecksumAlgorithm" in entry:
            return bool(entry["ChecksumAlgorithm"] == self._algorithm)
        # Not every service says so of the upload; then its parts do.
        with_sums = ["ChecksumSHA256" in part for part in there.values()]
        return not any(with_sums) if self._algorithm is None else bool(there) and all(with_sums)

    def _list(self) -> list[dict[str, Any]]:
        from botocore.exceptions import ClientError

        pages = self._client.get_paginator("list_multipart_uploads")
        where = {"Bucket": self._where["Bucket"], "Prefix": self._where["Key"]}
        with translated(self._operation):
            try:
                found = [entry for page in pages.paginate(**where) for entry in page.get("Uploads", ())]
            except ClientError as error:
                if denied(error) or cannot(error):
                    return []  # nothing is gone on with then, and all is sent
                raise
        return [entry for entry in found if entry["Key"] == self._where["Key"]]

    def _parts(self, upload: str) -> dict[int, dict[str, Any]]:
        pages = self._client.get_paginator("list_parts")
        with translated(self._operation):
            found = pages.paginate(**self._where, UploadId=upload)
            return {int(part["PartNumber"]): part for page in found for part in page.get("Parts", ())}


def _claim(upload: str) -> bool:
    with _lock:
        if upload in _claimed:
            return False
        _claimed.add(upload)
        return True


# The service has other parts than it listed: this upload can never be completed.
_HOPELESS = frozenset({"InvalidPart", "InvalidPartOrder", "NoSuchUpload"})


class _Stored(NamedTuple):
    """A part at the service: its tag for putting the object together, whether its ETag is its MD5."""

    tag: dict[str, Any]
    bytes: int
    plain: bool


class Upload:
    """The upload of one object. ``extra`` are its storage class and the like."""

    def __init__(
        self, connection: S3Client, name: str, size: int, operation: str, extra: dict[str, str]
    ) -> None:
        self._connection = connection
        self._client = connection.client("writer")
        self._unfinished = Unfinished(connection, name, operation, extra)
        self._name = name
        self._where = connection.where(name)
        self._size = size
        self._each = part_bytes(size, connection.options.part_size)
        self._operation = operation
        self._extra = extra
        self._sha256 = connection.checksums == "when_supported"
        self._stopped = threading.Event()
        self._allowance = threading.Semaphore(connection.options.parallel + 1)
        self._pending: set[Future[_Stored]] = set()
        self._tags: list[dict[str, Any]] = []
        self._sent = 0
        # Whether the service's ETags are no MD5, as where it encrypts with keys from its KMS.
        self._opaque = False

    def run(self, reader: BinaryIO, progress: Progress) -> str:
        """Send it all; the version made, "" where there are none or the answer got lost.

        Raises TargetError, and what the reader raises. After a fault that may pass, the parts stay for
        the next try; after any other they are removed, since nobody would ever use them.
        """
        whole = parts(reader, self._size, self._each, self._operation, self._allowance)
        small = self._size <= self._each
        version = self._put(next(whole)) if small else self._put_parts(whole, progress)
        progress(self._size, self._size)
        return version

    def _put(self, part: Part) -> str:
        with translated(self._operation, writing=True):
            answer = self._client.put_object(**self._where, **self._payload(part), **self._extra)
        return str(answer.get("VersionId") or "")

    def _payload(self, part: Part) -> dict[str, Any]:
        """A part's bytes and the digests by which the service refuses what was damaged on the way."""
        newer = {"ChecksumSHA256": text64(part.sha256)} if self._sha256 else {}
        body = Body(part.data, self._connection.throttle, self._stopped)
        return {"Body": body, "ContentLength": len(part.data), "ContentMD5": text64(part.md5), **newer}

    def _put_parts(self, whole: Iterator[Part], progress: Progress) -> str:
        upload, there = self._unfinished.claim(-(-self._size // self._each))
        try:
            etag = self._send_all(upload, there, whole, progress)
            version = self._complete(upload, etag)
        except Exception as error:
            if not isinstance(error, TargetError) or error.permanent or code_of(error.__cause__) in _HOPELESS:
                self._unfinished.abort(upload)
            raise
        finally:
            self._unfinished.release(upload)
        self._unfinished.abort_dead()
        return version

    def _send_all(
        self, upload: str, there: dict[int, dict[str, Any]], whole: Iterator[Part], progress: Progress
    ) -> str:
        """Send what is not there yet; the ETag that the whole object will have."""
        digests = []
        with ThreadPoolExecutor(self._connection.options.parallel) as pool:
            try:
                for part in whole:
                    digests.append(part.md5)
                    if not self._is_there(there.get(part.number), part):
                        self._pending.add(pool.submit(self._send, upload, part))
                    del part  # its memory is counted: as soon as it was sent it must be free
                    self._gather({future for future in self._pending if future.done()})
                    progress(self._sent, self._size)
                for future in as_completed(set(self._pending)):
                    self._gather({future})
                    progress(self._sent, self._size)
            except BaseException:
                self._stopped.set()
                raise
        return multipart_etag(digests)

    def _is_there(self, entry: dict[str, Any] | None, part: Part) -> bool:
        if entry is None or entry["Size"] != len(part.data):
            return False
        if "ChecksumSHA256" in entry:
            same = entry["ChecksumSHA256"] == text64(part.sha256)
        else:
            same = entry["ETag"].strip('"') == part.etag
        if same:
            self._note(_stored(part, entry))
            self._allowance.release()
        return bool(same)

    def _send(self, upload: str, part: Part) -> _Stored:
        try:
            with translated(self._operation, writing=True):
                answer = self._client.upload_part(
                    **self._where, UploadId=upload, PartNumber=part.number, **self._payload(part)
                )
            return _stored(part, answer)
        finally:
            self._allowance.release()

    def _gather(self, done: set[Future[_Stored]]) -> None:
        """Note what was sent; raises what kept a part from being sent."""
        self._pending -= done
        for future in done:
            self._note(future.result())

    def _note(self, stored: _Stored) -> None:
        self._tags.append(stored.tag)
        self._sent += stored.bytes
        self._opaque = self._opaque or not stored.plain

    def _complete(self, upload: str, etag: str) -> str:
        tags = sorted(self._tags, key=lambda tag: int(tag["PartNumber"]))
        try:
            with translated(self._operation, writing=True):
                answer = self._client.complete_multipart_upload(
                    **self._where, UploadId=upload, MultipartUpload={"Parts": tags}
                )
        except TargetError:
            # The answer may be lost after the upload was completed: asking again finds no such upload then.
            if self._opaque or not self._is_whole(etag):
                raise
            return ""
        if not self._is_whole(etag):
            raise TargetError(
                f"{self._operation}: what the service put together is not what was sent",
                hint="It is sent again. If that happens again, do not rely on this service.",
            )
        return str(answer.get("VersionId") or "")

    def _is_whole(self, etag: str) -> bool:
        """Whether an object of our size and ETag is there now."""
        try:
            found = self._connection.find(self._name, self._operation)
        except ObjectMissing:
            return False
        return found.bytes == self._size and (self._opaque or found.etag == etag)


def _stored(part: Part, answer: dict[str, Any]) -> _Stored:
    """From the answer to a part, or from its line in the list of parts."""
    tag = {key: answer[key] for key in ("ETag", "ChecksumSHA256") if key in answer}
    plain = answer["ETag"].strip('"') == part.etag
    return _Stored(tag | {"PartNumber": part.number}, len(part.data), plain)
