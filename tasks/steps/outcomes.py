"""The steps of a run as they were begun, and what came of them: results, errors, lines of the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, ParamSpec, TypeVar, cast

from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait

from tasks import reports
from tasks.backup.workspace import Workspace
from tasks.errors import DatasaveError
from tasks.notices.wording import step_text
from tasks.records import Run, Scope
from tasks.steps.declaration import CACHED, Step

P = ParamSpec("P")
R = TypeVar("R")


class Steps:
    """The steps of one source in a run, or of its delivery to one target, in the order they were begun.

    ``scope`` is what each is handed; from the first step on the future of the run that it begins.
    """

    def __init__(
        self,
        scope: Scope | PrefectFuture[Run],
        source_name: str,
        workspace: Workspace,
        target: str = "",
    ) -> None:
        self.scope = scope
        self.source_name = source_name
        self.workspace = workspace
        self.target = target
        self._begun: dict[str, PrefectFuture[Any]] = {}

    def at(self, target: str) -> Steps:
        """The same run's steps at a target, none begun yet."""
        return Steps(self.scope, self.source_name, self.workspace, target)

    def begin(
        self, step: Step[P, R], *arguments: object, after: Sequence[PrefectFuture[Any]] = ()
    ) -> PrefectFuture[R]:
        """Submit a step. Its arguments may be futures of earlier ones; it waits for those in ``after`` too.

        A re-run takes its result from the record where the ledger says that it stands.
        """
        named = step.named(self.source_name, self.target)
        fresh = not step.stands(self.workspace, self.target)
        future: PrefectFuture[R] = named.with_options(refresh_cache=fresh).submit(
            self.scope, self.target, *arguments, return_state=False, wait_for=list(after)
        )
        self._begun[self._line(step)] = future
        return future

    def future(self, step: Step[P, R]) -> PrefectFuture[R]:
        """The future of a step that was begun."""
        return cast("PrefectFuture[R]", self._begun[self._line(step)])

    def result(self, step: Step[P, R]) -> R | None:
        """What a step returned, None where it was not begun or did not complete."""
        future = self._begun.get(self._line(step))
        return None if future is None else cast("R | None", result_of(future))

    @property
    def futures(self) -> list[PrefectFuture[Any]]:
        """All that were begun, in order."""
        return list(self._begun.values())

    @property
    def errors(self) -> list[DatasaveError]:
        """What they raised."""
        return [error for future in self.futures if (error := error_of(future))]

    @property
    def lines(self) -> tuple[reports.Step, ...]:
        """Their lines in the report's time table."""
        return tuple(self._report_line(name, future) for name, future in self._begun.items())

    def _line(self, step: Step[P, R]) -> str:
        return step.line.format(target=self.target)

    def _report_line(self, name: str, future: PrefectFuture[Any]) -> reports.Step:
        outcome: Literal["ok", "failed", "not run", "reused"] = "not run"
        if future.state.is_completed():
            outcome = "reused" if future.state.name == CACHED else "ok"
        elif future.state.is_failed() or future.state.is_crashed():
            outcome = "failed"
        error = error_of(future)
        return reports.Step(
            name=step_text(name, self.source_name),
            outcome=outcome,
            seconds=self.workspace.seconds(name) if outcome != "not run" else 0.0,
            detail=error.message if error else "",
        )


def settle(steps: Sequence[Steps]) -> None:
    """Wait until all steps that were begun have come to rest."""
    wait([future for one in steps for future in one.futures])


def result_of(future: PrefectFuture[R]) -> R | None:
    """What a step returned, None where it did not complete."""
    if not future.state.is_completed():
        return None
    return future.result()


def error_of(future: PrefectFuture[Any]) -> DatasaveError | None:
    """What a step raised, as one of ours; None where it didn't fail itself."""
    return state_error(future.state)


def state_error(state: State[Any]) -> DatasaveError | None:
    """What a finished state holds of an error, as one of ours; None where it did not fail itself."""
    if not state.is_failed() and not state.is_crashed():
        return None
    raised = state.result(raise_on_failure=False)
    if isinstance(raised, DatasaveError):
        return raised
    # Not foreseen: the class name says where to look, the text might hold anything.
    return DatasaveError(
        f"unexpected {type(raised).__name__}",
        hint="The run's log in the Prefect UI has the details. Please report it.",
    )
