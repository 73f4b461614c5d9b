"""Uploads that were begun and not finished: which one to go on with, and removing the others.

Their parts are paid for until someone aborts them. Of the object being sent that is done here; those of
objects that are never sent again are for the bucket's lifecycle rule (s3_bucket.py asks for it).
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

from tasks.errors import TargetError
from tasks.targets.s3.connection import Connection
from tasks.targets.s3.errors import cannot, denied, translated

# Uploads that a thread of this process works on: nobody else may go on with them or abort them.
_claimed: set[str] = set()
_lock = threading.Lock()


class Unfinished:
    """The unfinished uploads of one object."""

    def __init__(self, connection: Connection, name: str, operation: str, extra: dict[str, str]) -> None:
        self._client = connection.client("writer")
        self._where = {"Bucket": connection.bucket, "Key": connection.key(name)}
        self._doing = operation
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
        with suppress(TargetError), translated(self._doing):
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
        with translated(self._doing, writing=True):
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
        with translated(self._doing):
            try:
                found = [entry for page in pages.paginate(**where) for entry in page.get("Uploads", ())]
            except ClientError as error:
                if denied(error) or cannot(error):
                    return []  # nothing is gone on with then, and all is sent
                raise
        return [entry for entry in found if entry["Key"] == self._where["Key"]]

    def _parts(self, upload: str) -> dict[int, dict[str, Any]]:
        pages = self._client.get_paginator("list_parts")
        with translated(self._doing):
            found = pages.paginate(**self._where, UploadId=upload)
            return {int(part["PartNumber"]): part for page in found for part in page.get("Parts", ())}


def _claim(upload: str) -> bool:
    with _lock:
        if upload in _claimed:
            return False
        _claimed.add(upload)
        return True
