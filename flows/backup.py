"""Back up one source: copy it live, prove the sealed copy restores, then send it to every target."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from prefect import Task, flow, runtime
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.outcome import Branch, Chain, backup_report
from tasks.errors import DatasaveError, StateError
from tasks.progress import stopping_steps
from tasks.rehearsing import rehearse
from tasks.reporting import now, reported
from tasks.retaining import prune_after
from tasks.sealing import archive, encrypt
from tasks.sending import deliver, read_back
from tasks.steps.office import Office
from tasks.steps.workspace import Workspace, working
from tasks.taking import live_copy, preflight, validate_copy

T = TypeVar("T")

# A waiting task occupies a thread: six steps and three for each of a handful of targets.
RUNNER: Any = ThreadPoolTaskRunner(max_workers=32)


@flow(name="backup", task_runner=RUNNER)
def backup(plan: Path, targets: list[str] | None = None) -> State[Any]:
    """Back up what the plan names, to all its targets or only to those chosen.

    Nothing is delivered before the copy was validated and the sealed archive was opened and counted.
    Targets are independent: one that fails doesn't keep the others from their backup, but the run
    is Failed then, and re-running it does only what is missing.

    Args:
        plan: The plan file (YAML).
        targets: Names of the targets to deliver to; empty means all of them.
    """
    started = now()
    try:
        office = Office(plan)
        chosen = [office.entry(name).name for name in targets or []]
        with working(office.staging, runtime.flow_run.id) as workspace:
            futures: list[PrefectFuture[Any]] = []
            with stopping_steps(lambda: wait(futures)):
                chain = take(office, workspace)
                futures += chain.futures
                branches = [
                    send(entry.name, chain, workspace)
                    for entry in office.plan.targets
                    if not chosen or entry.name in chosen
                ]
                futures += [future for branch in branches for future in branch.futures]
                wait(futures)
            # Before the report is written: on a full disk this makes the room for it.
            with suppress(StateError):  # what cannot go is told when the workspace closes, after the report
                workspace.wipe_plaintext()
            facts = reported(office.path, backup_report(office, workspace, chain, branches, started))
            if facts.succeeded:
                workspace.unmark("sealed")
    except DatasaveError as error:
        return Failed(message=str(error), data=error)
    return Completed(message=facts.headline) if facts.succeeded else Failed(message=facts.headline)


def take(office: Office, workspace: Workspace) -> Chain:
    """Everything until the sealed archive is proven; submitted, not awaited.

    A re-run keeps what stands. Where the sealed archive of the first try is gone (its staging was
    swept), the results on record would name files that no longer exist: then all is taken afresh.
    """
    fresh = not workspace.holds_sealed()
    run = later(preflight.with_options(refresh_cache=fresh), office.path, workspace.folder.name)
    copy = later(live_copy, run)
    validated = later(validate_copy, run, copy)
    archived = later(archive, run, copy)
    sealed = later(encrypt, run, archived)
    rehearsed = later(rehearse, run, copy, archived, sealed, validated)
    return Chain(
        run=run, copy=copy, validated=validated, archived=archived, sealed=sealed, rehearsed=rehearsed
    )


def send(target: str, chain: Chain, workspace: Workspace) -> Branch:
    """Deliver to one target, read back, prune there; submitted, not awaited."""
    again = not workspace.done(f"delivered-{target}")
    sending = deliver.with_options(refresh_cache=again)
    delivered = later(sending, chain.run, chain.sealed, chain.rehearsed, target)
    proven = later(read_back, chain.run, chain.sealed, chain.rehearsed, delivered, target)
    pruning = prune_after.with_options(refresh_cache=not workspace.done(f"pruned-{target}"))
    pruned = later(pruning, chain.run, proven, target)
    return Branch(target=target, delivered=delivered, proven=proven, pruned=pruned)


def later(task: Task[..., T], *arguments: object) -> PrefectFuture[T]:
    """Submit a task whose arguments may be futures of earlier ones."""
    return task.submit(*arguments, return_state=False)
