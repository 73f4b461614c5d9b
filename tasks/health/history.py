"""What ran on this machine, run by run: what the status page and its plots are made of.

Kept in the journal, counts and sizes only. The reports say more of each run, and Prefect's
own record is cleared out after a while; this stays, and can be read with no server.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from pydantic import Field

from tasks.context import PlanContext
from tasks.journal.kinds import Kind
from tasks.options import Json
from tasks.records import Record, unchecked_in
from tasks.reports import Delivery, RunReport, SourceReport

# A year of nights, of each sort of run.
KEPT_RUNS = 400


class PastSource(Record):
    """What a run saw of one source: sizes in bytes, rows of all tables together (None: not counted).

    ``unchecked`` are the checks of its backup that could not be made.
    """

    source: str
    source_name: str = Field(alias="part")
    sequence: int
    copy_bytes: int
    sealed_bytes: int
    rows: int | None
    unchecked: tuple[str, ...] = ()


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

    def unchecked_of(self, source_name: str) -> tuple[str, ...]:
        """The checks that could not be made on one of the plan's sources."""
        return next((past.unchecked for past in self.sources if past.source_name == source_name), ())

    def sequence_of(self, source_name: str) -> int:
        """The number of the backup of one of the plan's sources, 0 where the run made none."""
        return next((past.sequence for past in self.sources if past.source_name == source_name), 0)


def past_runs(context: PlanContext, flow: str = "") -> tuple[PastRun, ...]:
    """The runs on record, oldest first, of one flow or of all: the newest 400 of each."""
    found: dict[tuple[str, str], Json] = {}
    for entry in context.journal.entries(Kind.RUN):
        run = entry.facts
        if not flow or run["flow"] == flow:
            # A re-run is the same run once more: what it says now is what counts.
            found.pop((run["flow"], run["started"]), None)
            found[run["flow"], run["started"]] = run
    kept = list(found.values())
    of = {name: [run for run in kept if run["flow"] == name][-KEPT_RUNS:] for name, _ in found}
    return tuple(PastRun.model_validate(run) for run in kept if run in of[run["flow"]])


def newest_delivery(
    runs: Sequence[PastRun], target: str, source_name: str, without: Collection[str] = ()
) -> tuple[PastRun, Delivery] | None:
    """The newest run that put a proven backup of a source on a target, and what it put there.

    ``without``: full names of those that don't count any more.
    """
    for run in reversed(runs):
        for delivery in run.deliveries:
            if (delivery.target, delivery.source_name, delivery.outcome) == (
                target,
                source_name,
                "delivered",
            ) and delivery.name not in without:
                return run, delivery
    return None


def remember(context: PlanContext, facts: RunReport) -> None:
    """Add a run that came to its end. Raises StateError."""
    run = PastRun(
        flow=facts.flow,
        started=facts.started,
        finished=facts.finished,
        succeeded=facts.succeeded,
        headline=facts.headline,
        sources=tuple(_past_source(source) for source in facts.sources),
        deliveries=facts.deliveries,
    )
    context.journal.append(Kind.RUN, **run.model_dump(mode="json"))


def _past_source(report: SourceReport) -> PastSource:
    return PastSource(
        source=report.source,
        source_name=report.source_name,
        sequence=report.sequence,
        copy_bytes=report.copy_bytes,
        sealed_bytes=report.sealed_bytes,
        rows=report.profile.rows if report.profile else None,
        unchecked=unchecked_in(report.findings),
    )
