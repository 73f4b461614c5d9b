"""What a copy must pass: its engine's check, the profile, the plan's own checks; how a failure is raised."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.backup.copy import Copied
from tasks.backup.workspace import Workspace
from tasks.checks.judge import judge_checks
from tasks.checks.measure import measure_checks, profile
from tasks.context import PlanContext
from tasks.errors import MismatchError, ValidationError
from tasks.platform.files import sha256_of
from tasks.records import Finding, Progress, Record, Run, Validated, no_progress


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
    what = f"the live copy of {run.source} did not pass its check"
    require(findings, what, ValidationError, strict=context.plan.strict)
    with source.open(copy.folder, scratch) as connection:
        measured = profile(connection, source.tables(connection), progress)
    for file in copy.read_files():
        if sha256_of(copy.folder / file.path) != file.sha256:
            raise MismatchError(
                f"checking the copy altered it: {file.path} has another sha256 than before",
                hint="Nothing was delivered. Run the backup again; if it happens twice, report it.",
            )
    unaltered = Finding(check="copy unaltered", passed=True, detail="same sha256 before and after checking")
    return Validated(findings=(*findings, unaltered), profile=measured)


class Answered(Record):
    """What came of the plan's own checks, all passed."""

    findings: tuple[Finding, ...]


def own_checks(context: PlanContext, run: Run, copy: Copied) -> Answered:
    """The plan's own checks of a source, on a copy of it. Raises ValidationError where one fails."""
    checks = context.checks(run.source_name)
    if not checks:
        return Answered(findings=())
    workspace = Workspace(context.staging / run.id)
    scratch = workspace.fresh(workspace.scratch_validate)
    source = context.source(run.source_name)
    source.validate(copy.folder, scratch)  # what it leaves there some engines need to open the copy
    with source.open(copy.folder, scratch) as connection:
        findings = tuple(judge_checks(checks, measure_checks(connection, checks, run.started)))
    hint = "Have the database looked at today. No backup was made or removed."
    require(findings, f"{run.source} is not as the plan's checks expect", ValidationError, hint)
    return Answered(findings=findings)


def require(
    findings: Sequence[Finding],
    what: str,
    error: type[ValidationError | MismatchError],
    hint: str = "Nothing was delivered and no older backup was touched. Have the database looked at today.",
    *,
    strict: bool = False,
) -> None:
    """Raise ``error`` naming the findings that are ``in_the_way``, if any."""
    failed = in_the_way(findings, strict=strict)
    if not failed:
        return
    named = "; ".join(_named(finding) for finding in failed[:5])
    more = f"; and {len(failed) - 5} more" if len(failed) > 5 else ""
    raised = error(f"{what}: {named}{more}", hint=hint)
    raised.findings = tuple(findings)
    raise raised


def in_the_way(findings: Sequence[Finding], *, strict: bool) -> list[Finding]:
    """The findings that keep a copy from being used: what failed.

    With ``strict``, the plan's word, also what could not be checked.
    """
    return [finding for finding in findings if finding.failed or (strict and finding.unchecked)]


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
