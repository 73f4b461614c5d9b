"""The progress artifact of a step: there while it works, at 100 once it is done, gone where it failed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import ArtifactSort

from tasks.errors import CopyError
from tasks.steps import progress

# Not parameters: Prefect hands copies of those on.
clock = [0.0]
seen: list[float] = []


def artifacts() -> dict[str, float]:
    """What the server knows of progress, by the step's name."""
    progress._sender.submit(lambda: None).result()
    with get_client(sync_client=True) as client:
        # The server has those of other tests' runs too, more than a page of them.
        found = client.read_artifacts(sort=ArtifactSort.CREATED_DESC)
    mine = [one for one in found if one.type == "progress" and one.description in ("good", "bad", "hours")]
    return {str(one.description): float(str(one.data)) for one in mine}


@task(name="long step", cache_policy=NO_CACHE)
def long_step(name: str, fails: bool) -> None:
    with progress.progress_of(name) as report:
        for done in (1, 2, 3, 4):
            clock[0] += 0.6
            report(done, 4)
            seen.append(artifacts().get(name, -1.0))
        if fails:
            raise CopyError("the cable was pulled")


@flow(name="progress of two")
def two() -> Any:
    long_step("good", False)
    return long_step("bad", True, return_state=True)


def test_progress_ends_with_its_step(prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert prefect_server
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    assert two(return_state=True).is_failed()
    assert seen == [-1.0, 50.0, 50.0, 99.0, -1.0, 50.0, 50.0, 99.0], "one update a second at the most"
    assert artifacts() == {"good": 100.0}


@task(name="hours", cache_policy=NO_CACHE)
def hours() -> None:
    with progress.progress_of("hours") as report:
        for done, seconds in ((1, 1000.0), (2, 10.0), (3, 15.0), (4, 20.0)):
            clock[0] += seconds
            report(done, 5)
            seen.append(artifacts().get("hours", -1.0))


@flow(name="progress of hours")
def for_hours() -> None:
    hours()


def test_of_a_long_step_it_is_told_less_often(prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The uploads of a fleet would else keep its server busy with numbers that hardly change."""
    assert prefect_server
    seen.clear()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    for_hours()
    assert seen == [20.0, 20.0, 60.0, 60.0]
