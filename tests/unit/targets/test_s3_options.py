"""The S3 target's options in a plan, and its parts that need no server."""

from __future__ import annotations

import io
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore import exceptions as boto

from tasks.errors import ObjectMissing, PlanError, TargetError, TargetFull, TargetMissing, TargetReadOnly
from tasks.plan.load import check_plan, load_plan
from tasks.plan.sample import sample_plan
from tasks.targets.s3.connection import Body
from tasks.targets.s3.errors import is_permanent, translate
from tasks.targets.s3.lock import locked_until
from tasks.targets.s3.options import S3Lock, S3Options
from tasks.targets.s3.target import S3Target
from tasks.targets.s3.upload import multipart_etag, part_bytes, parts
from tasks.targets.shared.transfer import Throttle, bytes_per_second
from tests.unit.plan.material import CLASSIC, OTHER, REGISTERED

MIB = 1 << 20
SMALLEST: dict[str, Any] = {"name": "cloud", "kind": "s3", "bucket": "office-backups"}
FULL: dict[str, Any] = SMALLEST | {
    "prefix": "/front-office/",
    "endpoint": "https://s3.example.com:9000",
    "region": "eu-1",
    "access_key_id": "AK",
    "secret_access_key": "file:keys/s3",
    "reader": {"access_key_id": "R", "secret_access_key": "env:R"},
    "pruner": {"access_key_id": "P", "secret_access_key": "prefect:pruner"},
    "storage_class": "DEEP_ARCHIVE",
    "thaw": {"tier": "Bulk", "days": 3},
    "lock": {"mode": "compliance", "years": 7},
    "checksums": "when_required",
    "part_size": 8,
    "parallel": 3,
    "bandwidth": "2MB/s",
    "timeout": 30,
    "ca_bundle": "ca.pem",
    "path_style": True,
}


def plan_with(tmp_path: Path, target: dict[str, Any]) -> S3Options:
    holders = [{"name": "Owner", "recipient": CLASSIC}, {"name": "Bank safe", "recipient": OTHER}]
    answers = {"name": "office", "source": {"path": Path("x.db")}, "holders": holders, "targets": [target]}
    path = tmp_path / "office.yaml"
    path.write_text(sample_plan(REGISTERED, "sqlite", answers), "utf-8")
    entry = load_plan(path, REGISTERED).targets[0]
    assert isinstance(entry, S3Options)
    return entry


def test_a_bucket_is_enough(tmp_path: Path) -> None:
    entry = plan_with(tmp_path, SMALLEST)
    assert (entry.prefix, entry.thaw.tier, entry.thaw.days, entry.part_size, entry.parallel) == (
        *("", "Standard", 7),
        *(16, 2),
    )


def test_all_options(tmp_path: Path) -> None:
    entry = plan_with(tmp_path, FULL)
    assert entry.prefix == "front-office"
    assert entry.secret_access_key == f"file:{tmp_path / 'keys' / 's3'}"
    assert entry.ca_bundle == tmp_path / "ca.pem"
    target = S3Target("cloud", entry)
    assert target.properties.thaw_seconds == 48 * 3600
    assert target.properties.immutable_until


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"bucket": "a/b"}, "targets[0].bucket: is not the name of a bucket"),
        ({"prefix": "a/../b"}, "targets[0].prefix: is not a folder"),
        ({"endpoint": "s3.example.com"}, "targets[0].endpoint: must be an address"),
        ({"endpoint": "https://u:p@s3.example.com"}, "targets[0].endpoint: must be an address"),
        ({"endpoint": "https://[fd00::1"}, "targets[0].endpoint: must be an address"),
        ({"endpoint": "https://s3.example.com:port"}, "targets[0].endpoint: must be an address"),
        ({"secret_access_key": "hunter2"}, "targets[0].secret_access_key: is not a reference to a secret"),
        ({"lock": {"mode": "compliance"}}, "targets[0].lock: needs either `days` or `years`"),
        ({"lock": {"mode": "compliance", "days": 1, "years": 1}}, "targets[0].lock: needs either"),
        ({"thaw": {"tier": "Expedited"}}, "targets[0].thaw.tier: must be Standard or Bulk"),
        ({"bandwidth": "fast"}, "targets[0].bandwidth: must be a rate above 0"),
        ({"bandwidth": "0MB/s"}, "targets[0].bandwidth: must be a rate above 0"),
        ({"part_size": 4}, "targets[0].part_size: must be at least 5"),
        ({"storage_class": "deep archive"}, "targets[0].storage_class: is not a storage class"),
        ({"reader": {"access_key_id": "x"}}, "targets[0].reader.secret_access_key: is missing"),
    ],
)
def test_what_is_refused(tmp_path: Path, wrong: dict[str, Any], line: str) -> None:
    with pytest.raises(PlanError) as caught:
        plan_with(tmp_path, FULL | wrong)
    assert line in caught.value.message
    assert "hunter2" not in str(caught.value)


def test_keys_go_together(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="give both or neither"):
        plan_with(tmp_path, SMALLEST | {"access_key_id": "AK"})


