"""Commands that run a flow: backup, retry, deliver, drill, audit, check, copy, restart, log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
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
from deployments.serving.server import prepare_run, reach_server
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
    context = _prepared(plan)
    import flows.backup

    return run_flow(context, flows.backup.backup, targets=target, skip=skip)


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
    context = _prepared(plan)
    from deployments.serving.rerun import rerun

    began = time.time()
    with _progress_shown():
        state = rerun(context, run)
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
    context = _prepared(plan)
    import flows.deliver

    return run_flow(context, flows.deliver.deliver, targets=target, backup=backup)


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
    import flows.drill

    chosen = {"target": target, "backup": backup, "identity": identity, "source": source}
    return run_flow(context, flows.drill.drill, **chosen, wait=wait)


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
    context = _prepared(plan)
    import flows.audit

    return run_flow(context, flows.audit.audit, targets=target, read_all=read_all)


def check(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    source: Annotated[
        str | None, Parameter(help="Which of the plan's sources; without it, each of them.")
    ] = None,
) -> int:
    """Check the database now, while it is in use: the engine's own check, every table counted.

    Works on a copy in staging, which is removed afterwards. No target receives anything.

    **Examples:**

        datasave check

        datasave check --plan clinic.yaml --source programs
    """
    context = _prepared(plan, source)
    import flows.copying

    return run_flow(context, flows.copying.check, source=source)


def copy(
    *,
    to: Annotated[
        Path | None, Parameter(help="A new or empty folder here; without it, a new one in the state folder.")
    ] = None,
    plan: PlanOption = DEFAULT_PLAN,
    source: SourceOption = None,
) -> int:
    """Copy the database now, while it is in use: checked, and NOT encrypted.

    Whoever reaches the folder can read it: keep it on this machine, and delete it after use. It is
    no backup. A folder that holds anything, is on the network, or belongs to a target is refused.

    **Examples:**

        datasave copy --to D:/copy-for-the-accountant

        datasave copy --plan clinic.yaml --source programs --to /srv/copy
    """
    context = _prepared(plan, source)
    import flows.copying

    return run_flow(context, flows.copying.copy, destination=to.absolute() if to else None, source=source)


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
    context = _prepared(plan, source)
    import flows.engine

    return run_flow(context, flows.engine.restart, source=source)


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
    context = _prepared(plan, source)
    import flows.engine

    return run_flow(context, flows.engine.log, source=source)


def _prepared(plan: Path, source: str | None = None) -> PlanContext:
    """The plan, Prefect prepared; PlanError where it has no such source, before anything starts."""
    context = PlanContext(plan)
    context.source_name(source)
    prepare_run(context.path)
    return context


def run_flow(context: PlanContext, flow: Any, **parameters: Any) -> int:
    """Run a flow in this process, its progress on the terminal; tell how it ended, return the exit status."""
    from prefect import tags

    began = time.time()
    # By these the automations of `serve` know the plan's runs.
    with _progress_shown(), tags("datasave", context.plan.name):
        state = flow(plan=context.path, **parameters, return_state=True)
    return _conclude(context, state, began)


@contextmanager
def _progress_shown() -> Iterator[None]:
    from tasks.steps.progress import watched_by

    reach_server()
    with steps() as shown, watched_by(shown):
        yield


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
