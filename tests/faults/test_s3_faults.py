"""The S3 target on bad networks, failing services and wrong settings.

Failure stories 15 and 16. Every test proves that its fault fired.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tasks.errors import ObjectMissing, TargetError, TargetFull, TargetMissing
from tasks.targets.s3.target import S3Target
from tests.contract.s3_targets import options, secrets_in
from tests.contract.target_contract import MIB, SEALED, get, put, some_bytes
from tests.servers.http_proxy import Fault, Proxy, Request, error_answer, proxy_to
from tests.servers.radosgw import Keys, Radosgw, s3

__all__ = ["s3"]

THREE_PARTS = some_bytes(12 * MIB)


@pytest.fixture(autouse=True)
def secrets(s3: Radosgw, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets_in(monkeypatch, s3.admin)


@pytest.fixture
def proxy(s3: Radosgw) -> Iterator[Proxy]:
    with proxy_to(s3.endpoint) as proxy:
        yield proxy


@pytest.fixture
def bucket(s3: Radosgw) -> str:
    return s3.bucket()


def through(proxy: Proxy, s3: Radosgw, bucket: str, **more: Any) -> S3Target:
    return S3Target("cloud", options(s3, bucket, endpoint=proxy.endpoint, **more))


def on(
    wanted: Callable[[Request], bool], fault: Fault, times: int = 1000
) -> Callable[[Request], Fault | None]:
    """A rule: this fault for the first ``times`` requests that are wanted."""
    left = [times]

    def rule(request: Request) -> Fault | None:
        if not wanted(request) or not left[0]:
            return None
        left[0] -= 1
        return fault

    return rule


def refused(call: Callable[[], object], kind: type[TargetError], *words: str, permanent: bool) -> TargetError:
    """The error that ``call`` raises; each has a hint, and says what, where and why on one line."""
    with pytest.raises(kind) as caught:
        call()
    for word in ("cloud", *words):
        assert word in caught.value.message
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert caught.value.permanent is permanent
    return caught.value


def uploads(s3: Radosgw, bucket: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = s3.client().list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return found


# Cuts


@pytest.mark.parametrize("offset", [0, 1, 1_234_567, 5 * MIB - 1])
def test_a_part_that_is_always_cut(proxy: Proxy, s3: Radosgw, bucket: str, offset: int) -> None:
    target = through(proxy, s3, bucket)
    proxy.rule = on(lambda request: request.part == 2, Fault(cut_request=offset))
    refused(lambda: put(target, SEALED, THREE_PARTS), TargetMissing, SEALED, "connection", permanent=False)
    assert [request.sent for request in proxy.fired] == [offset] * 3, "the fault fired, three tries"
    assert target.list() == []
    there = proxy.stored_parts()
    assert len(uploads(s3, bucket)) == 1, "what was sent stays for the next try"
    proxy.rule = lambda _: None
    proxy.requests.clear()
    put(target, SEALED, THREE_PARTS)
    assert sorted(there + proxy.stored_parts()) == [1, 2, 3], "nothing was sent twice"
    assert get(target, SEALED) == THREE_PARTS
    assert uploads(s3, bucket) == []


def test_a_hiccup_is_bridged(proxy: Proxy, s3: Radosgw, bucket: str) -> None:
    target = through(proxy, s3, bucket)
    proxy.rule = on(lambda request: request.part == 2, Fault(cut_request=MIB), times=1)
    put(target, SEALED, THREE_PARTS)
    assert len(proxy.fired) == 1, "the fault fired"
    assert get(target, SEALED) == THREE_PARTS


def test_a_small_object_that_is_cut(proxy: Proxy, s3: Radosgw, bucket: str) -> None:
    target = through(proxy, s3, bucket)
    put(target, SEALED, b"old")
    proxy.rule = on(lambda request: request.method == "PUT", Fault(cut_request=MIB))
    refused(lambda: put(target, SEALED, some_bytes(2 * MIB)), TargetMissing, SEALED, permanent=False)
    assert len(proxy.fired) == 3, "the fault fired"
    assert get(target, SEALED) == b"old"


def test_a_reading_that_is_cut_goes_on(proxy: Proxy, s3: Radosgw, bucket: str) -> None:
    target = through(proxy, s3, bucket)
    put(target, SEALED, THREE_PARTS)
    proxy.rule = on(lambda request: SEALED in request.path, Fault(cut_answer=3 * MIB), times=3)
    assert get(target, SEALED) == THREE_PARTS
    assert len(proxy.fired) == 3, "the fault fired"


def test_a_reading_that_never_comes_through(proxy: Proxy, s3: Radosgw, bucket: str) -> None:
    target = through(proxy, s3, bucket)
    put(target, SEALED, THREE_PARTS)
    proxy.requests.clear()
    proxy.rule = lambda request: Fault(cut_answer=MIB if len(proxy.requests) == 1 else 0)
    refused(lambda: get(target, SEALED), TargetMissing, SEALED, permanent=False)
    assert len(proxy.fired) > 3, "the fault fired"


def test_an_object_replaced_while_it_is_read(proxy: Proxy, s3: Radosgw, bucket: str) -> None:
    """Going on after a cut must never join two objects."""
    target = through(proxy, s3, bucket)
    put(target, SEALED, THREE_PARTS)
    proxy.rule = on(lambda request: SEALED in request.path, Fault(cut_answer=3 * MIB), times=1)
    with target.open(SEALED) as stream:
        stream.read(MIB)
        s3.client().put_object(Bucket=bucket, Key=SEALED, Body=bytes(12 * MIB))
        refused(stream.read, TargetError, "replaced", permanent=False)
    assert len(proxy.fired) == 1, "the fault fired"


def test_the_answer_to_the_completion_is_lost(proxy: Proxy, s3: Radosgw) -> None:
    """It was put together, and we never hear of it: looking tells. The lock is put on all the same."""
    bucket = s3.bucket(lock=True)
    target = through(proxy, s3, bucket, lock={"mode": "governance", "days": 1})
    proxy.rule = on(lambda request: request.completes, Fault(cut_answer=0))
    put(target, SEALED, THREE_PARTS)
    assert len(proxy.fired) == 3, "the fault fired"
    found = s3.client().get_object_retention(Bucket=bucket, Key=SEALED)
    assert found["Retention"]["Mode"] == "GOVERNANCE"


# A failing service


@pytest.mark.parametrize(
    ("status", "code"), [(500, "InternalError"), (503, "SlowDown"), (200, "InternalError")]
)
def test_a_completion_that_fails(proxy: Proxy, s3: Radosgw, bucket: str, status: int, code: str) -> None:
    """Amazon may answer a completion with 200 and an error in it."""
    target = through(proxy, s3, bucket)
    proxy.rule = on(lambda request: request.completes, Fault(answer=error_answer(status, code)))
    refused(lambda: put(target, SEALED, THREE_PARTS), TargetError, SEALED, code, permanent=False)
    assert len(proxy.fired) == 3, "the fault fired"
    assert target.list() == []
    proxy.rule = lambda _: None
    proxy.requests.clear()
    put(target, SEALED, THREE_PARTS)
    assert proxy.stored_parts() == [], "all was there, only the completion is done again"
    assert get(target, SEALED) == THREE_PARTS


@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (503, "SlowDown")])
def test_a_service_in_trouble(proxy: Proxy, s3: Radosgw, bucket: str, status: int, code: str) -> None:
    target = through(proxy, s3, bucket)
    put(target, SEALED, b"old")
    proxy.rule = on(lambda _: True, Fault(answer=error_answer(status, code)))
    refused(target.list, TargetError, "list", code, permanent=False)
    refused(lambda: put(target, SEALED, b"new"), TargetError, SEALED, code, permanent=False)
    assert len(proxy.fired) == 6, "the fault fired"
    proxy.rule = on(lambda _: True, Fault(answer=error_answer(status, code)), times=2)
    assert get(target, SEALED) == b"old"


def test_a_part_that_is_damaged_on_the_way(proxy: Proxy, s3: Radosgw, bucket: str) -> None:
    target = through(proxy, s3, bucket)
    proxy.rule = on(lambda request: request.part == 2, Fault(flip=True))
    refused(lambda: put(target, SEALED, THREE_PARTS), TargetError, "damaged", permanent=False)
    assert proxy.fired, "the fault fired"
    assert target.list() == []


def test_one_part_that_is_refused_stops_the_others(proxy: Proxy, s3: Radosgw, bucket: str) -> None:
    """The other part alone would take 10 s on this line; nothing is left behind."""
    target = through(proxy, s3, bucket)
    proxy.rule = lambda request: {
        1: Fault(rate=MIB / 2),
        2: Fault(answer=error_answer(403, "AccessDenied")),
    }.get(request.part)
    began = time.monotonic()
    refused(lambda: put(target, SEALED, THREE_PARTS), TargetError, "may not do that", permanent=True)
    assert {request.part for request in proxy.fired} == {1, 2}, "the fault fired"
    assert time.monotonic() - began < 5
    assert uploads(s3, bucket) == []


def test_silence(proxy: Proxy, s3: Radosgw, bucket: str) -> None:
    target = through(proxy, s3, bucket, timeout=1)
    proxy.rule = on(lambda request: request.part == 1, Fault(silent=True))
    refused(lambda: put(target, SEALED, THREE_PARTS), TargetMissing, "does not answer", permanent=False)
    assert proxy.fired, "the fault fired"


def test_a_frozen_server(s3: Radosgw, bucket: str) -> None:
    target = S3Target("cloud", options(s3, bucket, timeout=1))
    put(target, SEALED, b"old")
    with s3.frozen():
        began = time.monotonic()
        refused(target.list, TargetMissing, "does not answer", permanent=False)
        assert 3 <= time.monotonic() - began < 15, "it froze, and was given up in time"
    assert get(target, SEALED) == b"old"


def test_a_slow_line_is_no_silence(proxy: Proxy, s3: Radosgw, bucket: str) -> None:
    """A part takes longer than the timeout, and bytes flow all the time."""
    target = through(proxy, s3, bucket, timeout=2, parallel=1, part_size=10)
    proxy.rule = on(lambda request: request.part == 1, Fault(rate=3 * MIB))
    began = time.monotonic()
    put(target, SEALED, some_bytes(11 * MIB))
    assert time.monotonic() - began > 3, "the fault fired"
    assert len(proxy.fired) == 1, "at the first try"


def test_bandwidth(proxy: Proxy, s3: Radosgw, bucket: str) -> None:
    """All threads together keep to it, and signing a request, which reads it too, does not count."""
    target = through(proxy, s3, bucket, bandwidth="8MB/s", parallel=2)
    began = time.monotonic()
    put(target, SEALED, THREE_PARTS)
    assert 1.4 < time.monotonic() - began < 2.9
    assert get(target, SEALED) == THREE_PARTS


# Wrong settings


def test_wrong_keys(s3: Radosgw, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = Keys("stranger", "nobody", "x")
    secrets_in(monkeypatch, stranger)
    unknown = S3Target("cloud", options(s3, bucket, stranger))
    refused(unknown.list, TargetError, "does not know the access key", permanent=True)
    refused(lambda: put(unknown, SEALED, b"x"), TargetError, SEALED, permanent=True)
    refused(unknown.prepare, TargetError, "access key", permanent=True)
    wrong = S3Target("cloud", options(s3, bucket, Keys("stranger", s3.admin.access, "")))
    refused(wrong.list, TargetError, "the secret key is wrong", permanent=True)
    assert "nobody" not in str(refused(unknown.list, TargetError, permanent=True))


def test_no_keys(s3: Radosgw, bucket: str) -> None:
    bare = options(s3, bucket).model_copy(update={"access_key_id": None, "secret_access_key": None})
    refused(S3Target("cloud", bare).list, TargetError, "no access keys", permanent=True)
    profile = bare.model_copy(update={"profile": "nowhere"})
    refused(S3Target("cloud", profile).list, TargetError, "no such profile", permanent=True)


def test_no_bucket(s3: Radosgw) -> None:
    target = S3Target("cloud", options(s3, "not-there"))
    for call in (
        target.list,
        target.prepare,
        lambda: put(target, SEALED, b"x"),
        lambda: put(target, SEALED, THREE_PARTS),
        lambda: get(target, SEALED),
        lambda: target.delete(SEALED),
    ):
        refused(call, TargetMissing, "there is no such bucket", permanent=True)


def test_nobody_there(s3: Radosgw, bucket: str) -> None:
    with proxy_to(s3.endpoint) as proxy:
        pass
    for endpoint in (proxy.endpoint, "http://nowhere.invalid"):
        target = S3Target("cloud", options(s3, bucket, endpoint=endpoint))
        refused(target.list, TargetMissing, "cannot be reached", permanent=False)


def test_certificates(s3: Radosgw, bucket: str) -> None:
    strange = S3Target("cloud", options(s3, bucket, endpoint=s3.endpoint_tls))
    error = refused(strange.list, TargetMissing, "certificate is not trusted", permanent=True)
    assert "ca_bundle" in error.hint
    trusted = S3Target("cloud", options(s3, bucket, endpoint=s3.endpoint_tls, ca_bundle=s3.ca))
    put(trusted, SEALED, THREE_PARTS)
    assert get(trusted, SEALED) == THREE_PARTS


@pytest.mark.parametrize(("shift", "words"), [("-20m", "20 minutes behind"), ("+3d", "72 hours ahead of")])
def test_a_wrong_clock(s3: Radosgw, bucket: str, shift: str, words: str) -> None:
    """The clock of a whole process is set wrong by libfaketime."""
    code = """
