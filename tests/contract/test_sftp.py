"""The SFTP target against the contract, on a real server, and what is its own."""

from __future__ import annotations

import itertools

import pytest

from tests.contract.target_contract import TargetCase, TargetContract
from tests.servers.sshd import Sshd, sshd

__all__ = ["sshd"]

_numbers = itertools.count()


class TestSftp(TargetContract):
    @pytest.fixture
    def case(self, sshd: Sshd) -> TargetCase:
        root = sshd.place(f"contract-{next(_numbers)}")
        with sshd.target(root) as target:
            target.prepare()

        def corrupt(name: str) -> None:
            data = (root / name).read_bytes()
            (root / name).write_bytes(bytes([data[0] ^ 1]) + data[1:])

        return TargetCase(make=lambda: sshd.target(root), corrupt=corrupt)
