"""What ran on this machine, run by run: what the status page and its plots are made of.

Kept in the state folder, private, counts and sizes only. The reports say more of each run, and Prefect's
own record is cleared out after a while; this stays, and can be read with no server.
"""

from __future__ import annotations

from collections.abc import Sequence
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

    @property
    def arrived(self) -> bool:
        """Whether any target received a backup."""
        return any(delivery.outcome == "delivered" for delivery in self.deliveries)

    def sequence_of(self, source_name: str) -> int:
        """The number of the backup of one of the plan's sources, 0 where the run made none."""
        return next((past.sequence for past in self.sources if past.source_name == source_name), 0)


_RUNS = TypeAdapter(tuple[PastRun, ...])


def past_runs(context: PlanContext, flow: str = "") -> tuple[PastRun, ...]:
    """The runs on record, oldest first, of one flow or of all. Raises StateError for a damaged file."""
    return tuple(run for run in _read(_path(context)) if not flow or run.flow == flow)


def newest_delivery(
    runs: Sequence[PastRun], target: str, source_name: str
) -> tuple[PastRun, Delivery] | None:
    """The newest run that put a proven backup of a source on a target, and what it put there."""
    for run in reversed(runs):
        for delivery in run.deliveries:
            if (delivery.target, delivery.source_name, delivery.outcome) == (
                target,
                source_name,
                "delivered",
            ):
                return run, delivery
    return None


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
