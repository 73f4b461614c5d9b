"""What the S3 target has of its own: versions, locks, rights, storage classes, proof without a download."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from tasks.errors import ObjectMissing, TargetError, TargetLocked, TargetReadOnly, TargetUnlocked
from tasks.records import Stat
from tasks.targets.s3.target import S3Target
from tests.contract.s3_targets import credentials, options, secrets_in
from tests.contract.target_contract import MIB, SEALED, get, put, some_bytes
from tests.servers.http_proxy import Fault, Proxy, error_answer, proxy_to
from tests.servers.radosgw import Keys, Radosgw, s3

__all__ = ["s3"]

MANIFEST = SEALED.replace(".tar.zst.age", ".manifest.json")
CERTIFICATE = SEALED.replace(".tar.zst.age", ".drill-20261124T060000Z.json")
LOCK = {"mode": "compliance", "days": 30}
THREE_PARTS = some_bytes(12 * MIB)


@pytest.fixture(autouse=True)
def secrets(s3: Radosgw, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets_in(monkeypatch, s3.admin)


@pytest.fixture
def proxy(s3: Radosgw) -> Iterator[Proxy]:
    with proxy_to(s3.endpoint) as proxy:
        yield proxy


def on(s3: Radosgw, bucket: str, **more: Any) -> S3Target:
    return S3Target("cloud", options(s3, bucket, **more))


def proven(target: S3Target, name: str, data: bytes, local: bytes | None = None) -> bool:
    stream = None if local is None else io.BytesIO(local)
    return target.verify(name, len(data), sha256(data).hexdigest(), local=stream)


def versions(s3: Radosgw, bucket: str) -> list[str]:
    found = s3.client().list_object_versions(Bucket=bucket)
    return [entry["Key"] for kind in ("Versions", "DeleteMarkers") for entry in found.get(kind, [])]


# Proof without a download


@pytest.mark.parametrize("size", [0, 1, 5 * MIB, 5 * MIB + 1, 10 * MIB, 12 * MIB])
def test_proof_without_a_download(proxy: Proxy, s3: Radosgw, size: int) -> None:
    target = on(s3, s3.bucket(), endpoint=proxy.endpoint)
    data = some_bytes(size)
    put(target, SEALED, data)
    proxy.requests.clear()
    assert proven(target, SEALED, data, local=data)
    assert not [request for request in proxy.requests if SEALED in request.path.partition("?")[0]]
    assert proven(target, SEALED, data), "and with one"


@pytest.mark.parametrize("size", [MIB, 12 * MIB])
def test_damage_is_found(s3: Radosgw, size: int) -> None:
    bucket = s3.bucket()
    target = on(s3, bucket)
    data = some_bytes(size)
    put(target, SEALED, bytes([data[0] ^ 1]) + data[1:])
    assert not proven(target, SEALED, data, local=data)
    put(target, SEALED, data[1:])
    assert not proven(target, SEALED, data, local=data)


def test_an_etag_that_says_nothing_is_no_damage(s3: Radosgw) -> None:
    """Other part sizes, keys of the service's own, a staging folder that changed: the object is read."""
    bucket = s3.bucket()
    put(on(s3, bucket, part_size=6), SEALED, THREE_PARTS)
    assert proven(on(s3, bucket), SEALED, THREE_PARTS, local=THREE_PARTS)
    assert proven(on(s3, bucket, part_size=6), SEALED, THREE_PARTS, local=bytes(12 * MIB))


# Versions


def test_removal_frees_every_version(s3: Radosgw) -> None:
    bucket = s3.bucket(versions=True)
    target = on(s3, bucket)
    put(target, SEALED, b"older")
    s3.client().delete_object(Bucket=bucket, Key=SEALED)
    put(target, SEALED, THREE_PARTS)
    put(target, SEALED + "2", b"neighbour")
    assert len(versions(s3, bucket)) == 4
    target.delete(SEALED)
    assert versions(s3, bucket) == [SEALED + "2"]


def test_a_hidden_object_is_missing_and_left_alone(s3: Radosgw) -> None:
    """Whoever hides backups with delete markers does not get us to finish the work."""
    bucket = s3.bucket(versions=True)
    target = on(s3, bucket)
    put(target, SEALED, b"x")
    s3.client().delete_object(Bucket=bucket, Key=SEALED)
    assert target.list() == []
    for call in (target.stat, target.delete, lambda name: get(target, name)):
        with pytest.raises(ObjectMissing):
            call(SEALED)
    assert len(versions(s3, bucket)) == 2


