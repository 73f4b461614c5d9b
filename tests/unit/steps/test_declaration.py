"""From one declaration: the step's name in the graph, its time, its mark, its progress, its report line."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow, runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.flow_engine import run_flow
from prefect.states import AwaitingRetry

from tasks.backup.workspace import Workspace
from tasks.context import PlanContext
from tasks.errors import CopyError
from tasks.records import Record, Scope
from tasks.steps.declaration import Work, retried, step
from tasks.steps.outcomes import Steps, settle
from tasks.steps.progress import watched_by
from tests.flows.site import Site

# Not parameters: Prefect hands copies of those on.
begun: list[Steps] = []
ran: list[str] = []
failing: set[str] = set()


class Counted(Record):
    """What the pretend step makes."""

    rooms: int


@step("count rooms", line="count rooms of {target}", mark="counted-{target}", retries=retried(0))
def count_rooms(work: Work, floors: int) -> Counted:
    """A step that is no part of any backup."""
    ran.append(work.source_name)
    work.progress(1, 2)
    if "count" in failing:
        raise CopyError("nobody opened the door")
    return Counted(rooms=4 * floors)


@step("paint rooms", kept=False)
def paint_rooms(work: Work, counted: Counted) -> Counted:
    """One that fails on demand, after one that stands."""
    if "paint" in failing:
        raise CopyError("no paint", permanent=True)
    return counted


@flow(name="pretend")
def pretend(plan: Path, source_name: str = "") -> Any:
    context = PlanContext(plan)
    workspace = Workspace(context.staging / str(runtime.flow_run.id))
    scope = Scope(plan=plan, id=workspace.folder.name, source_name=source_name)
    steps = Steps(scope, source_name, workspace, "house")
    begun.append(steps)
    counted = steps.begin(count_rooms, 3)
    steps.begin(paint_rooms, counted)
    settle([steps])
    return steps.errors[0] if steps.errors else None


@pytest.fixture
def office(tmp_path: Path, prefect_server: str) -> Path:
    assert prefect_server
    begun.clear()
    ran.clear()
    failing.clear()
    (tmp_path / "clinic.db").touch()
    return Site.make(tmp_path, ["nas"]).plan


def tasks_of(run_id: Any) -> list[tuple[str, str]]:
    with get_client(sync_client=True) as client:
        found = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id])))
    return sorted({(task.name, str(task.state_name)) for task in found})


def test_a_step_is_known_everywhere_by_its_declaration(office: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    with watched_by(lambda *told: heard.append(told)):
        pretend(office, "letters")
    (steps,) = begun
    assert [line.name for line in steps.lines] == ["count rooms of house, letters", "paint rooms, letters"]
    assert [line.outcome for line in steps.lines] == ["ok", "ok"]
    assert heard == [("count rooms of house, letters", 1, 2)]
    assert sorted(path.name for path in (steps.workspace.folder / "ledger").iterdir()) == [
        "count rooms of house.seconds",
        "counted-house",
        "paint rooms.seconds",
    ]
    assert steps.result(count_rooms) == Counted(rooms=12)
    assert count_rooms.task.name == "count rooms"


def test_a_step_that_fails_is_not_marked_and_says_why(office: Path) -> None:
    failing.add("count")
    pretend(office)
    (steps,) = begun
    assert [(line.name, line.outcome, line.detail) for line in steps.lines] == [
        ("count rooms of house", "failed", "nobody opened the door"),
        ("paint rooms", "not run", ""),
    ]
    assert not steps.workspace.done("counted-house")
    assert steps.result(count_rooms) is None
    assert ran == ["", ""], "tried again by itself"


def again(run: Any, plan: Path) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, AwaitingRetry(), force=True)
        flow_run = client.read_flow_run(run)
    run_flow(pretend, flow_run=flow_run, parameters={"plan": plan}, return_type="state")


def first_attempt(plan: Path) -> Any:
    failing.add("paint")
    pretend(plan)
    failing.clear()
    return begun[0].workspace.folder.name


def test_a_re_run_uses_what_stands(office: Path) -> None:
    run = first_attempt(office)
    again(run, office)
    assert ran == [""]
    assert [line.outcome for line in begun[1].lines] == ["reused", "ok"]
    begun[1].workspace.unmark("counted-house")
    again(run, office)
    assert ran == ["", ""], "what is not marked is done again"


def test_a_re_run_by_a_version_with_other_words_uses_it_too(
    office: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect's default key has the source text of the task in it: after an upgrade nothing would fit."""
    run = first_attempt(office)

    def rewritten(work: Work, floors: int) -> Counted:
        ran.append("rewritten")
        return Counted(rooms=floors)

    newer = step("count rooms", line=count_rooms.line, mark=count_rooms.mark)(rewritten)
    monkeypatch.setitem(globals(), "count_rooms", newer)
    again(run, office)
    assert ran == [""]
    assert [line.outcome for line in begun[1].lines] == ["reused", "ok"]


def test_a_step_without_a_run_says_so(tmp_path: Path) -> None:
    scope = Scope(plan=tmp_path / "clinic.yaml", id=str(uuid4()))
    with pytest.raises(TypeError, match="needs a run that has begun"):
        _ = Work(scope, "", None, lambda *_: None).run  # type: ignore[arg-type]
