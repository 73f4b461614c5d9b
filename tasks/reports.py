"""The frozen records of one run's outcome, which its reports and messages are written from."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from tasks.records import Engine, Finding, Profile, Record, Removals


class Delivery(Record):
    """What happened at one target in one run, with one source: ``source_name`` as in SourceReport.

    ``outcome``: delivered, failed, missed (the medium was not there), not due, skipped.
    """

    target: str
    source_name: str = Field(default="", alias="part")
    outcome: Literal["delivered", "failed", "missed", "not due", "skipped"]
    name: str = ""
    bytes: int = 0
    seconds: float = 0.0
    removed: Removals = ()
    kept: int = 0
    problem: str = ""
    hint: str = ""


class Step(Record):
    """One line of a run's time table."""

    name: str
    outcome: Literal["ok", "failed", "not run", "reused"]
    seconds: float = 0.0
    detail: str = ""


class Notified(Record):
    """Whether someone could be told of the run. ``channel``: ``mail → owner@office.example``, ``heartbeat``.

    ``detail`` is what the other side answered, or why it could not be told.
    """

    channel: str = Field(alias="way")
    told: bool
    detail: str = ""


class SourceReport(Record):
    """What a run did with one source. ``source_name`` is its name in the plan, "" for the main source.

    ``anomalies`` say why the backup doesn't look like those before it, and is marked.
    """

    source: str
    source_name: str = Field(default="", alias="part")
    engine: Engine | None = None
    sequence: int = 0
    copy_bytes: int = 0
    archive_bytes: int = 0
    sealed_bytes: int = 0
    profile: Profile | None = None
    findings: tuple[Finding, ...] = ()
    anomalies: tuple[str, ...] = Field(default=(), alias="suspicions")


class PostureResult(Record):
    """One rule of tasks/policy/posture_rules.py and what was found."""

    id: str
    must: bool
    demands: str
    reason: str
    how: str
    state: Literal["met", "open", "not applicable"]
    found: str


class Posture(Record):
    """How far an office follows the advice on backups: the result of every rule, in their order."""

    results: tuple[PostureResult, ...]

    @property
    def open(self) -> tuple[PostureResult, ...]:
        """What is not met; the rules that must hold come first."""
        return tuple(sorted((r for r in self.results if r.state == "open"), key=lambda r: not r.must))

    @property
    def score(self) -> int:
        """Percent of the applicable rules that are met; one that must hold counts twice."""
        counting = [result for result in self.results if result.state != "not applicable"]
        weights = [(2 if result.must else 1, result.state == "met") for result in counting]
        whole = sum(weight for weight, _ in weights)
        return 100 * sum(weight for weight, met in weights if met) // whole if whole else 100

    @property
    def good(self) -> bool:
        """Whether all that must hold does."""
        return not any(result.must for result in self.open)


class RunReport(SourceReport):
    """All the facts of one run that its report and its notices need; further sources are in ``also``."""

    flow: str
    run: str
    started: datetime
    finished: datetime
    succeeded: bool
    headline: str
    also: tuple[SourceReport, ...] = ()
    steps: tuple[Step, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    holders: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    notices: tuple[Notified, ...] = ()
    posture: Posture | None = None

    @property
    def sources(self) -> tuple[SourceReport, ...]:
        """All sources, the main one first."""
        return self, *self.also