# Locks


def test_what_is_locked(s3: Radosgw) -> None:
    bucket = s3.bucket(lock=True)
    target = on(s3, bucket, lock=LOCK, prefix="office")
    soon = datetime.now(UTC) + timedelta(days=30)
    for name in (SEALED, MANIFEST, "RECOVER.md"):
        data = THREE_PARTS if name == SEALED else b"x"
        put(target, name, data)
        found = s3.client().get_object_retention(Bucket=bucket, Key=f"office/{name}")["Retention"]
        assert found["Mode"] == "COMPLIANCE"
        assert abs(found["RetainUntilDate"] - soon) < timedelta(minutes=2)
        assert proven(target, name, data, local=data)
    for name in (CERTIFICATE, "datasave-doctor.probe"):
        put(target, name, b"x")
        target.delete(name)
    until = target.properties.immutable_until
    assert until
    assert abs(until - soon) < timedelta(minutes=2)


def test_nobody_deletes_what_is_locked(s3: Radosgw) -> None:
    bucket = s3.bucket(lock=True)
    target = on(s3, bucket, lock=LOCK)
    put(target, SEALED, THREE_PARTS)
    with pytest.raises(TargetLocked, match=r"locked until 20\d\d-\d\d-\d\d") as caught:
        target.delete(SEALED)
    assert target.is_permanent(caught.value)
    assert get(target, SEALED) == THREE_PARTS, "not even hidden"
    client = s3.client()
    where = {"Bucket": bucket, "Key": SEALED}
    version = client.head_object(**where)["VersionId"]
    sooner = {"Mode": "COMPLIANCE", "RetainUntilDate": datetime.now(UTC) + timedelta(days=1)}
    for attack in (
        lambda: client.delete_object(**where, VersionId=version),
        lambda: client.delete_object(**where, VersionId=version, BypassGovernanceRetention=True),
        lambda: client.put_object_retention(**where, VersionId=version, Retention=sooner),
        lambda: client.put_object_retention(
            **where, VersionId=version, Retention=sooner, BypassGovernanceRetention=True
        ),
    ):
        with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
            attack()


def test_a_lock_that_has_ended(s3: Radosgw) -> None:
    bucket = s3.bucket(lock=True)
    target = on(s3, bucket)
    put(target, SEALED, b"x")
    end = datetime.now(UTC) + timedelta(seconds=2)
    retention = {"Mode": "COMPLIANCE", "RetainUntilDate": end}
    s3.client().put_object_retention(Bucket=bucket, Key=SEALED, Retention=retention)
    with pytest.raises(TargetLocked, match="locked until"):
        target.delete(SEALED)
    time.sleep(max(0, (end - datetime.now(UTC)).total_seconds()) + 0.5)
    target.delete(SEALED)
    assert versions(s3, bucket) == []


def test_an_older_version_that_is_locked(s3: Radosgw) -> None:
    """Nothing is removed, so that no older content comes to light."""
    bucket = s3.bucket(lock=True)
    put(on(s3, bucket, lock=LOCK), "RECOVER.md", b"older")
    plain = on(s3, bucket)
    put(plain, "RECOVER.md", b"newer")
    with pytest.raises(TargetLocked, match="locked until"):
        plain.delete("RECOVER.md")
    assert get(plain, "RECOVER.md") == b"newer"


@pytest.mark.parametrize("versioned", [True, False])
def test_a_bucket_without_locks(proxy: Proxy, s3: Radosgw, versioned: bool) -> None:
    """It shows before gigabytes are sent."""
    target = on(s3, s3.bucket(versions=versioned), endpoint=proxy.endpoint, lock=LOCK)
    with pytest.raises(TargetUnlocked, match="has no Object Lock") as caught:
        put(target, SEALED, THREE_PARTS)
    assert target.is_permanent(caught.value)
    assert not [request for request in proxy.requests if request.method != "GET"]
    with pytest.raises(TargetError, match="no Object Lock"):
        target.prepare()


