"""One declaration a step: its Prefect task, its time, its ledger mark, its progress, its line in the report.

A step is a function of its ``Work`` and of what earlier steps returned::

    @step("count rooms", stands_by=SEALED)
    def count_rooms(work: Work, copy: Copied) -> Counted:
        return tasks.backup.rooms.count(work.context, copy, work.progress)

One line in the flow begins it: ``counted = steps.begin(count_rooms, copy)`` (tasks/steps/outcomes.py). From
the declaration come the name in Prefect's graph, the result that a re-run uses again, the progress bar
``count rooms``, the seconds in the ledger (``count rooms.seconds``) and the line in the report's time table.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property, update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, TypedDict, TypeVar

from prefect import Task
from prefect.cache_policies import INPUTS, NO_CACHE, RUN_ID, CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.states import Completed

from tasks.backup.spool import Spooled, spooled_in
from tasks.backup.workspace import Workspace
from tasks.context import PlanContext
from tasks.errors import DatasaveError
from tasks.notices.wording import step_text
from tasks.records import Progress, Run, Scope, no_progress
from tasks.steps.progress import progress_of

P = ParamSpec("P")
R = TypeVar("R")

# How Prefect names the state of a task whose result it took from an earlier run.
CACHED = "Cached"


class NotOnRecord(Enum):
    """What a step made in an earlier attempt still stands, but its result is not on record."""

    IT = "not on record"


NOT_ON_RECORD = NotOnRecord.IT


class Retries(TypedDict, total=False):
    """Prefect's options for a task that is tried again by itself."""

    retries: int
    retry_delay_seconds: int | list[float]
    retry_condition_fn: Callable[[Task[..., Any], TaskRun, State[Any]], bool]