import sys
from tasks.errors import TargetError
from tasks.targets.s3.target import S3Target
from tasks.targets.s3.options import S3Options
target = S3Target("cloud", S3Options.model_validate_json(sys.argv[1]))
for call in (target.list, lambda: target.thaw("x")):
    try:
        call()
    except TargetError as error:
        print(error.permanent, error)
"""
    chosen = options(s3, bucket).model_dump_json(exclude_none=True)
    done = subprocess.run(
        ["faketime", "-f", shift, sys.executable, "-c", code, chosen],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    for line in lines:
        assert line.startswith("True cannot ")
        assert f"clock is {words} the service's" in line
        assert "NTP" in line


def test_a_full_account(s3: Radosgw, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = s3.user("full")
    secrets_in(monkeypatch, keys)
    s3.client(keys).create_bucket(Bucket="full-bucket")
    s3.command("quota", "set", "--quota-scope", "user", "--uid", "full", "--max-size", str(7 * MIB))
    s3.command("quota", "enable", "--quota-scope", "user", "--uid", "full")
    target = S3Target("cloud", options(s3, "full-bucket", keys, parallel=1))
    put(target, "small", b"x")
    error = refused(lambda: put(target, SEALED, THREE_PARTS), TargetFull, SEALED, "full", permanent=True)
    assert getattr(error.__cause__, "response", {})["Error"]["Code"] == "QuotaExceeded", "the fault fired"
    assert s3.client(keys).list_multipart_uploads(Bucket="full-bucket").get("Uploads", []) == []
    refused(lambda: put(target, SEALED, some_bytes(8 * MIB)), TargetFull, "full", permanent=True)
    assert [stat.name for stat in target.list()] == ["small"]


def test_an_object_that_vanishes(s3: Radosgw, bucket: str) -> None:
    target = S3Target("cloud", options(s3, bucket))
    put(target, SEALED, b"x")
    s3.client().delete_object(Bucket=bucket, Key=SEALED)
    for call in (
        lambda: target.verify(SEALED, 1, "", local=io.BytesIO(b"x")),
        lambda: target.thaw(SEALED),
        lambda: target.delete(SEALED),
    ):
        refused(call, ObjectMissing, SEALED, permanent=True)
