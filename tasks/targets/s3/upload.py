"""Sending an object: small ones in one request, large ones in parts, going on where a dead run stopped.

What makes going on safe: a part that is there already counts only where its size and digest are those of
the part just read from the sealed file, and the object is put together of exactly the parts named.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any, BinaryIO, NamedTuple

from tasks.errors import ObjectMissing, TargetError
from tasks.records import Progress
from tasks.targets.s3.body import Body, Part, multipart_etag, part_bytes, parts, text64
from tasks.targets.s3.connection import Connection
from tasks.targets.s3.errors import code_of, translated
from tasks.targets.s3.unfinished import Unfinished

# The service has other parts than it told us: this upload will never be put together.
_HOPELESS = frozenset({"InvalidPart", "InvalidPartOrder", "NoSuchUpload"})


class _Stored(NamedTuple):
    """A part at the service: its tag for putting the object together, whether its ETag is its MD5."""

    tag: dict[str, Any]
    bytes: int
    plain: bool


class Upload:
    """One object on its way. ``extra`` are its storage class and the like."""

    def __init__(
        self, connection: Connection, name: str, size: int, operation: str, extra: dict[str, str]
    ) -> None:
        self._connection = connection
        self._client = connection.client("writer")
        self._unfinished = Unfinished(connection, name, operation, extra)
        self._name = name
        self._where = {"Bucket": connection.bucket, "Key": connection.key(name)}
        self._size = size
        self._each = part_bytes(size, connection.options.part_size)
        self._doing = operation
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
        whole = parts(reader, self._size, self._each, self._doing, self._allowance)
        small = self._size <= self._each
        version = self._put(next(whole)) if small else self._put_parts(whole, progress)
        progress(self._size, self._size)
        return version

    def _put(self, part: Part) -> str:
        with translated(self._doing, writing=True):
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
            with translated(self._doing, writing=True):
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
            with translated(self._doing, writing=True):
                answer = self._client.complete_multipart_upload(
                    **self._where, UploadId=upload, MultipartUpload={"Parts": tags}
                )
        except TargetError:
            # The answer may have got lost after the deed: then a second asking finds no such upload.
            if self._opaque or not self._is_whole(etag):
                raise
            return ""
        if not self._is_whole(etag):
            raise TargetError(
                f"{self._doing}: what the service put together is not what was sent",
                hint="It is sent again. If that happens again, do not rely on this service.",
            )
        return str(answer.get("VersionId") or "")

    def _is_whole(self, etag: str) -> bool:
        """Whether an object of our size and ETag is there now."""
        try:
            found = self._connection.find(self._name, self._doing)
        except ObjectMissing:
            return False
        return found.bytes == self._size and (self._opaque or found.etag == etag)


def _stored(part: Part, answer: dict[str, Any]) -> _Stored:
    """From the answer to a part, or from its line in the list of parts."""
    tag = {key: answer[key] for key in ("ETag", "ChecksumSHA256") if key in answer}
    plain = answer["ETag"].strip('"') == part.etag
    return _Stored(tag | {"PartNumber": part.number}, len(part.data), plain)
