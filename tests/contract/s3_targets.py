"""What the tests of the S3 target share: targets on the test server."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.targets.s3.options import S3Options
from tasks.targets.s3.target import S3Target
from tests.contract.target_contract import TargetCase
from tests.servers.radosgw import Keys, Radosgw


def options(server: Radosgw, bucket: str, keys: Keys | None = None, **more: Any) -> S3Options:
    """Options of a target on the server, with small parts and short waits; its keys by environment."""
    keys = keys or server.admin
    settings = {
        "kind": "s3",
        "bucket": bucket,
        "endpoint": server.endpoint,
        "part_size": 5,
        "timeout": 20,
        **credentials(keys),
        **more,
    }
    return S3Options.model_validate(settings)


def credentials(keys: Keys) -> dict[str, str]:
    """How a user's keys stand in the plan; ``secrets_in`` sets the environment that they name."""
    return {"access_key_id": keys.access, "secret_access_key": f"env:{variable(keys)}"}


def variable(keys: Keys) -> str:
    return f"S3_SECRET_OF_{keys.user.upper()}"


def secrets_in(environment: pytest.MonkeyPatch, *users: Keys) -> None:
    """Put the secrets where the plan looks for them, and leave no other key in sight."""
    for keys in users:
        environment.setenv(variable(keys), keys.secret)
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        environment.delenv(name, raising=False)
    environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
    environment.setenv("AWS_CONFIG_FILE", "/nonexistent")
    environment.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")


def case_on(
    server: Radosgw, bucket: str, environment: pytest.MonkeyPatch, *, prefix: str = "", **more: Any
) -> TargetCase:
    """A case of the contract on a bucket."""
    secrets_in(environment, server.admin)

    def make() -> S3Target:
        return S3Target("cloud", options(server, bucket, prefix=prefix, **more))

    def corrupt(name: str) -> None:
        client = server.client()
        key = f"{prefix}/{name}" if prefix else name
        data = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        client.put_object(Bucket=bucket, Key=key, Body=bytes([data[0] ^ 1]) + data[1:])

    return TargetCase(make=make, corrupt=corrupt)
