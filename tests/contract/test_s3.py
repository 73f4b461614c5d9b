"""The S3 target against the contract, on a real server, and what is its own."""

from __future__ import annotations

import pytest

from tests.contract.s3_targets import case_on
from tests.contract.target_contract import TargetCase, TargetContract
from tests.servers.radosgw import Radosgw, s3

__all__ = ["s3"]


class TestPlainBucket(TargetContract):
    @pytest.fixture
    def case(self, s3: Radosgw, monkeypatch: pytest.MonkeyPatch) -> TargetCase:
        return case_on(s3, s3.bucket(), monkeypatch)


class TestVersionedBucket(TargetContract):
    @pytest.fixture
    def case(self, s3: Radosgw, monkeypatch: pytest.MonkeyPatch) -> TargetCase:
        return case_on(s3, s3.bucket(versions=True), monkeypatch)


class TestFolderOfABucketInUse(TargetContract):
    """Other folders' objects, and what lies beside ours, do not show."""

    @pytest.fixture
    def case(self, s3: Radosgw, monkeypatch: pytest.MonkeyPatch) -> TargetCase:
        bucket = s3.bucket()
        for key in ("a", "front-office2/a", "front-office/", "front-office//a"):
            s3.client().put_object(Bucket=bucket, Key=key, Body=b"foreign")
        return case_on(s3, bucket, monkeypatch, prefix="front-office")
