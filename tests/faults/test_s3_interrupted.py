"""An upload whose process is killed, again and again. Failure stories 15 and 16."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.targets.s3.target import S3Target
from tests.contract.s3_targets import options, secrets_in
from tests.contract.target_contract import MIB, SEALED
from tests.servers.http_proxy import Proxy, proxy_to
from tests.servers.radosgw import Radosgw, s3

__all__ = ["s3"]

SIZE = 320 * MIB
KILLS = 4

# Puts argv[2] as the step does, and says the most memory it had (KiB). Not by getrusage: there
# a child begins with what its parent had.
CHILD = r"""
import re, sys
from pathlib import Path
from tasks.platform.files import HashingReader
from tasks.targets.s3.target import S3Target
from tasks.targets.s3.options import S3Options
staged = Path(sys.argv[2])
with S3Target("cloud", S3Options.model_validate_json(sys.argv[1])) as target:
    with staged.open("rb", buffering=0) as stream:
        target.put(sys.argv[3], HashingReader(stream).stream, staged.stat().st_size)
print(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.fixture
def proxy(s3: Radosgw) -> Iterator[Proxy]:
    with proxy_to(s3.endpoint) as proxy:
        yield proxy


@pytest.fixture
def staged(tmp_path: Path) -> Iterator[Path]:
    """A sealed file of 20 parts, no part of it like another."""
    path = tmp_path / SEALED
    block = random.Random(7).randbytes(4 * MIB)
    with path.open("wb") as stream:
        for number in range(SIZE // len(block)):
            stream.write(number.to_bytes(8, "big") + block[8:])
    yield path
    path.unlink()


def child(chosen: str, staged: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, chosen, str(staged), SEALED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )


def complete_parts(s3: Radosgw, bucket: str) -> dict[int, Any]:
    """Parts that the server holds whole, with when each was stored."""
    client = s3.client()
    uploads = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    assert len(uploads) <= 1, "a dead upload is gone on with, no second one is begun"
    found = {}
    for upload in uploads:
        pages = client.get_paginator("list_parts")
        for page in pages.paginate(Bucket=bucket, Key=SEALED, UploadId=upload["UploadId"]):
            found |= {part["PartNumber"]: part["LastModified"] for part in page.get("Parts", [])}
    return found


@pytest.mark.slow
def test_killed_again_and_again(
    proxy: Proxy, s3: Radosgw, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at random points; no part that the server holds is ever sent again.

    And the process stays below 150 MB with the plan's defaults.
    """
    secrets_in(monkeypatch, s3.admin)
    bucket = s3.bucket()
    chosen = options(s3, bucket, endpoint=proxy.endpoint, part_size=16).model_dump_json(exclude_none=True)
    points = sorted(random.Random(11).sample(range(1, SIZE // MIB), KILLS))
    before: dict[int, Any] = {}
    for point, previous in zip(points, [0, *points], strict=False):
        proxy.requests.clear()
        process = child(chosen, staged)
        while sum(request.sent for request in list(proxy.requests)) < (point - previous) * MIB:
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "the fault fired"
        settle(proxy)
        after = complete_parts(s3, bucket)
        sent = {request.part for request in proxy.requests if request.part}
        assert not sent & before.keys(), "a complete part was sent again"
        assert {number: after[number] for number in before} == before, "a complete part was stored again"
        before = after
    assert len(before) > 5
    proxy.requests.clear()
    last = child(chosen, staged)
    said, errors = last.communicate()
    assert last.returncode == 0, errors
    assert sorted(proxy.stored_parts()) == sorted(set(range(1, SIZE // (16 * MIB) + 1)) - before.keys())
    assert int(said) < 150 * 1000, "memory in KiB"
    look_whole(s3, bucket, staged)


def look_whole(s3: Radosgw, bucket: str, staged: Path) -> None:
    digest = hashlib.sha256()
    with S3Target("cloud", options(s3, bucket, part_size=16)) as target:
        with target.open(SEALED) as stream:
            while block := stream.read(MIB):
                digest.update(block)
        with staged.open("rb") as local:
            assert hashlib.file_digest(local, "sha256").hexdigest() == digest.hexdigest()
            local.seek(0)
            assert target.verify(SEALED, SIZE, digest.hexdigest(), local=local)
        assert s3.client().list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
        target.delete(SEALED)


def settle(proxy: Proxy, seconds: float = 0.3) -> None:
    """Wait until nothing moves: the server may still be storing what the dead process sent last."""
    seen = None
    while seen != (now := [(request.sent, request.status) for request in proxy.requests]):
        seen = now
        time.sleep(seconds)
