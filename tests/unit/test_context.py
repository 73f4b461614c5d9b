"""The plan is read once a process; targets stay open between the steps of a run."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.serving.environment import home_of
from tasks import context as context_module
from tasks.context import PlanContext, targets_kept_open
from tasks.errors import PlanError, TargetMissing
from tasks.manifests.signing import load_or_create_key
from tasks.platform.files import private_folder
from tasks.records import Properties
from tasks.targets.memory.target import MemoryTarget
from tests.flows.site import Site

LONG_AGO = 1_700_000_000


class Counting(MemoryTarget):
    """Knows how often it was closed."""

    def __init__(self, name: str, *, removable: bool = False) -> None:
        super().__init__(name)
        self.properties = Properties(removable=removable)
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site.make(tmp_path, ["nas"])
    os.utime(site.plan, (LONG_AGO, LONG_AGO))
    return site


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Each reading of a plan."""
    found: list[Path] = []
    real = context_module.load_plan

    def counting(path: Path, kinds: Any) -> Any:
        found.append(path)
        return real(path, kinds)

    monkeypatch.setattr(context_module, "load_plan", counting)
    return found


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Counting]]:
    """Each target that was made."""
    found: list[Counting] = []

    def make(name: str, _entry: Any) -> Counting:
        found.append(Counting(name))
        return found[-1]

    monkeypatch.setattr("tasks.targets.registry.make_target", make)
    yield found
    assert all(target.closed == 1 for target in found), "each is closed in the end, once"


def test_a_plan_is_read_once(site: Site, read: list[Path]) -> None:
    assert PlanContext(site.plan).plan is PlanContext(site.plan).plan
    assert read == [site.plan]


def test_a_changed_plan_is_read_anew(site: Site, read: list[Path]) -> None:
    assert PlanContext(site.plan).plan.drill.within_days != 41
    site.change_plan(drill={"within_days": 41})
    os.utime(site.plan, (LONG_AGO, LONG_AGO))  # as a tool that keeps dates; its size and its change time tell
    assert PlanContext(site.plan).plan.drill.within_days == 41
    assert len(read) == 2


def test_a_plan_written_just_now_is_not_trusted_to_stay(site: Site, read: list[Path]) -> None:
    for days in (41, 42, 43):  # same size, and the clock of a file system may not have gone on
        site.change_plan(drill={"within_days": days})
        assert PlanContext(site.plan).plan.drill.within_days == days


def test_a_plan_that_is_gone_is_told_as_ever(site: Site) -> None:
    assert PlanContext(site.plan).plan
    site.plan.unlink()
    with pytest.raises(PlanError, match=r"clinic\.yaml"):
        PlanContext(site.plan)


def test_without_a_run_each_use_opens_and_closes(site: Site, made: list[Counting]) -> None:
    for _ in range(2):
        with site.context.target("nas"):
            pass
    assert len(made) == 2


def test_in_a_run_a_target_is_opened_once(site: Site, made: list[Counting]) -> None:
    with targets_kept_open():
        for _ in range(3):
            with PlanContext(site.plan).target("nas") as target:
                assert not made[0].closed
        assert len(made) == 1 and made[0] is target


def test_two_steps_at_a_time_do_not_share_one(site: Site, made: list[Counting]) -> None:
    with targets_kept_open():
        with site.context.target("nas") as one, site.context.target("nas") as other:
            assert one is not other
        with site.context.target("nas"), site.context.target("nas"):
            pass
    assert len(made) == 2


def test_after_an_error_it_is_opened_anew(site: Site, made: list[Counting]) -> None:
    with targets_kept_open():
        with pytest.raises(TargetMissing), site.context.target("nas"):
            raise TargetMissing("the cable was pulled")
        assert made[0].closed == 1
        with site.context.target("nas"):
            pass
    assert len(made) == 2


def test_one_that_lay_idle_for_long_is_not_used(
    site: Site, made: list[Counting], monkeypatch: pytest.MonkeyPatch
) -> None:
    with targets_kept_open():
        with site.context.target("nas"):
            pass
        monkeypatch.setattr(context_module, "_IDLE_SECONDS", -1.0)
        with site.context.target("nas"):
            assert made[0].closed == 1
    assert len(made) == 2


def test_a_target_whose_options_changed_is_another(site: Site, made: list[Counting]) -> None:
    with targets_kept_open():
        with site.context.target("nas"):
            pass
        site.change_plan(targets=[{"name": "nas", "kind": "folder", "path": "elsewhere"}])
        with site.context.target("nas"):
            pass
    assert len(made) == 2


def test_removable_media_are_looked_for_anew(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Counting] = []

    def make(name: str, _entry: Any) -> Counting:
        made.append(Counting(name, removable=True))
        return made[-1]

    monkeypatch.setattr("tasks.targets.registry.make_target", make)
    with targets_kept_open():
        for _ in range(2):
            with site.context.target("nas"):
                pass
    assert [target.closed for target in made] == [1, 1]


def test_one_still_in_use_when_the_run_ends_is_closed_by_its_user(site: Site, made: list[Counting]) -> None:
    holds, ended = threading.Event(), threading.Event()

    def use() -> None:
        with site.context.target("nas"):
            holds.set()
            ended.wait(10)

    with targets_kept_open():
        user = threading.Thread(target=use)
        user.start()
        assert holds.wait(10)
    assert not made[0].closed
    ended.set()
    user.join(10)
    assert made[0].closed == 1


def test_one_that_cannot_be_closed_keeps_no_other_open(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Counting] = []

    class Stuck(Counting):
        def close(self) -> None:
            super().close()
            raise TargetMissing("the server went away")

    def make(name: str, _entry: Any) -> Counting:
        made.append(Stuck(name) if made else Counting(name))
        return made[-1]

    monkeypatch.setattr("tasks.targets.registry.make_target", make)
    with (
        pytest.raises(TargetMissing),
        targets_kept_open(),
        site.context.target("nas"),
        site.context.target("nas"),
    ):
        pass
    assert [target.closed for target in made] == [1, 1]


@pytest.mark.parametrize("name", ["prefect", "plans", "journal", "staging"])
def test_d_a_plan_may_have_any_name_of_ours(tmp_path: Path, name: str) -> None:
    """Beside it the server has its folder, which is not the plan's."""
    site = Site.make(tmp_path, ["nas"])
    home = home_of(site.plan)
    home.mkdir(parents=True)
    (home / "prefect.db").touch()
    site.change_plan(name=name)
    context = PlanContext(site.plan)
    context.journal.append("number", sequence=1, run="")
    assert home not in (context.state, *context.state.parents)
    assert PlanContext(site.plan).journal.head().length == 1


def test_a_state_folder_of_before_stays_where_it_is(tmp_path: Path) -> None:
    site = Site.make(tmp_path, ["nas"])
    earlier = tmp_path / ".datasave" / "clinic"
    load_or_create_key(private_folder(earlier) / "machine.key")
    assert PlanContext(site.plan).state == earlier
    site.change_plan(state="elsewhere")
    assert PlanContext(site.plan).state == tmp_path / "elsewhere"
