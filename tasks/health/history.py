"""What ran on this machine, run by run: what the status page and its plots are made of.

Kept in the state folder, private, counts and sizes only. The reports say more of each run, and Prefect's
own record is cleared out after a while; this stays, and can be read with no server.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from filelock import FileLock
from pydantic import Field, TypeAdapter, ValidationError

from tasks.context import PlanContext
from tasks.errors import StateError
from tasks.platform.files import kept_in_state, private_folder, write_atomic
from tasks.records import Record
from tasks.reports import Delivery, RunReport, SourceReport

NAME = "history.json"
# A year of nights, of each sort of run.
KEPT_RUNS = 400


class PastSource(Record):
    """What a run saw of one source: sizes in bytes, rows of all tables together (None: not counted)."""

    source: str
    source_name: str = Field(alias="part")
    sequence: int
    copy_bytes: int
    sealed_bytes: int
    rows: int | None


class PastRun(Record):
    """One run that came to its end, well or not."""

    flow: str
    started: datetime
    finished: datetime
    succeeded: bool
    headline: str
    sources: tuple[PastSource, ...]
    deliveries: tuple[Delivery, ...]

    @property
    def seconds(self) -> float:
        """How long it took; 0.0 where the clock was set back meanwhile."""
        return max(0.0, (self.finished - self.started).total_seconds())


_RUNS = TypeAdapter(tuple[PastRun, ...])


def past_runs(context: PlanContext, flow: str = "") -> tuple[PastRun, ...]:
    """The runs on record, oldest first, of one flow or of all. Raises StateError for a damaged file."""
    return tuple(run for run in _read(_path(context)) if not flow or run.flow == flow)


def remember(context: PlanContext, facts: RunReport) -> None:
    """Add a run that came to its end. Raises StateError."""
    path = _path(context)
    run = PastRun(
        flow=facts.flow,
        started=facts.started,
        finished=facts.finished,
        succeeded=facts.succeeded,
        headline=facts.headline,
        sources=tuple(_past_source(source) for source in facts.sources),
        deliveries=facts.deliveries,
    )
    with kept_in_state(f"write the record of runs {path}"), FileLock(f"{path}.lock", mode=0o600):
        before = _read(path)
        # A re-run is the same run once more: what it says now is what counts.
        others = [old for old in before if (old.flow, old.started) != (run.flow, run.started)]
        same = [old for old in others if old.flow == run.flow][-(KEPT_RUNS - 1) :]
        kept = [old for old in others if old.flow != run.flow or old in same]
        write_atomic(path, _RUNS.dump_json((*kept, run)))


def _past_source(report: SourceReport) -> PastSource:
    return PastSource(
        source=report.source,
        source_name=report.source_name,
        sequence=report.sequence,
        copy_bytes=report.copy_bytes,
        sealed_bytes=report.sealed_bytes,
        rows=report.profile.rows if report.profile else None,
    )


def _path(context: PlanContext) -> Path:
    return private_folder(context.state) / NAME


def _read(path: Path) -> tuple[PastRun, ...]:
    try:
        return _RUNS.validate_json(path.read_bytes())
    except FileNotFoundError:
        return ()
    except ValidationError as error:
        raise StateError(
            f"the record of runs {path} is damaged",
            hint="Delete it: the status page begins anew, and no backup is touched.",
        ) from error