@pytest.mark.parametrize(
    ("answer", "permanent", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", True, "it has no lock"),
        (error_answer(403, "AccessDenied"), True, "may not do that"),
        (error_answer(400, "InvalidRequest"), True, "refused"),
        (error_answer(503, "SlowDown"), False, "SlowDown"),
    ],
    ids=["said yes and did nothing", "no right", "no lock there", "busy"],
)
def test_an_upload_that_ends_unlocked(
    proxy: Proxy, s3: Radosgw, answer: bytes, permanent: bool, words: str
) -> None:
    bucket = s3.bucket(lock=True)
    target = on(s3, bucket, endpoint=proxy.endpoint, lock=LOCK)
    proxy.rule = lambda request: (
        Fault(answer=answer) if request.method == "PUT" and "retention" in request.query else None
    )
    with pytest.raises(TargetUnlocked, match="is there but UNLOCKED") as caught:
        put(target, SEALED, THREE_PARTS)
    assert proxy.fired, "the fault fired"
    assert words in caught.value.message
    assert caught.value.permanent is permanent
    assert get(target, SEALED) == THREE_PARTS, "it is not removed"
    with pytest.raises(TargetUnlocked, match="it has no lock"):
        proven(target, SEALED, THREE_PARTS, local=THREE_PARTS)


def test_a_lock_that_is_too_short_or_too_weak(s3: Radosgw) -> None:
    bucket = s3.bucket(lock=True)
    put(on(s3, bucket, lock={"mode": "compliance", "days": 1}), SEALED, b"x")
    with pytest.raises(TargetUnlocked, match="only, not until"):
        proven(on(s3, bucket, lock=LOCK), SEALED, b"x", local=b"x")
    put(on(s3, bucket, lock={"mode": "governance", "days": 30}), MANIFEST, b"x")
    with pytest.raises(TargetUnlocked, match="administrator can lift"):
        proven(on(s3, bucket, lock=LOCK), MANIFEST, b"x", local=b"x")
    assert proven(on(s3, bucket, lock={"mode": "governance", "days": 30}), MANIFEST, b"x", local=b"x")


# Rights


@pytest.fixture(scope="module")
def staff(s3: Radosgw) -> dict[str, Keys]:
    return {role: s3.user(role) for role in ("writer", "reader", "pruner")}


@pytest.mark.parametrize("lock", [None, {"mode": "governance", "days": 1}], ids=["plain", "locked"])
def test_least_rights(
    s3: Radosgw, staff: dict[str, Keys], monkeypatch: pytest.MonkeyPatch, lock: dict[str, Any] | None
) -> None:
    """The writer's keys do all that a backup needs, and can neither read nor delete."""
    secrets_in(monkeypatch, s3.admin, *staff.values())
    bucket = s3.bucket(versions=True, lock=lock is not None)
    more: dict[str, Any] = {"prefix": "office", "lock": lock}
    writer = on(s3, bucket, keys=staff["writer"], **more)
    s3.grant(bucket, writer.policies())
    put(writer, SEALED, THREE_PARTS)
    put(writer, MANIFEST, b"manifest")
    assert proven(writer, SEALED, THREE_PARTS, local=THREE_PARTS)
    assert proven(writer, MANIFEST, b"manifest", local=b"manifest")
    assert [stat.name for stat in writer.list()] == [MANIFEST, SEALED]
    assert writer.stat(SEALED) == Stat(name=SEALED, bytes=12 * MIB)
    for call in (lambda: get(writer, SEALED), lambda: proven(writer, SEALED, THREE_PARTS)):
        with pytest.raises(TargetError, match="may not do that") as caught:
            call()
        assert "`reader`" in caught.value.hint
    with pytest.raises(TargetReadOnly, match="may not do that") as refused:
        writer.delete(SEALED)
    assert "`pruner`" in refused.value.hint
    assert versions(s3, bucket) == [f"office/{MANIFEST}", f"office/{SEALED}"], "not even hidden"
    assert "could not look" not in writer.prepare().partition("leftover")[0]
    elsewhere = on(s3, bucket, keys=staff["writer"], **(more | {"prefix": "another-office"}))
    with pytest.raises(TargetReadOnly):
        put(elsewhere, MANIFEST, b"forged")
    assert get(on(s3, bucket, keys=staff["reader"], **more), SEALED) == THREE_PARTS
    all_keys = {role: credentials(staff[role]) for role in ("reader", "pruner")}
    full = on(s3, bucket, keys=staff["writer"], **more, **all_keys)
    assert "with the keys of reader and pruner too" in full.prepare()
    assert get(full, SEALED) == THREE_PARTS
    assert proven(full, SEALED, THREE_PARTS)
    if lock:
        with pytest.raises(TargetLocked, match="locked until"):
            full.delete(SEALED)
    else:
        full.delete(SEALED)
        assert versions(s3, bucket) == [f"office/{MANIFEST}"]


