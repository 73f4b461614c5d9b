"""Preflight, live copy, validation: everything until the archive, in staging."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime

from tasks.backup.due_targets import day_of, not_due
from tasks.backup.listing import Copied, listed
from tasks.backup.workspace import Workspace, run_of
from tasks.checks.measure import profile
from tasks.context import PlanContext
from tasks.errors import MismatchError, StateError, ValidationError
from tasks.notices.wording import size_text
from tasks.platform.files import MORE_ROOM, private_folder, sha256_of
from tasks.records import Engine, Finding, Progress, Run, Validated, no_progress
from tasks.recovery.in_place.record import refuse_unfinished

# The copy, the restored copy and what the compressed and sealed archives come to at worst in practice.
ROOM_FACTOR = 2.5
ROOM_FOR_CLONE = 1.0


def preflight(context: PlanContext, folder: str, source_name: str = "", attempt: int = 1) -> Run:
    """Check source, keys and room before anything is copied, and number the run.

    ``folder`` is the name of the source's folder in staging, ``attempt`` how often its run was started.
    Raises SourceError, KeyFormatError or StateError. Targets are not asked: one that is missing
    must not keep the others from their backup.
    """
    refuse_unfinished(context.state, context.full_name(source_name))
    engine = context.source(source_name).check()
    context.recipients()
    context.machine_key()
    check_room(context, room_needed(context, source_name, engine))
    started = datetime.now(UTC).replace(microsecond=0)
    return Run(
        plan=context.path,
        id=folder,
        source=context.full_name(source_name),
        source_name=source_name,
        sequence=context.next_sequence(f"{run_of(folder)} {attempt}"),
        started=started,
        engine=engine,
        not_due=not_due(context, source_name, day_of(context, started)),
    )


def live_copy(context: PlanContext, run: Run, progress: Progress = no_progress) -> Copied:
    """Copy the running source into its workspace."""
    workspace = Workspace(context.staging / run.id)
    copy = context.source(run.source_name).copy_live(workspace.fresh(workspace.copy), progress)
    return listed(copy, workspace.listing)


def validate_copy(
    context: PlanContext, run: Run, copy: Copied, progress: Progress = no_progress
) -> Validated:
    """Run the engine's check and take the profile; prove that neither altered the copy.

    Raises ValidationError with every finding that did not pass, MismatchError if the copy changed.
    """
    source = context.source(run.source_name)
    workspace = Workspace(context.staging / run.id)
    scratch = workspace.fresh(workspace.scratch_validate)
    findings = source.validate(copy.folder, scratch)
    require(findings, f"the live copy of {run.source} did not pass its check", ValidationError)
    with source.open(copy.folder, scratch) as connection:
        measured = profile(connection, source.tables(connection), progress)
    for file in copy.files:
        if sha256_of(copy.folder / file.path) != file.sha256:
            raise MismatchError(
                f"checking the copy altered it: {file.path} has another sha256 than before",
                hint="Nothing was delivered. Run the backup again; if it happens twice, report it.",
            )
    unaltered = Finding(check="copy unaltered", passed=True, detail="same sha256 before and after checking")
    return Validated(findings=(*findings, unaltered), profile=measured)


def require(
    findings: Sequence[Finding],
    what: str,
    error: type[ValidationError | MismatchError],
    hint: str = "Nothing was delivered and no older backup was touched. Have the database looked at today.",
) -> None:
    """Raise ``error`` naming the findings that did not pass, if any."""
    failed = [finding for finding in findings if not finding.passed]
    if not failed:
        return
    named = "; ".join(_named(finding) for finding in failed[:5])
    more = f"; and {len(failed) - 5} more" if len(failed) > 5 else ""
    raised = error(f"{what}: {named}{more}", hint=hint)
    raised.findings = tuple(findings)
    raise raised


def same_digest(found: str, expected: str, what: str) -> None:
    """Raise MismatchError where two sha256 digests differ."""
    if found != expected:
        raise MismatchError(
            f"the {what} has sha256 {found[:16]}…, recorded was {expected[:16]}…",
            hint="This file is damaged or was swapped. Use another backup or another target.",
        )


def _named(finding: Finding) -> str:
    where = f" of table {finding.table}" if finding.table else ""
    return f"{finding.check}{where}: {finding.detail}"


def room_needed(context: PlanContext, source_name: str, engine: Engine) -> int:
    """Bytes that a run of one source takes in staging."""
    factor = ROOM_FACTOR + (ROOM_FOR_CLONE if context.source(source_name).clones else 0)
    return int(engine.bytes * factor)


def check_room(context: PlanContext, needed: int) -> None:
    """Raise StateError where staging has not ``needed`` bytes free."""
    free = shutil.disk_usage(private_folder(context.staging)).free
    if free < needed:
        raise StateError(
            f"staging {context.staging} has {size_text(free)} free, the run needs about {size_text(needed)}",
            hint=MORE_ROOM,
        )
