"""The SMB target against the contract, on a real server."""

from __future__ import annotations

import itertools

import pytest

from tests.contract.target_contract import TargetCase, TargetContract
from tests.servers.account import PASSWORD
from tests.servers.samba import Samba, samba

__all__ = ["samba"]

_numbers = itertools.count()


class TestSmb(TargetContract):
    @pytest.fixture
    def case(self, samba: Samba, monkeypatch: pytest.MonkeyPatch) -> TargetCase:
        monkeypatch.setenv("SMB_PASSWORD", PASSWORD)
        root = samba.place(f"contract-{next(_numbers)}")
        with samba.target(root) as target:
            target.prepare()

        def corrupt(name: str) -> None:
            data = (root / name).read_bytes()
            (root / name).write_bytes(bytes([data[0] ^ 1]) + data[1:])

        return TargetCase(make=lambda: samba.target(root), corrupt=corrupt)