@pytest.mark.parametrize(
    ("dead", "sent"),
    [
        ([[1, 2, 9], [1, 2]], [2, 3]),  # what is the same stays, what differs is sent
        ([[1, 2, 9]], [1, 2, 3]),  # begun with smaller parts: of no use
        ([[]], [1, 2, 3]),
    ],
)
def test_the_writer_goes_on_with_a_dead_upload(
    proxy: Proxy,
    s3: Radosgw,
    staff: dict[str, Keys],
    monkeypatch: pytest.MonkeyPatch,
    dead: list[list[int]],
    sent: list[int],
) -> None:
    secrets_in(monkeypatch, s3.admin, *staff.values())
    bucket = s3.bucket()
    target = on(s3, bucket, keys=staff["writer"], prefix="office", endpoint=proxy.endpoint)
    s3.grant(bucket, target.policies())
    client = s3.client(staff["writer"])
    where = {"Bucket": bucket, "Key": f"office/{SEALED}"}
    for parts in dead:
        upload = client.create_multipart_upload(**where)["UploadId"]
        for number in parts:
            body = THREE_PARTS[: 5 * MIB] if number == 1 else bytes(5 * MIB)
            client.upload_part(**where, UploadId=upload, PartNumber=number, Body=body)
    put(target, SEALED, THREE_PARTS)
    assert sorted(proxy.stored_parts()) == sent
    assert proven(target, SEALED, THREE_PARTS, local=THREE_PARTS)
    assert client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_policies(s3: Radosgw) -> None:
    texts = on(s3, "office-backups", prefix="front").policies()
    assert sorted(texts) == ["pruner", "reader", "writer"]
    writer = json.loads(texts["writer"])["Statement"]
    assert writer[0]["Resource"] == ["arn:aws:s3:::office-backups/front/*"]
    allowed = {action for part in writer if part["Effect"] == "Allow" for action in part["Action"]}
    assert not {action for action in allowed if "Delete" in action}
    assert "s3:GetObject" not in allowed
    other = on(s3, "office-backups", prefix="server-2").policies()["writer"]
    assert "arn:aws:s3:::office-backups/server-2/*" in other


# Storage classes, and a bucket before its first use


def test_only_archives_go_to_another_class(s3: Radosgw) -> None:
    """Manifests in cold storage make a bucket unreadable (story 21)."""
    bucket = s3.bucket()
    target = on(s3, bucket, storage_class="GLACIER")
    for name in (SEALED, f"TUE/{SEALED}", MANIFEST, CERTIFICATE, "RECOVER.md"):
        put(target, name, THREE_PARTS if name == SEALED else b"x")
    found = {
        item["Key"]: item["StorageClass"] for item in s3.client().list_objects(Bucket=bucket)["Contents"]
    }
    assert found.pop(SEALED) == found.pop(f"TUE/{SEALED}") == "GLACIER"
    assert set(found.values()) == {"STANDARD"}
    assert target.properties.thaw_seconds == 5 * 3600
    assert target.thaw(MANIFEST) == 0.0
    assert target.thaw(SEALED) == 0.0, "this server has the class by name only"


def test_a_storage_class_that_is_not_there(s3: Radosgw) -> None:
    target = on(s3, s3.bucket(), storage_class="NO_SUCH")
    with pytest.raises(TargetError) as caught:
        put(target, SEALED, THREE_PARTS)
    assert target.is_permanent(caught.value)


def test_prepare_says_what_is_missing(s3: Radosgw) -> None:
    plain = s3.bucket()
    said = on(s3, plain).prepare()
    assert "versioning: OFF" in said
    assert "NEVER removed" in said
    assert "Nothing was changed" in said
    good = s3.bucket(lock=True)
    rule = {
        "ID": "leftovers",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    }
    s3.client().put_bucket_lifecycle_configuration(Bucket=good, LifecycleConfiguration={"Rules": [rule]})
    said = on(s3, good, lock=LOCK).prepare()
    assert "versioning: on" in said
    assert "Object Lock: on, as the plan asks" in said
    assert "removed after 7 days" in said
