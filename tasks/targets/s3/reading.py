"""Reading an object as a stream, going on where the connection was cut, and asking for it in cold storage."""

from __future__ import annotations

import io
from typing import Any

from typing_extensions import Buffer

from tasks.errors import TargetError
from tasks.targets.s3.connection import S3Client
from tasks.targets.s3.errors import cannot, code_of, translate, translated
from tasks.targets.s3.options import thaw_seconds

# Cuts in a row, with not a byte in between, after which it is given up.
_CUTS = 3

_MINUTE, _HOUR = 60, 3600


def thaw(connection: S3Client, name: str, operation: str) -> float:
    """Ask for a frozen object; seconds until it can probably be read, 0.0 if it can now."""
    client = connection.client("reader")
    where = connection.where(name)
    wanted = connection.options.thaw
    with translated(operation):
        head = client.head_object(**where)
    seconds = thaw_seconds(head.get("StorageClass"), wanted.tier)
    state = head.get("Restore", "")
    if not seconds or 'ongoing-request="false"' in state:
        return 0.0
    if not state:
        from botocore.exceptions import ClientError

        request = {"Days": wanted.days, "GlacierJobParameters": {"Tier": wanted.tier}}
        with translated(operation):
            try:
                client.restore_object(**where, RestoreRequest=request)
            except ClientError as error:
                if cannot(error):
                    return 0.0  # a service that has the class by name only: it is read like any other
                if code_of(error) != "RestoreAlreadyInProgress":
                    raise
    return float(seconds)


class ObjectReader(io.RawIOBase):
    """An object's bytes. After a cut it goes on from the same byte of the same version, by ETag."""

    def __init__(self, connection: S3Client, name: str, operation: str) -> None:
        super().__init__()
        self._connection = connection
        self._name = name
        self._operation = operation
        self._where = connection.where(name)
        self._position = 0
        self._etag = ""
        self._body: Any = self._open()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        view = memoryview(buffer).cast("B")
        for cut in range(_CUTS + 1):
            try:
                if cut:
                    self._body.close()
                    self._body = self._open()
                data = self._body.read(len(view))
            except (BotoCoreError, HTTPError, OSError) as error:
                if cut == _CUTS:
                    raise translate(error, self._operation) from error
                continue
            view[: len(data)] = data
            self._position += len(data)
            return len(data)
        return 0

    def close(self) -> None:
        if not self.closed:
            self._body.close()
        super().close()

    def _open(self) -> Any:
        from botocore.exceptions import ClientError

        same = {"IfMatch": self._etag, "Range": f"bytes={self._position}-"} if self._etag else {}
        with translated(self._operation):
            try:
                answer = self._connection.client("reader").get_object(**self._where, **same)
            except ClientError as error:
                if code_of(error) != "InvalidObjectState":
                    raise
                raise self._frozen() from error
        self._etag = answer["ETag"]
        return answer["Body"]

    def _frozen(self) -> TargetError:
        seconds = thaw(self._connection, self._name, self._operation)
        return TargetError(
            f"{self._operation}: it is in cold storage, and was asked for",
            hint=f"It can probably be read in {_duration(seconds)}, for {self._connection.options.thaw.days} "
            "days then. Do the same again at that time.",
            permanent=False,
        )


def _duration(seconds: float) -> str:
    """Hours as the service's own table has them: humanize would make "2 days" of 48."""
    return (
        f"{round(seconds / _HOUR)} hours" if seconds >= 2 * _HOUR else f"{round(seconds / _MINUTE)} minutes"
    )
