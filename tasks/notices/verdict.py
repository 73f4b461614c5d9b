"""What may be said of a run: good or not and in what word, how far it is proved, what to do next.

A sentence is said only where the run's own facts support it.
"""

from __future__ import annotations

from typing import Literal

from tasks.notices.pages import Tone
from tasks.notices.wording import MESSAGE_LIMIT, count_text, plain_text
from tasks.records import unchecked_in
from tasks.reports import RunReport, SourceReport

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


def tone_of(report: RunReport) -> Tone:
    """The colour of a run: amber for MISSED, and for a good one in which something could not be checked."""
    if is_good(report):
        return "warn" if _unchecked(report) else "good"
    return "warn" if word_of(report) == "MISSED" else "bad"


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


def verdict(report: RunReport, when: str) -> str:
    """Good or not good, for which source, when: one sentence. ``when`` is the run's start in words."""
    word = "Good" if is_good(report) else "Not good"
    source = plain_text(report.source)
    but = " Not everything could be checked." if _unchecked(report) else ""
    if report.flow == "backup":
        return f"{word}: {_backup(report, source)}, {when}.{but}"
    outcome = "succeeded" if is_good(report) else "failed"
    return f"{word}: the {plain_text(report.flow)} for {source} {outcome}, {when}.{but}"


def next_steps(report: RunReport) -> tuple[str, ...]:
    """What to do next: the run's own advice, else its targets' hints, never nothing after a failure."""
    hints = [delivery.hint for delivery in report.deliveries if delivery.outcome in ("failed", "missed")]
    texts = report.advice or hints
    cleaned = tuple(dict.fromkeys(plain_text(text, MESSAGE_LIMIT) for text in texts if text.strip()))
    if cleaned or is_good(report):
        return cleaned
    return _LAST_RESORT


def proof_sentences(report: RunReport, source: SourceReport) -> tuple[str, ...]:
    """How far the run's proof of one source goes, in order; what was not reached is not claimed."""
    about = {name: getattr(source, name) for name in SourceReport.model_fields}
    mine = tuple(delivery for delivery in report.deliveries if delivery.source_name == source.source_name)
    of_source = report.model_copy(update={**about, "deliveries": mine})
    parts = (*_PARTS.get(report.flow, (_restored,)), _left_open)
    return tuple(sentence for part in parts if (sentence := part(of_source)))


def nouns_of(source: SourceReport) -> tuple[str, str]:
    """What a profile counts, in words: tables and their rows, or folders and their files."""
    files = source.engine is not None and source.engine.kind == "files"
    return ("folder", "file") if files else ("table", "row")


def _checks_hold(report: RunReport) -> bool:
    return all(
        not source.anomalies and not any(finding.failed for finding in source.findings)
        for source in report.sources
    )


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


def _recorded(report: RunReport) -> str:
    if report.profile is None:
        return "" if _arrived(report) else "The run ended before there was a checked copy: nothing is proved."
    if not report.profile.tables:
        return "The live copy was checked and its files were recorded."
    groups, items = nouns_of(report)
    held = f"{count_text(len(report.profile.tables), groups)} with {count_text(report.profile.rows, items)}"
    return f"The live copy was checked, and what it holds was recorded: {held}."


def _sealed(report: RunReport) -> str:
    if not report.sealed_bytes or not report.holders:
        return ""
    return f"It was packed and encrypted for {count_text(len(report.holders), 'holder')}."


def _rehearsed(report: RunReport) -> str:
    if failed := _failed(report):
        return f"The proof ends here: {count_text(failed, 'check')} failed."
    # Nothing is delivered before the rehearsal succeeded, so a delivery shows that it did.
    if not _compared_tables(report) and not _arrived(report):
        return ""
    return f"The encrypted file was then opened again and restored in scratch. {_same(report)}"


def _delivered(report: RunReport) -> str:
    if not _arrived(report):
        return "Nothing was delivered."
    return "Each delivered copy was read back whole from its target before it was counted as a backup."


def _restored(report: RunReport) -> str:
    if _failed(report) or not _compared_tables(report):
        return ""
    return _same(report)


def _only_looked(report: RunReport) -> str:
    if _failed(report) or report.profile is None:
        return ""
    return "Its engine found no fault in a copy of it, and every table was read whole. This is no backup."


def _same(report: RunReport) -> str:
    tables = _compared_tables(report)
    if not tables:
        return "What came out is the same as what was recorded."
    compared = count_text(tables, nouns_of(report)[0])
    return f"What came out is the same as what was recorded, in {compared} compared."


def _compared_tables(report: RunReport) -> int:
    return len({finding.table for finding in report.findings if finding.table is not None})


def _failed(report: RunReport) -> int:
    return sum(finding.failed for finding in report.findings)


def _unchecked(report: RunReport) -> tuple[str, ...]:
    return unchecked_in(finding for source in report.sources for finding in source.findings)


def _left_open(report: RunReport) -> str:
    unchecked = ", ".join(map(plain_text, unchecked_in(report.findings)))
    return f"What could not be checked is not proved: {unchecked}." if unchecked else ""


def _arrived(report: RunReport) -> bool:
    return any(delivery.outcome == "delivered" for delivery in report.deliveries)


_PARTS = {
    "backup": (_recorded, _sealed, _rehearsed, _delivered),
    "copy": (_only_looked,),
    "check": (_only_looked,),
}
