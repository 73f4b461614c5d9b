"""Back up a plan's sources: copy each live, prove the sealed copy restores, then send it to every target."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.task_runners import ThreadPoolTaskRunner

from flows.ending import clear_staging, refused, state_of
from flows.report import SourceRun, backup_report
from tasks.backup.workspace import Workspace, release, working
from tasks.context import PlanContext, targets_kept_open
from tasks.errors import DatasaveError, StateError
from tasks.records import Rehearsed, Scope, Sealed
from tasks.steps.backup import (
    archive_and_encrypt,
    deliver,
    live_copy,
    preflight,
    prune,
    read_back,
    rehearse,
    validate_copy,
)
from tasks.steps.notices import begin, notify, notify_at_every_end
from tasks.steps.outcomes import Steps, settle
from tasks.steps.progress import stopping_steps
from tasks.steps.report import now, reported

# A waiting task occupies a thread: five steps a source, and three for each of a handful of targets.
RUNNER: Any = ThreadPoolTaskRunner(max_workers=64)

SKIPPED = "left out of this run, as asked"


@flow(name="backup", task_runner=RUNNER, **notify_at_every_end(clear_staging))
def backup(plan: Path, targets: list[str] | None = None, skip: list[str] | None = None) -> State[Any]:
    """Take a backup now: copy the running database, prove that the copy restores, send it to the targets.

    Nothing is delivered before the copy was validated and the sealed archive was opened and counted.
    Sources and targets are independent: one that fails doesn't keep the others from their backup, but
    the run is Failed then, and re-running it does only what is missing.

    Args:
        plan: The plan file that says what to back up and where to.
        targets: The targets to deliver to, whether due or not. Leave it empty for all that are due.
        skip: Targets to leave out of this run, such as one that is being repaired.
    """
    started = now()
    try:
        context = PlanContext(plan)
        context.chosen(targets, skip)  # refuses a run that would leave nothing to do
        chosen = context.chosen(targets)
        if context.plan.notices.heartbeat_of("backup"):
            begin.submit(context.path, "backup")
        names = [entry.name for entry in context.plan.targets if entry.name in chosen]
        with (
            targets_kept_open(),
            working(
                context.staging, runtime.flow_run.id, context.source_names, context.plan.spool
            ) as workspaces,
        ):
            runs: list[SourceRun] = []
            with stopping_steps(lambda: settle(_all_steps(runs))):
                for source_name, workspace in zip(context.source_names, workspaces, strict=True):
                    runs.append(SourceRun(take(context, workspace, source_name)))
                for run in runs:
                    # What is due is decided once, when the run begins: a retry on another day must not.
                    left_out = {} if targets else due_reasons(run)
                    left_out |= dict.fromkeys(skip or (), SKIPPED)
                    run.not_due.update({name: left_out[name] for name in names if name in left_out})
                    due = [name for name in names if name not in left_out]
                    sealed, rehearsed = run.steps.future(archive_and_encrypt), run.steps.future(rehearse)
                    run.at_targets.extend(send(run.steps, name, sealed, rehearsed) for name in due)
                settle(_all_steps(runs))
            # Before the report is written: on a full disk this makes the room for it.
            for workspace in workspaces:
                with suppress(StateError):  # what cannot go is told when it closes, after the report
                    workspace.wipe_plaintext()
            facts = reported(context.path, backup_report(context, runs, started))
        facts = notify(context.path, facts)
        if facts.succeeded:
            for workspace in workspaces:
                release(workspace.folder)
    except DatasaveError as error:
        return refused(plan, "backup", error, started)
    return state_of(facts)


def due_reasons(run: SourceRun) -> dict[str, str]:
    """The targets that a source's run leaves out, with the reasons; waits for its preflight."""
    wait([run.steps.future(preflight)])
    return dict(run.run.not_due) if run.run else {}


def take(context: PlanContext, workspace: Workspace, source_name: str) -> Steps:
    """Everything until one source's sealed archive is proven; submitted, not awaited.

    A re-run keeps what stands. Where the sealed archive of the first try is gone (its staging was swept), the
    results on record would name files that no longer exist: then all is taken afresh.
    """
    scope = Scope(plan=context.path, id=workspace.folder.name, source_name=source_name)
    steps = Steps(scope, source_name, workspace)
    steps.scope = steps.begin(preflight)
    copy = steps.begin(live_copy)
    validated = steps.begin(validate_copy, copy)
    sealed = steps.begin(archive_and_encrypt, copy)
    steps.begin(rehearse, copy, sealed, validated)
    return steps


def send(
    run: Steps,
    target: str,
    sealed: Sealed | PrefectFuture[Sealed],
    rehearsed: Rehearsed | PrefectFuture[Rehearsed],
) -> Steps:
    """Deliver one source's archive to one target, read back, prune there; submitted, not awaited."""
    steps = run.at(target)
    delivered = steps.begin(deliver, sealed, rehearsed)
    proven = steps.begin(read_back, sealed, rehearsed, delivered)
    steps.begin(prune, proven)
    return steps


def _all_steps(runs: Iterable[SourceRun]) -> list[Steps]:
    return [steps for run in runs for steps in run.all_steps]
