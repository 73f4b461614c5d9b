"""The S3 target against an emulator of Amazon's: cold storage, newer checksums, policies of users."""

from __future__ import annotations

import io
import time
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

from tasks.errors import TargetError, TargetReadOnly
from tasks.targets.s3.target import S3Target
from tests.contract.s3_targets import options, secrets_in
from tests.contract.target_contract import MIB, SEALED, get, put, some_bytes
from tests.servers.http_proxy import Proxy, proxy_to
from tests.servers.ministack import Ministack, aws

__all__ = ["aws"]

MANIFEST = SEALED.replace(".tar.zst.age", ".manifest.json")
DATA = some_bytes(12 * MIB)


@pytest.fixture(autouse=True)
def secrets(aws: Ministack, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets_in(monkeypatch, aws.admin)


@pytest.fixture
def proxy(aws: Ministack) -> Iterator[Proxy]:
    with proxy_to(aws.endpoint) as proxy:
        yield proxy


@pytest.fixture
def bucket(aws: Ministack, request: pytest.FixtureRequest) -> str:
    name = f"bucket-{abs(hash(request.node.name)):x}"
    aws.client().create_bucket(Bucket=name)
    return name


def on(aws: Ministack, bucket: str, **more: Any) -> S3Target:
    return S3Target("cloud", options(aws, bucket, checksums="when_supported", **more))


def test_an_archive_in_cold_storage(aws: Ministack, bucket: str) -> None:
    """Reading asks for it and says when to come back; then it can be read (story 21)."""
    target = on(aws, bucket, storage_class="DEEP_ARCHIVE", thaw={"tier": "Bulk", "days": 2})
    assert target.properties.thaw_seconds == 48 * 3600
    put(target, SEALED, DATA)
    put(target, MANIFEST, b"manifest")
    assert get(target, MANIFEST) == b"manifest", "manifests stay at hand"
    assert target.thaw(MANIFEST) == 0.0
    assert target.verify(SEALED, len(DATA), sha256(DATA).hexdigest(), local=io.BytesIO(DATA)), "not woken"
    with pytest.raises(TargetError, match="in cold storage, and was asked for") as caught:
        get(target, SEALED)
    assert not target.is_permanent(caught.value)
    assert "48 hours" in caught.value.hint
    assert target.thaw(SEALED) == 48 * 3600, "asking again is harmless"
    deadline = time.monotonic() + 30
    while target.thaw(SEALED):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert get(target, SEALED) == DATA


def test_instant_classes_need_no_thawing(aws: Ministack, bucket: str) -> None:
    target = on(aws, bucket, storage_class="GLACIER_IR")
    put(target, SEALED, DATA)
    assert target.properties.thaw_seconds == 0
    assert target.thaw(SEALED) == 0.0
    assert get(target, SEALED) == DATA


def test_newer_checksums(aws: Ministack, bucket: str) -> None:
    target = on(aws, bucket)
    put(target, SEALED, DATA)
    put(target, MANIFEST, b"manifest")
    digests = [sha256(DATA[start : start + 5 * MIB]).digest() for start in range(0, 12 * MIB, 5 * MIB)]
    composite = b64encode(sha256(b"".join(digests)).digest()).decode()
    head = aws.client().head_object(Bucket=bucket, Key=SEALED, ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"].partition("-")[0] == composite
    small = aws.client().head_object(Bucket=bucket, Key=MANIFEST, ChecksumMode="ENABLED")
    assert small["ChecksumSHA256"] == b64encode(sha256(b"manifest").digest()).decode()
    assert get(target, SEALED) == DATA


def test_going_on_by_newer_checksums(aws: Ministack, bucket: str, proxy: Proxy) -> None:
    client = aws.client()
    where = {"Bucket": bucket, "Key": SEALED}
    upload = client.create_multipart_upload(**where, ChecksumAlgorithm="SHA256")["UploadId"]
    for number, body in ((1, DATA[: 5 * MIB]), (2, bytes(5 * MIB))):
        client.upload_part(**where, UploadId=upload, PartNumber=number, Body=body, ChecksumAlgorithm="SHA256")
    put(on(aws, bucket, endpoint=proxy.endpoint), SEALED, DATA)
    assert sorted(proxy.stored_parts()) == [2, 3]
    assert get(on(aws, bucket), SEALED) == DATA


def test_policies_as_they_are_printed(aws: Ministack, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = on(aws, bucket, prefix="office").policies()
    staff = {role: aws.user(role, text) for role, text in texts.items()}
    secrets_in(monkeypatch, *staff.values())
    target = {role: on(aws, bucket, keys=keys, prefix="office") for role, keys in staff.items()}
    put(target["writer"], SEALED, DATA)
    put(target["writer"], MANIFEST, b"manifest")
    assert target["writer"].verify(
        MANIFEST, 8, sha256(b"manifest").hexdigest(), local=io.BytesIO(b"manifest")
    )
    for call in (lambda: get(target["writer"], MANIFEST), lambda: get(target["pruner"], MANIFEST)):
        with pytest.raises(TargetError, match="may not do that"):
            call()
    assert get(target["reader"], SEALED) == DATA
    for role in ("writer", "reader"):
        with pytest.raises(TargetReadOnly):
            target[role].delete(SEALED)
    for role in ("reader", "pruner"):
        with pytest.raises(TargetReadOnly):
            put(target[role], "forged", b"x")
    target["pruner"].delete(SEALED)
    assert [stat.name for stat in target["reader"].list()] == [MANIFEST]
