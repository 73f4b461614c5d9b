"""The steps and the report of runs that copy the database and make no backup of it: copy, check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from prefect import runtime
from prefect.futures import PrefectFuture

from flows.backup import later, of_part
from flows.report import error_of, findings_of, result_of, step_line
from tasks.backup.copy import Copied
from tasks.backup.workspace import Workspace
from tasks.context import PlanContext
from tasks.notices.wording import count_text
from tasks.records import Finding, Profile, Run, Validated
from tasks.reports import RunReport, SourceReport
from tasks.steps import copying
from tasks.steps.reporting import now
from tasks.steps.taking import live_copy, validate_copy


@dataclass(frozen=True)
class Looked:
    """The futures of one source's copy and check; ``more`` are those of further steps by name."""

    source_name: str
    workspace: Workspace
    run: PrefectFuture[Run]
    copy: PrefectFuture[Copied]
    validated: PrefectFuture[Validated]
    more: dict[str, PrefectFuture[Any]] = field(default_factory=dict)

    @property
    def named(self) -> dict[str, PrefectFuture[Any]]:
        """The futures by the name of their step, in order."""
        return {"look": self.run, "live copy": self.copy, "validate copy": self.validated, **self.more}

    @property
    def futures(self) -> list[PrefectFuture[Any]]:
        """All futures, in order."""
        return list(self.named.values())


def look_at(context: PlanContext, workspace: Workspace, source_name: str) -> Looked:
    """Copy a source and check the copy; submitted, not awaited. A re-run does all of it anew."""
    run = later(of_part(copying.look, source_name), context.path, workspace.folder.name, source_name)
    copy = later(of_part(live_copy, source_name).with_options(refresh_cache=True), run)
    validated = later(of_part(validate_copy, source_name).with_options(refresh_cache=True), run, copy)
    return Looked(source_name=source_name, workspace=workspace, run=run, copy=copy, validated=validated)


def looked_report(
    context: PlanContext, flow: str, good: str, looked: Sequence[Looked], started: datetime
) -> RunReport:
    """The facts of a run whose tasks have come to rest; ``good`` is its headline where all went well."""
    errors = [error for one in looked for future in one.futures if (error := error_of(future))]
    about = [_about(context, one) for one in looked]
    return RunReport(
        flow=flow,
        run=runtime.flow_run.name or "",
        started=started,
        finished=now(),
        succeeded=not errors,
        headline="; ".join(map(str, errors)) or f"{good}: {_counted(looked)}",
        **about[0],
        also=tuple(SourceReport(**facts) for facts in about[1:]),
        steps=tuple(
            step_line(name, future, one.workspace, one.source_name)
            for one in looked
            for name, future in one.named.items()
        ),
        advice=tuple(dict.fromkeys(error.hint for error in errors if error.hint)),
    )


def _counted(looked: Sequence[Looked]) -> str:
    profiles = [done.profile for one in looked if (done := result_of(one.validated))]
    tables, rows = (sum(len(p.tables) for p in profiles), sum(p.rows for p in profiles))
    return f"{count_text(tables, 'table')} with {count_text(rows, 'row')}"


def _tables(profile: Profile) -> list[Finding]:
    return [
        Finding(check="counted", passed=True, detail="read whole and counted", table=table.name)
        for table in profile.tables
    ]


def _about(context: PlanContext, one: Looked) -> dict[str, Any]:
    run, copy, validated = result_of(one.run), result_of(one.copy), result_of(one.validated)
    own = [future for name, future in one.more.items() if name == "own checks"]
    return {
        "source": context.full_name(one.source_name),
        "part": one.source_name,
        "engine": run.engine if run else None,
        "copy_bytes": copy.bytes if copy else 0,
        "profile": validated.profile if validated else None,
        "findings": (*findings_of(one.validated, *own), *(_tables(validated.profile) if validated else ())),
    }
