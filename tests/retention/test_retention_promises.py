"""Random offices, random nights: what a model of the promises says must be there is there and opens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import mounts
from tests.retention.events import live
from tests.retention.office import memory_at
from tests.retention.world import World

SEEDS, ALL_SEEDS, CHUNK = 100, 2_000, 25


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory: what is tested is which files stay, not how a disk keeps them."""
    mounts.need("mount")
    with memory_at(tmp_path_factory.mktemp("retention") / "memory", "256m") as path:
        yield path


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages for people, and notes on keys, are no part of this, and would take most of its time."""
    monkeypatch.setattr("tasks.backup.deliver.put_runbook", lambda *_: None)
    monkeypatch.setattr("tasks.backup.deliver.refresh_recover", lambda *_: None)
    monkeypatch.setattr("tasks.health.audit.learn", lambda *_: None)
    monkeypatch.setattr("tasks.backup.deliver.SPARE_BYTES", 3 << 12)


def lived(seed: int, memory: Path) -> None:
    with ExitStack() as stack:
        world = World(seed, memory / "office", stack)
        live(world, world.random.randint(4, 8))


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_what_must_be_there_is_there_and_opens(memory: Path, first: int) -> None:
    for seed in range(first, first + CHUNK):
        lived(seed, memory)


@pytest.mark.long
@pytest.mark.parametrize("first", range(SEEDS, ALL_SEEDS, CHUNK))
def test_so_it_is_for_many_more_offices(memory: Path, first: int) -> None:
    for seed in range(first, first + CHUNK):
        lived(seed, memory)