def worth_another_try(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether the failure may pass by itself: the error knows (tasks/errors.py, ``permanent``)."""
    error = state.data
    return isinstance(error, DatasaveError) and not error.permanent


def retried(*delays: float) -> Retries:
    """Try again after each of these pauses, in seconds, what may pass by itself."""
    return {
        "retries": len(delays),
        "retry_delay_seconds": list(delays),
        "retry_condition_fn": worth_another_try,
    }


@dataclass
class StepName(CachePolicy):
    """The step's name as a part of the key under which its result is kept.

    Prefect's own default takes the task's source text: then a retry by a newer version of this program would
    find no result of the failed run.
    """

    name: str = ""

    def compute_key(
        self,
        task_ctx: TaskRunContext,  # noqa: ARG002 - Prefect's signature
        inputs: dict[str, Any],  # noqa: ARG002
        flow_parameters: dict[str, Any],  # noqa: ARG002
        **_: Any,
    ) -> str | None:
        """The name itself."""
        return self.name


Recall = Callable[["Work", Spooled], Any]
"""From what the proven archive in staging tells to the result of a step; None where it has to be done."""


@dataclass(frozen=True)
class Work:
    """What a step works on and with. ``target`` is "" for steps that are about no single target."""

    scope: Scope
    target: str
    context: PlanContext
    progress: Progress

    @property
    def source_name(self) -> str:
        """The source's short name, "" for the main one."""
        return self.scope.source_name

    @cached_property
    def workspace(self) -> Workspace:
        """The source's folder in staging."""
        return Workspace(self.context.staging / self.scope.id)

    @property
    def run(self) -> Run:
        """The run, for all steps but the first one, which begins it."""
        if not isinstance(self.scope, Run):
            raise TypeError("this step needs a run that has begun")
        return self.scope


class Step(Generic[P, R]):
    """A declared step. ``task`` is its Prefect task: called with a scope, a target and the step's arguments.

    ``line`` is its name in the report and the ledger, ``title`` in the graph and for its progress, ``mark``
    its mark in the ledger; ``{target}`` in them is the target's name.
    """

    def __init__(
        self, body: Callable[Concatenate[Work, P], R], declared: Declared, options: dict[str, Any]
    ) -> None:
        self.body = body
        self.line = declared.line
        self.title = declared.title
        self.mark = declared.mark
        self._declared = declared
        self.task: Task[..., R] = Task(
            self._as_task(), name=declared.name, task_run_name=self.title, **options
        )

    def named(self, source_name: str, target: str) -> Task[..., R]:
        """The task under a name that tells which target and which of the plan's sources it is about.

        The task's own name too: that is what the graph shows of a step that never began.
        """
        name = step_text(self.title.format(target=target), source_name)
        return self.task.with_options(name=name, task_run_name=name)

    def stands(self, workspace: Workspace, target: str) -> bool:
        """Whether a re-run may use what this step made in an earlier attempt, as far as the ledger knows."""
        mark = self._declared.stands_by.format(target=target)
        return not mark or workspace.stands(mark)

    def seconds(self, work: Work) -> float:
        """How long this step took when it last ran, by the ledger."""
        return work.workspace.seconds(self.line.format(target=work.target))

    def unmark(self, workspace: Workspace, target: str) -> None:
        """Note that what this step makes must be made again."""
        workspace.unmark(self.mark.format(target=target))

    def _as_task(self) -> Callable[..., Any]:
        def run(scope: Scope, target: str, *arguments: P.args, **named: P.kwargs) -> Any:
            return self._run(scope, target, *arguments, **named)

        update_wrapper(run, self.body)
        own = inspect.signature(run, follow_wrapped=False).parameters
        taken = list(inspect.signature(self.body).parameters.values())[1:]
        signature = inspect.Signature([own["scope"], own["target"], *taken])
        run.__signature__ = signature  # type: ignore[attr-defined]
        return run

    def _run(self, scope: Scope, target: str, *arguments: P.args, **named: P.kwargs) -> R | State[Any]:
        work = Work(scope, target, PlanContext(scope.plan), no_progress)
        if (found := self._recalled(work)) is not None:
            return Completed(name=CACHED, data=None if found is NOT_ON_RECORD else found)
        title = step_text(self.title.format(target=target), scope.source_name)
        with self._timed(work), progress_of(title) as progress:
            if self.mark:
                # Without its result a finished step counts for nothing: should this fail, it is done anew.
                self.unmark(work.workspace, target)
            result = self.body(replace(work, progress=progress), *arguments, **named)
        if self.mark and self._declared.mark_if(result):
            work.workspace.mark(self.mark.format(target=target))
        return result

    def _timed(self, work: Work) -> AbstractContextManager[None]:
        if not work.scope.id:
            return nullcontext()
        return work.workspace.timed(self.line.format(target=work.target))

    def _recalled(self, work: Work) -> Any:
        """The result of an earlier attempt that stands although Prefect's record has none that fits.

        So it is after an upgrade of this program, whose records may look different.
        """
        recall = self._declared.recall
        if recall is None or not self.stands(work.workspace, work.target):
            return None
        spooled = spooled_in(work.context, work.workspace)
        return recall(work, spooled) if spooled else None


def _always(_result: Any) -> bool:
    return True


@dataclass(frozen=True)
class Declared:
    """What was declared of a step; see ``step``."""

    name: str
    line: str
    title: str
    mark: str
    stands_by: str
    mark_if: Callable[[Any], bool]
    recall: Recall | None


def step(  # noqa: PLR0913 - all that can be said of a step, in one place
    name: str,
    *,
    line: str = "",
    title: str = "",
    mark: str = "",
    mark_if: Callable[[Any], bool] = _always,
    stands_by: str = "",
    recall: Recall | None = None,
    kept: bool = True,
    retries: Retries | None = None,
) -> Callable[[Callable[Concatenate[Work, P], R]], Step[P, R]]:
    """Declare a step of that name.

    Args:
        name: The name of the Prefect task, and of what follows from it where nothing else is said.
        line: Its name in the report and the ledger; ``deliver {target}`` where it is about a target.
        title: Its name in the graph and for its progress, where that is another.
        mark: The mark in the ledger that says that what it made stands; set when it succeeds.
        mark_if: Whether a result deserves the mark.
        stands_by: The mark that must be there for a re-run to use its result, its own one by default.
        recall: What its result was, by the proven archive in staging, where Prefect's record lacks it.
        kept: Whether a re-run uses a finished result again. It is kept as JSON, which a person can read; the
            folder that holds it is private.
        retries: How it is tried again by itself.
    """
    line = line or name
    declared = Declared(name, line, title or line, mark, stands_by or mark, mark_if, recall)
    options: dict[str, Any] = {"cache_policy": NO_CACHE}
    if kept:
        policy = INPUTS + RUN_ID + StepName(name=name)
        options = {"persist_result": True, "result_serializer": "json", "cache_policy": policy}

    def declare(body: Callable[Concatenate[Work, P], R]) -> Step[P, R]:
        return Step(body, declared, {**options, **(retries or {})})

    return declare
