"""Give a target that was unreachable the newest sealed archive, without a new copy of the database."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.states import Completed, Failed

from flows.backup import RUNNER, later, of_part
from flows.outcome import error_of
from tasks.errors import DatasaveError
from tasks.retaining import prune_after
from tasks.sending import deliver as put_on_target
from tasks.sending import read_back
from tasks.steps.office import Office
from tasks.steps.spooling import Spooled, lacking, waiting
from tasks.steps.workspace import delivering, exclusively


@flow(name="deliver", task_runner=RUNNER)
def deliver(plan: Path, targets: list[str] | None = None) -> State[Any]:
    """Deliver what waits in staging: the newest sealed archive of each source, to targets that lack it.

    A run that failed at a target leaves its archive in staging, encrypted and proven. Nothing is copied
    from the database again.

    Args:
        plan: The plan file (YAML).
        targets: Names of the targets to deliver to; empty means all that lack the backup.
    """
    try:
        office = Office(plan)
        names = office.chosen(targets)
        with exclusively(office.staging), ExitStack() as stack:
            told, errors = [], []
            for spooled in waiting(office):
                workspace = stack.enter_context(delivering(office.staging / spooled.run.id))
                missing = lacking(office, spooled, names)
                futures = {name: _send(spooled, name) for name in missing}
                wait([future for three in futures.values() for future in three])
                failed = {n: e for n, three in futures.items() for f in three if (e := error_of(f))}
                errors += [f"{name}: {error}" for name, error in failed.items()]
                told.append(_sentence(spooled, [name for name in missing if name not in failed]))
                if not failed and not lacking(office, spooled, office.chosen(None)):
                    workspace.unmark("sealed")
    except DatasaveError as error:
        return Failed(message=str(error), data=error)
    return Failed(message="; ".join([*told, *errors])) if errors else Completed(message="; ".join(told))


def _send(spooled: Spooled, target: str) -> tuple[PrefectFuture[Any], ...]:
    part = spooled.run.part
    # The run that left the archive may have tried here before: its results must not pass for ours.
    three = (spooled.run, spooled.sealed, spooled.rehearsed)
    placed = later(of_part(put_on_target, part).with_options(refresh_cache=True), *three, target)
    proven = later(of_part(read_back, part).with_options(refresh_cache=True), *three, placed, target)
    pruned = later(of_part(prune_after, part).with_options(refresh_cache=True), spooled.run, proven, target)
    return placed, proven, pruned


def _sentence(spooled: Spooled, done: list[str]) -> str:
    what = f"{spooled.run.source} #{spooled.run.sequence}"
    return f"{what} delivered to {', '.join(done)}" if done else f"{what}: no target lacked it"
