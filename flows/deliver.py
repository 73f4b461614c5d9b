"""Give a target that was unreachable the newest sealed archive, without a new copy of the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.backup import RUNNER, send
from flows.ending import concluded, failure, refused
from tasks.backup.removal import removed_in
from tasks.backup.spool import LATEST, Spooled, lacking, waiting
from tasks.backup.workspace import SEALED, Workspace, exclusively, locked
from tasks.context import PlanContext, targets_kept_open
from tasks.errors import DatasaveError
from tasks.notices.wording import removed_text
from tasks.steps.backup import deliver as deliver_to
from tasks.steps.backup import prune
from tasks.steps.notices import notify_at_every_end
from tasks.steps.outcomes import Steps, settle
from tasks.steps.report import now
from tasks.steps.running import name_run


@flow(name="deliver", task_runner=RUNNER, **notify_at_every_end())
def deliver(plan: Path, targets: list[str] | None = None, backup: str = LATEST) -> State[Any]:
    """Give a target that was away the sealed archive that waits for it, without a new copy of the database.

    A run that failed at a target leaves its archive in staging, encrypted and proven.

    Args:
        plan: The plan file that names the targets.
        targets: The targets to deliver to. Leave it empty for all that lack the backup.
        backup: Which sealed archive: latest, or the number of one that waits (417). One that is named is
            delivered beside a newer one too.
    """
    started = now()
    try:
        context = PlanContext(plan)
        names = context.chosen(targets)
        name_run("deliver", context)
        with targets_kept_open(), exclusively(context.staging), ExitStack() as stack:
            done, errors = [], []
            for spooled in waiting(context, backup):
                workspace = stack.enter_context(locked(context.staging / spooled.run.id))
                missing = lacking(context, spooled, names, exactly=backup != LATEST)
                sent = [_send_anew(spooled, workspace, name) for name in missing]
                settle(sent)
                failed = {steps.target: error for steps in sent for error in steps.errors}
                errors += [f"{name}: {error}" for name, error in failed.items()]
                done.append(_sentence(spooled, [name for name in missing if name not in failed]))
                done += [told for steps in sent for told in _removed(context, spooled, steps.target)]
                if not failed and not lacking(context, spooled, context.chosen(None)):
                    workspace.unmark(SEALED)
    except DatasaveError as error:
        return refused(plan, "deliver", error, started)
    if errors:
        return concluded(
            context.path, failure(plan, "deliver", "; ".join([*done, *errors]), started), reporting=False
        )
    return Completed(message="; ".join(done))


def _sentence(spooled: Spooled, done: list[str]) -> str:
    what = f"{spooled.run.source} #{spooled.run.sequence}"
    return f"{what} delivered to {', '.join(done)}" if done else f"{what}: no target lacked it"


def _send_anew(spooled: Spooled, workspace: Workspace, target: str) -> Steps:
    """The run that left the archive may have tried here before: all is done anew."""
    for step in (deliver_to, prune):
        step.unmark(workspace, target)
    run = Steps(spooled.run, spooled.run.source_name, workspace)
    return send(run, target, spooled.sealed, spooled.rehearsed)


def _removed(context: PlanContext, spooled: Spooled, target: str) -> Iterator[str]:
    removed = removed_in(context, spooled.run, target)
    if removed:
        yield f"removed from {target}: {removed_text(removed)}"
    if any(gone.sequence == spooled.run.sequence for gone in removed):
        yield _not_kept(spooled, target)


def _not_kept(spooled: Spooled, target: str) -> str:
    return f"the plan's `keep` for {target} has no room for #{spooled.run.sequence}: it was removed again"
