"""A shelf that can lose nothing is not read to prune it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.backup.retain import prune
from tasks.errors import TargetError
from tasks.records import Pruned, Stat
from tasks.targets.memory.target import MemoryTarget
from tests.flows.site import Site


class Unreadable(MemoryTarget):
    """As keys that may only write see a bucket."""

    def list(self, prefix: str = "") -> list[Stat]:
        raise TargetError("access denied", permanent=True)


@pytest.fixture(autouse=True)
def unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(name: str, _entry: Any) -> Unreadable:
        return Unreadable(name)

    monkeypatch.setattr("tasks.targets.registry.make_target", make)


def office(root: Path, keep: object) -> Site:
    site = Site.make(root, [])
    site.change_plan(targets=[{"name": "vault", "kind": "folder", "path": "vault", "keep": keep}])
    return site


def test_what_keeps_all_forever_is_not_read(tmp_path: Path) -> None:
    context = office(tmp_path, "forever").context
    kept = prune(context, "vault", proven="clinic-20261123T020000Z-000001.tar.zst.age")
    assert kept == Pruned(target="vault", removed=(), kept=0)


def test_what_may_lose_backups_is_read_first(tmp_path: Path) -> None:
    context = office(tmp_path, {"last": 3}).context
    with pytest.raises(TargetError, match="access denied"):
        prune(context, "vault")
