"""Access to a bucket: one client for each set of keys, the bodies of requests, and the names of objects as
keys of the bucket."""

from __future__ import annotations

import io
import threading
from functools import cache
from typing import Any, Literal, NamedTuple

from tasks.platform.secrets import secret_of
from tasks.targets.base import check_name
from tasks.targets.s3.errors import translated
from tasks.targets.s3.options import S3Options
from tasks.targets.shared.errors import NO_OBJECT
from tasks.targets.shared.transfer import Throttle, throttle_to

Role = Literal["writer", "reader", "pruner"]

# Three tries bridge a hiccup. An outage of minutes is for the step's own retries, minutes apart.
_TRIES = 3
# Manifests are small: reading one is waiting for the service.
READERS = 16
# For connecting, and for sending as well: urllib3 sets the other timeout only when all is sent.
_CONNECT_SECONDS = 30
# Requests with an explicit endpoint must name some region; services that have none expect this one.
_ANY_REGION = "us-east-1"


class Found(NamedTuple):
    """An object as the listing shows it. ``etag`` without quotes; ``modified`` is the service's time."""

    bytes: int
    etag: str
    storage_class: str
    modified: Any


class S3Client:
    """Clients for one bucket, made when first needed. Clients are thread-safe, their sessions are not."""

    def __init__(self, target: str, options: S3Options) -> None:
        self.target = target
        self.options = options
        self.bucket = options.bucket
        self.throttle = throttle_to(f"{options.endpoint}/{options.bucket}", options.bandwidth)
        self._lock = threading.Lock()
        self._clients: dict[Role, Any] = {}

    @property
    def checksums(self) -> Literal["when_required", "when_supported"]:
        """As the plan says; else by what is known: radosgw refuses Amazon's newer form over https (411)."""
        if self.options.checksums:
            return self.options.checksums
        amazon = self.options.endpoint is None or ".amazonaws.com" in self.options.endpoint
        return "when_supported" if amazon else "when_required"

    def key(self, name: str) -> str:
        """The key of the object ``name``. Raises ValueError for an illegal name."""
        check_name(name)
        return self._prefix + name

    def where(self, name: str, version: str = "") -> dict[str, Any]:
        """Bucket, key and version ("": the current one) of an object, as requests take them."""
        place = {"Bucket": self.bucket, "Key": self.key(name)}
        return place | {"VersionId": version} if version else place

    def name(self, key: str) -> str | None:
        """The name behind a key below our folder; None for what put cannot have made, as "x/" and "a//b"."""
        name = key.removeprefix(self._prefix)
        try:
            return check_name(name)
        except ValueError:
            return None

    @property
    def _prefix(self) -> str:
        return f"{self.options.prefix}/" if self.options.prefix else ""

    def list(self, prefix: str) -> list[tuple[str, Found]]:
        """(name, what the listing says) of all objects below our folder whose name begins with ``prefix``."""
        found = []
        pages = self.client("writer").get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.bucket, Prefix=self._prefix + prefix):
            for item in page.get("Contents", ()):
                name = self.name(item["Key"])
                if name is not None:
                    found.append((name, _found(item)))
        return found

    def find(self, name: str, operation: str, role: Role = "writer") -> Found:
        """One object, by a listing: a HEAD needs the right to read. Raises ObjectMissing, TargetError."""
        key = self.key(name)
        with translated(operation):
            # The key itself comes first among all that begin with it.
            page = self.client(role).list_objects_v2(Bucket=self.bucket, Prefix=key, MaxKeys=1)
        for item in page.get("Contents", ()):
            if item["Key"] == key:
                return _found(item)
        raise NO_OBJECT.error(operation)

    def client(self, role: Role) -> Any:
        """The client with the keys for ``role``; the writer's where the plan has none of its own."""
        own = {"reader": self.options.reader, "pruner": self.options.pruner}.get(role)
        role = role if own else "writer"
        with self._lock:
            if role not in self._clients:
                self._clients[role] = self._connect(role)
            return self._clients[role]

    def _connect(self, role: Role) -> Any:
        from botocore.session import Session

        options = self.options
        keys = {"reader": options.reader, "pruner": options.pruner}.get(role) or options
        explicit: dict[str, str] = {}
        if keys.access_key_id and keys.secret_access_key:
            explicit["aws_access_key_id"] = keys.access_key_id
            explicit["aws_secret_access_key"] = secret_of(keys.secret_access_key)
        with translated(f"cannot connect to {self.target}"):
            session = Session(profile=options.profile)
            session.register_component("data_loader", _loader())
            client = session.create_client(
                "s3",
                endpoint_url=options.endpoint,
                region_name=options.region or (_ANY_REGION if options.endpoint else None),
                verify=str(options.ca_bundle) if options.ca_bundle else None,
                config=self._config(),
                **explicit,
            )
        count_only_what_is_sent(client)
        return client

    def _config(self) -> Any:
        from botocore.config import Config

        options = self.options
        path_style = options.endpoint is not None if options.path_style is None else options.path_style
        return Config(
            connect_timeout=min(_CONNECT_SECONDS, options.timeout),
            read_timeout=options.timeout,
            retries={"mode": "standard", "total_max_attempts": _TRIES},
            max_pool_connections=max(options.parallel + 2, READERS),
            request_checksum_calculation=self.checksums,
            response_checksum_validation=self.checksums,
            s3={"addressing_style": "path" if path_style else "virtual"},
            tcp_keepalive=True,
        )

    def close(self) -> None:
        """Close all clients; the next call would make new ones."""
        with self._lock:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()


class StoppedError(BaseException):
    """Sending was given up elsewhere. No Exception: botocore would take it for a network fault and retry."""


class Body(io.RawIOBase):
    """The bytes of one request. A stream, because bytes would be sent in a single call with one timeout
    for all of it: on a slow line each part would time out for ever.
    """

    def __init__(self, data: bytes | bytearray, throttle: Throttle, stopped: threading.Event) -> None:
        super().__init__()
        self._view = memoryview(data)
        self._throttle = throttle
        self._stopped = stopped
        self._position = 0
        self.on_the_wire = True

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._view)}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        end = len(self._view) if size < 0 else self._position + size
        data = bytes(self._view[self._position : end])
        if self.on_the_wire:
            if self._stopped.is_set():
                raise StoppedError
            self._throttle.take(len(data), self._stopped)
        self._position += len(data)
        return data


def count_only_what_is_sent(client: Any) -> None:
    """Let a client's bodies know when botocore reads them to sign a request and when to send it."""

    def switch(*, on: bool) -> Any:
        def handler(request: Any, **_: object) -> None:
            if isinstance(request.body, Body):
                request.body.on_the_wire = on

        return handler

    events = client.meta.events
    events.register_first("request-created.s3", switch(on=False))
    events.register_last("request-created.s3", switch(on=True))


@cache
def _loader() -> Any:
    """The descriptions of the service: read once a process, since each step makes its own connection."""
    from botocore.loaders import create_loader

    return create_loader()


def _found(item: dict[str, Any]) -> Found:
    return Found(
        bytes=int(item["Size"]),
        etag=str(item.get("ETag", "")).strip('"'),
        storage_class=item.get("StorageClass", "STANDARD"),
        modified=item["LastModified"],
    )
