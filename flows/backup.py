"""Back up a plan's sources: copy each live, prove the sealed copy restores, then send it to every target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

from prefect import Task, flow, runtime
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.task_runners import ThreadPoolTaskRunner

from flows.clearing import clear_staging
from flows.ending import refused, state_of
from flows.report import SourceRun, SourceSteps, TargetSteps, backup_report, result_of
from tasks.backup.workspace import Workspace, release, working
from tasks.context import PlanContext
from tasks.errors import DatasaveError, StateError
from tasks.notices.wording import step_text
from tasks.records import Rehearsed, Run, Sealed
from tasks.steps.noticing import begin, every_end_told, told
from tasks.steps.progress import stopping_steps
from tasks.steps.rehearsing import rehearse
from tasks.steps.reporting import now, reported
from tasks.steps.retaining import prune_after
from tasks.steps.sealing import archive, encrypt
from tasks.steps.sending import deliver, read_back
from tasks.steps.taking import live_copy, preflight, validate_copy

T = TypeVar("T")
P = ParamSpec("P")

# A waiting task occupies a thread: six steps a source, and three for each of a handful of targets.
RUNNER: Any = ThreadPoolTaskRunner(max_workers=64)

SKIPPED = "left out of this run, as asked"


@flow(name="backup", task_runner=RUNNER, **every_end_told(clear_staging))
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
        with working(
            context.staging, runtime.flow_run.id, context.source_names, context.plan.spool
        ) as workspaces:
            lines: list[SourceRun] = []
            with stopping_steps(lambda: wait([future for line in lines for future in line.futures])):
                for source_name, workspace in zip(context.source_names, workspaces, strict=True):
                    lines.append(SourceRun(source_name, workspace, take(context, workspace, source_name)))
                for line in lines:
                    # What is due is decided once, when the run begins: a retry on another day must not.
                    left_out = {} if targets else due_reasons(line)
                    left_out |= dict.fromkeys(skip or (), SKIPPED)
                    line.not_due.update({name: left_out[name] for name in names if name in left_out})
                    line.branches.extend(deliveries(line, [name for name in names if name not in left_out]))
                wait([future for line in lines for future in line.futures])
            # Before the report is written: on a full disk this makes the room for it.
            for workspace in workspaces:
                with suppress(StateError):  # what cannot go is told when it closes, after the report
                    workspace.wipe_plaintext()
            facts = reported(context.path, backup_report(context, lines, started))
        facts = told(context.path, facts)
        if facts.succeeded:
            for workspace in workspaces:
                release(workspace.folder)
    except DatasaveError as error:
        return refused(plan, "backup", error, started)
    return state_of(facts)


def due_reasons(line: SourceRun) -> dict[str, str]:
    """The targets that a source's run leaves out, with the reasons; waits for its preflight."""
    wait([line.chain.run])
    run = result_of(line.chain.run)
    return dict(run.not_due) if run else {}


def take(context: PlanContext, workspace: Workspace, source_name: str) -> SourceSteps:
    """Everything until one source's sealed archive is proven; submitted, not awaited.

    A re-run keeps what stands. Where the sealed archive of the first try is gone (its staging was
    swept), the results on record would name files that no longer exist: then all is taken afresh.
    """
    fresh = not workspace.holds_sealed()
    first = of_part(preflight, source_name).with_options(refresh_cache=fresh)
    run = later(first, context.path, workspace.folder.name, source_name)
    copy = later(of_part(live_copy, source_name), run)
    validated = later(of_part(validate_copy, source_name), run, copy)
    archived = later(of_part(archive, source_name), run, copy)
    sealed = later(of_part(encrypt, source_name), run, archived)
    rehearsed = later(of_part(rehearse, source_name), run, copy, archived, sealed, validated)
    return SourceSteps(
        run=run, copy=copy, validated=validated, archived=archived, sealed=sealed, rehearsed=rehearsed
    )


def deliveries(line: SourceRun, targets: list[str]) -> list[TargetSteps]:
    """The branches of one source; what the ledger says is done already keeps its result."""
    proven = Proven(line.chain.run, line.chain.sealed, line.chain.rehearsed)
    return [send(target, line.source_name, proven, line.workspace.done) for target in targets]


class Proven(NamedTuple):
    """What a delivery is handed: records, or the futures of them."""

    run: Run | PrefectFuture[Run]
    sealed: Sealed | PrefectFuture[Sealed]
    rehearsed: Rehearsed | PrefectFuture[Rehearsed]


def send(target: str, source_name: str, archive: Proven, done: Callable[[str], bool]) -> TargetSteps:
    """Deliver one source's archive to one target, read back, prune there; submitted, not awaited.

    ``done`` tells, by its name in the ledger, whether the product of a step stands.
    """
    sending = of_part(deliver, source_name, target).with_options(
        refresh_cache=not done(f"delivered-{target}")
    )
    delivered = later(sending, *archive, target)
    proven = later(of_part(read_back, source_name, target), *archive, delivered, target)
    pruning = of_part(prune_after, source_name, target).with_options(
        refresh_cache=not done(f"pruned-{target}")
    )
    pruned = later(pruning, archive.run, proven, target)
    return TargetSteps(target=target, delivered=delivered, proven=proven, pruned=pruned)


def of_part(task: Task[P, T], source_name: str, target: str = "") -> Task[P, T]:
    """The task under a name that tells which target and which of the plan's further sources it is about.

    The task's own name too: that is what the graph shows of a step that never began.
    """
    name = step_text(str(task.task_run_name).format(target=target), source_name)
    return task.with_options(name=name, task_run_name=name)


def later(
    task: Task[..., T], *arguments: object, after: Sequence[PrefectFuture[Any]] = ()
) -> PrefectFuture[T]:
    """Submit a task whose arguments may be futures of earlier ones; it waits for those in ``after`` too."""
    return task.submit(*arguments, return_state=False, wait_for=list(after))
