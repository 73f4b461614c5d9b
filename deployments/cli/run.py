"""Commands that run a flow: backup, retry, deliver, drill, audit, restart, log."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from deployments.cli.options import (
    DEFAULT_PLAN,
    BackupOption,
    PassphraseOption,
    PlanOption,
    SkipOption,
    SourceOption,
    TargetsOption,
    WaitOption,
)
from deployments.cli.passphrases import unlock
from deployments.cli.screen import bad, good, path_line, steps
from deployments.serving.reaching import prepare_run, reach_server
from tasks.context import PlanContext
from tasks.errors import DatasaveError


def backup(*, plan: PlanOption = DEFAULT_PLAN, target: TargetsOption = None, skip: SkipOption = None) -> int:
    """Back up now: live copy, validation, archive, encryption, rehearsal, delivery, report.

    Exit status 0 only if every target has the proven backup.

    **Examples:**

        datasave backup

        datasave backup --plan clinic.yaml --target nas

        datasave backup --skip drives
    """
    context = PlanContext(plan)
    prepare_run(context.path)
    from flows.backup import backup as flow

    return run_flow(context, flow, plan=context.path, targets=target, skip=skip)


def retry(
    run: Annotated[str | None, Parameter(help="The run's id; without it, the newest failed backup.")] = None,
    /,
    *,
    plan: PlanOption = DEFAULT_PLAN,
) -> int:
    """Run again what failed in a backup run, and nothing else.

    Steps that finished keep their results. The same as Retry in the Prefect UI.

    **Examples:**

        datasave retry

        datasave retry 5f7c2a1e-8d39-4c55-9d0e-2f6f4d3c8a10 --plan clinic.yaml
    """
    context = PlanContext(plan)
    prepare_run(context.path)
    from deployments.serving.rerun import rerun

    began = time.time()
    with _progress():
        state = rerun(context.path, run)
    return _conclude(context, state, began)


def deliver(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    target: TargetsOption = None,
    backup: Annotated[
        str,
        Parameter(name=["--backup", "-b"], help="Which archive: latest, or the number of one that waits."),
    ] = "latest",
) -> int:
    """Deliver the newest sealed archive that waits in staging, to targets that lack it.

    For a target that could not be reached during the run: nothing is copied from the database again.

    **Examples:**

        datasave deliver

        datasave deliver --target nas

        datasave deliver --target nas --backup 417
    """
    context = PlanContext(plan)
    prepare_run(context.path)
    from flows.deliver import deliver as flow

    return run_flow(context, flow, plan=context.path, targets=target, backup=backup)


def drill(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    target: Annotated[
        str | None,
        Parameter(name=["--target", "-t"], help="Which target; without it, the one whose turn it is."),
    ] = None,
    backup: BackupOption = "latest",
    identity: Annotated[
        Path | None,
        Parameter(
            name=["--identity", "-i"],
            help="A holder's identity file; without it, what `drill` in the plan names.",
        ),
    ] = None,
    source: Annotated[
        str | None, Parameter(help="Which of the plan's sources; without it, each of them.")
    ] = None,
    passphrase_from: PassphraseOption = None,
    wait: WaitOption = 0.0,
) -> int:
    """Prove that a backup can be brought back: restore it in scratch from a target, with a holder's key.

    Leaves a signed certificate on the target. Production is not touched.

    **Examples:**

        datasave drill --identity owner.key.txt

        datasave drill --target nas --backup 417 --identity /media/usb/owner.key.txt

        datasave drill --target vault --identity owner.key.txt --wait 14
    """
    context = PlanContext(plan)
    if identity:
        # Here, where somebody can be asked for a passphrase; the step then finds the key open.
        unlock([identity], passphrase_from)
    prepare_run(context.path)
    from flows.drill import drill as flow

    chosen = {"target": target, "backup": backup, "identity": identity, "source": source}
    return run_flow(context, flow, plan=context.path, **chosen, wait=wait)


def audit(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    target: TargetsOption = None,
    read_all: Annotated[
        bool, Parameter(negative=(), help="Read every archive whole, the older ones too.")
    ] = False,
) -> int:
    """Look at every target: is it there, is each backup whole and signed, is the newest one fresh?

    The newest archives are read whole, and of the older ones some each day. Exit status 1 where anything
    is wrong.

    **Examples:**

        datasave audit

        datasave audit --target nas --read-all
    """
    context = PlanContext(plan)
    prepare_run(context.path)
    from flows.audit import audit as flow

    return run_flow(context, flow, plan=context.path, targets=target, read_all=read_all)


def restart(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    source: SourceOption = None,
) -> int:
    """Restart the database engine as the plan says, and check that it answers again.

    Interrupts everyone who works with the database. Refused while a backup runs.

    **Examples:**

        datasave restart
    """
    context = _with_source(plan, source)
    from flows.engine import restart as flow

    return run_flow(context, flow, plan=context.path, source=source)


def log(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    source: SourceOption = None,
) -> int:
    """Back up the database's log, for engines that keep one: what changed since the last time.

    Between full backups; `datasave restore --logs FOLDER` applies the chain.

    **Examples:**

        datasave log
    """
    context = _with_source(plan, source)
    from flows.engine import log as flow

    return run_flow(context, flow, plan=context.path, source=source)


def _with_source(plan: Path, source: str | None) -> PlanContext:
    """The office, Prefect prepared; PlanError where it has no such source, before anything starts."""
    context = PlanContext(plan)
    context.source_name(source)
    prepare_run(context.path)
    return context


def run_flow(context: PlanContext, flow: Any, **parameters: Any) -> int:
    """Run a flow in this process, its progress on the terminal; tell how it ended, return the exit status."""
    from prefect import tags

    began = time.time()
    # By these the automations of `serve` know the plan's runs (watching.py).
    with _progress(), tags("datasave", context.plan.name):
        state = flow(**parameters, return_state=True)
    return _conclude(context, state, began)


def _progress() -> Any:
    from contextlib import ExitStack

    from tasks.steps.progress import watched_by

    reach_server()
    stack = ExitStack()
    stack.enter_context(watched_by(stack.enter_context(steps())))
    return stack


def _conclude(context: PlanContext, state: Any, began: float) -> int:
    error = state.data if isinstance(state.data, DatasaveError) else None
    if state.is_completed():
        good(state.message or "done")
    else:
        bad(error or state.message or state.name)
    newest = max(context.reports.glob("*.html"), key=lambda page: page.stat().st_mtime, default=None)
    # An older run's report would tell of another outcome.
    if newest and newest.stat().st_mtime >= began:
        path_line("Report:", newest)
    return 0 if state.is_completed() else 1
