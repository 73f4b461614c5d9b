"""Remove what retention no longer keeps, target by target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.futures import wait
from prefect.states import Completed

from flows.ending import concluded, failure, refused
from tasks.context import PlanContext
from tasks.errors import DatasaveError
from tasks.notices.wording import place_text, removed_text
from tasks.records import Pruned, Scope
from tasks.steps.notices import notify_at_every_end
from tasks.steps.on_request import prune_now
from tasks.steps.outcomes import error_of, result_of
from tasks.steps.report import now
from tasks.steps.running import name_run


@flow(name="prune", **notify_at_every_end())
def prune(plan: Path, targets: list[str] | None = None) -> State[Any]:
    """Remove the backups that the plan no longer keeps. `datasave prune` shows first what would go.

    Args:
        plan: The plan file that says what is kept.
        targets: The targets to clear out. Leave it empty for all of them.
    """
    started = now()
    try:
        context = PlanContext(plan)
        names = context.chosen(targets)
        name_run("prune", context)
        scopes = [Scope(plan=context.path, source_name=source_name) for source_name in context.source_names]
        futures = [
            (place_text(name, scope.source_name), prune_now.task.submit(scope, name))
            for name in names
            for scope in scopes
        ]
        wait([future for _, future in futures])
    except DatasaveError as error:
        return refused(plan, "prune", error, started)
    errors = [f"{name}: {raised}" for name, future in futures if (raised := error_of(future))]
    pruned = [(name, done) for name, future in futures if (done := result_of(future))]
    notes = [f"{name}: {done.note}" for name, done in pruned if done.note]
    told = [f"{name}: {_went(done)}, {done.kept or 'all'} kept" for name, done in pruned]
    if errors or notes:
        went = [sentence for sentence, (_, done) in zip(told, pruned, strict=True) if done.removed]
        facts = failure(plan, "prune", "; ".join([*errors, *notes, *went]), started)
        return concluded(context.path, facts, reporting=False)
    return Completed(message="; ".join(told))


def _went(done: Pruned) -> str:
    return f"removed {removed_text(done.removed)}" if done.removed else "0 removed"