def test_a_heading_without_lines_is_left_at_its_defaults() -> None:
    text = f"""
name: office
source: {{kind: sqlite, path: x.db}}
holders: [{{name: Owner, recipient: {CLASSIC}}}]
targets:
  - name: cloud
    kind: s3
    bucket: office
    thaw:
"""
    entry = check_plan(text, "plan", Path.cwd(), REGISTERED).targets[0]
    assert isinstance(entry, S3Options)
    assert entry.thaw.tier == "Standard"


@pytest.mark.parametrize(
    ("text", "rate"),
    [("2MB/s", 2e6), ("2.5 MB/s", 2.5e6), ("16Mbit/s", 2e6), ("800kbit/s", 1e5), ("1GB/s", 1e9)],
)
def test_rates(text: str, rate: float) -> None:
    assert bytes_per_second(text) == rate


@pytest.mark.parametrize(
    ("size", "wanted", "each"),
    [(0, 16, 16), (100 * MIB, 16, 16), (10_000 * 16 * MIB, 16, 16), (10_000 * 16 * MIB + 1, 16, 17)],
)
def test_part_sizes(size: int, wanted: int, each: int) -> None:
    assert part_bytes(size, wanted) == each * MIB


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 20, 25])
def test_parts(size: int) -> None:
    data = bytes(range(size))
    made = list(parts(io.BytesIO(data), size, 10, "x", threading.Semaphore(9)))
    assert b"".join(part.data for part in made) == data
    assert [part.number for part in made] == list(range(1, max(1, -(-size // 10)) + 1))


def test_the_formula_of_etags() -> None:
    """As a radosgw gave it for one part of 5 MiB of zeros."""
    whole = [
        part.md5 for part in parts(io.BytesIO(bytes(5 * MIB)), 5 * MIB, 5 * MIB, "x", threading.Semaphore(9))
    ]
    assert whole[0].hex() == "5f363e0e58a95f06cbe9bbc662c5dfb6"
    assert multipart_etag(whole) == "81485c0e873d222199469076b60f30e9-1"


def test_locks_end_on_days_that_are() -> None:
    start = datetime(2024, 2, 29, 12, tzinfo=UTC)
    assert locked_until(S3Lock(mode="compliance", years=7), start) == datetime(2031, 3, 1, 12, tzinfo=UTC)
    assert locked_until(S3Lock(mode="compliance", years=4), start) == datetime(2028, 2, 29, 12, tzinfo=UTC)
    assert locked_until(S3Lock(mode="governance", days=30), start) == start + timedelta(days=30)


def test_all_threads_share_one_bandwidth() -> None:
    throttle = Throttle(1e6)
    stopped = threading.Event()
    began = time.monotonic()

    def send() -> None:
        body = Body(bytes(150_000), throttle, stopped)
        while body.read(16_384):
            pass

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.45 < time.monotonic() - began < 1.5


def refusal(code: str, status: int, headers: dict[str, str] | None = None) -> boto.ClientError:
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": headers or {}}
    error = {"Error": {"Code": code, "Message": None}, "ResponseMetadata": metadata}
    return boto.ClientError(error, "PutObject")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "kind", "permanent", "words"),
    [
        (refusal("AccessDenied", 403), TargetReadOnly, True, "may not do that"),
        (refusal("InsufficientStorage", 507), TargetFull, True, "full"),
        (
            refusal("PermanentRedirect", 301, {"x-amz-bucket-region": "eu-3"}),
            TargetError,
            True,
            "region (eu-3)",
        ),
        (refusal("ExpiredToken", 400), TargetError, True, "expired"),
        (refusal("SlowDown", 503), TargetError, False, "SlowDown"),
        (refusal("TooManyRequests", 429), TargetError, False, "failed"),
        (refusal("Odd", 400), TargetError, True, "refused (Odd, 400)"),
        (refusal("Odd", 500), TargetError, False, "failed (Odd)"),
        (refusal("InternalError", 200), TargetError, False, "failed"),
        (refusal("403", 403, {"date": "Mon, 23 Nov 2015 02:00:00 GMT"}), TargetError, True, "clock is"),
        (refusal("NoSuchKey", 404), ObjectMissing, True, "no such object"),
        (boto.NoRegionError(), TargetError, True, "the region is not known"),
        (boto.SSLError(endpoint_url="x", error="UNEXPECTED_EOF"), TargetMissing, False, "connection broke"),
        (boto.ReadTimeoutError(endpoint_url="x"), TargetMissing, False, "does not answer"),
        (ConnectionResetError(), TargetMissing, False, "connection broke"),
    ],
    ids=str,
)
def test_faults(error: Exception, kind: type[TargetError], permanent: bool, words: str) -> None:
    made = translate(error, "cannot store x on cloud", writing=True)
    assert type(made) is kind
    assert made.permanent is permanent
    assert is_permanent(error) is permanent
    assert made.message.startswith("cannot store x on cloud: ")
    assert words in made.message
    assert made.hint


def test_a_fault_in_the_program_is_permanent() -> None:
    assert is_permanent(TypeError())
