"""An emulator of Amazon's services for what radosgw 16 lacks: cold storage, newer checksums, IAM users.

The program ``ministack`` beside this Python, or on the PATH. Up in under a second; ended by process id.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers.ports import free_ports
from tests.servers.radosgw import Keys, wait_for_port

ADMIN = Keys("root", "test", "test")


@dataclass(frozen=True)
class Ministack:
    """A running emulator, and the keys of its administrator."""

    endpoint: str
    admin: Keys = ADMIN

    def client(self, service: str = "s3", keys: Keys | None = None) -> Any:
        """A plain boto3 client."""
        import boto3

        keys = keys or self.admin
        return boto3.session.Session().client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=keys.access,
            aws_secret_access_key=keys.secret,
        )

    def user(self, name: str, policy: str) -> Keys:
        """A new user with that policy."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=policy)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return Keys(name, made["AccessKeyId"], made["SecretAccessKey"])


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ministack]:
    """An emulator for the tests of one module."""
    program = shutil.which("ministack", path=str(Path(sys.executable).parent)) or shutil.which("ministack")
    if program is None:
        pytest.skip("ministack is not installed: cold storage and Amazon's checksums are not tried")
    with ministack(program, tmp_path_factory.mktemp("ministack")) as server:
        yield server


@contextmanager
def ministack(program: str, folder: Path) -> Iterator[Ministack]:
    """An emulator whose state is in an empty folder."""
    (port,) = free_ports(1)
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "AUTH": "true",
        "SERVICES": "s3,iam,sts",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        wait_for_port(port)
        yield Ministack(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()
