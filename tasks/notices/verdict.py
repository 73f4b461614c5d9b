"""Was it good, in one sentence, and what to do if it wasn't."""

from __future__ import annotations

from typing import Literal

from tasks.notices.wording import MESSAGE_LIMIT, count_text, plain_text
from tasks.reports import RunReport

_LAST_RESORT = (
    "Read the failed step below, and run the backup again once its cause is gone.",
    "If it fails again, send this report to whoever looks after the backup.",
)


Word = Literal["OK", "MISSED", "FAILED", "TEST"]
"""How a run went, as the first word of every notice; a test is about no run."""


def word_of(report: RunReport) -> Word:
    """OK for a good run; MISSED where all that is wrong is a medium that was not there; else FAILED."""
    if is_good(report):
        return "OK"
    missed = [delivery for delivery in report.deliveries if delivery.outcome == "missed"]
    others = {delivery.outcome for delivery in report.deliveries} - {"missed", "delivered", "not due"}
    causes = {delivery.problem for delivery in missed}
    explained = all(step.detail in causes for step in report.steps if step.outcome == "failed")
    sound = _checks_hold(report) and all(notified.told for notified in report.notices)
    return "MISSED" if missed and sound and not others and explained else "FAILED"


def is_good(report: RunReport) -> bool:
    """Whether the run may be called good: it says so, and none of its own facts speaks against it.

    A backup run that left no copy anywhere isn't good, however smoothly it went; unless none was due.
    """
    told = all(notified.told for notified in report.notices)
    if not (report.succeeded and told and _checks_hold(report)):
        return False
    outcomes = [delivery.outcome for delivery in report.deliveries]
    if "failed" in outcomes or "missed" in outcomes:
        return False
    return report.flow != "backup" or not {"delivered", "not due"}.isdisjoint(outcomes)


def _checks_hold(report: RunReport) -> bool:
    return all(
        not source.anomalies and all(finding.passed for finding in source.findings)
        for source in report.sources
    )


def verdict(report: RunReport, when: str) -> str:
    """Good or not good, for which source, when: one sentence. ``when`` is the run's start in words."""
    word = "Good" if is_good(report) else "Not good"
    source = plain_text(report.source)
    if report.flow == "backup":
        return f"{word}: {_backup(report, source)}, {when}."
    outcome = "succeeded" if is_good(report) else "failed"
    return f"{word}: the {plain_text(report.flow)} for {source} {outcome}, {when}."


def next_steps(report: RunReport) -> tuple[str, ...]:
    """What to do next: the run's own advice, else its targets' hints, never nothing after a failure."""
    hints = [delivery.hint for delivery in report.deliveries if delivery.outcome in ("failed", "missed")]
    texts = report.advice or hints
    cleaned = tuple(dict.fromkeys(plain_text(text, MESSAGE_LIMIT) for text in texts if text.strip()))
    if cleaned or is_good(report):
        return cleaned
    return _LAST_RESORT


def _backup(report: RunReport, source: str) -> str:
    outcomes: dict[str, list[str]] = {}
    for delivery in report.deliveries:
        if delivery.outcome not in ("skipped", "not due"):
            outcomes.setdefault(delivery.target, []).append(delivery.outcome)
    due = len(outcomes)
    # A target counts where all sources reached it.
    arrived = sum(set(found) == {"delivered"} for found in outcomes.values())
    if is_good(report) and not arrived:
        return f"{source} was copied and proven, and no target is due"
    if is_good(report):
        return f"{source} was backed up to {count_text(arrived, 'target')}"
    if 0 < arrived < due:
        return f"the backup of {source} reached only {arrived} of {count_text(due, 'target')}"
    if arrived:
        return f"the backup of {source} reached {count_text(arrived, 'target')}, but the run failed"
    if report.succeeded and not due:
        return f"{source} was copied, but no target was asked to keep the copy"
    return f"the backup of {source} failed and no target received it"
