"""The chain of proof in a few sentences, each said only where the facts of the run bear it out."""

from __future__ import annotations

from tasks.notices.wording import count_text
from tasks.reports import RunReport, SourceReport


def proof_sentences(report: RunReport, source: SourceReport) -> tuple[str, ...]:
    """How far the run's proof of one source goes, in order; what was not reached is not claimed."""
    about = {name: getattr(source, name) for name in SourceReport.model_fields}
    mine = tuple(delivery for delivery in report.deliveries if delivery.source_name == source.source_name)
    of_source = report.model_copy(update={**about, "deliveries": mine})
    parts = _PARTS.get(report.flow, (_restored,))
    return tuple(sentence for part in parts if (sentence := part(of_source)))


def nouns_of(source: SourceReport) -> tuple[str, str]:
    """What a profile counts, in words: tables and their rows, or folders and their files."""
    files = source.engine is not None and source.engine.kind == "files"
    return ("folder", "file") if files else ("table", "row")


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
    return sum(not finding.passed for finding in report.findings)


def _arrived(report: RunReport) -> bool:
    return any(delivery.outcome == "delivered" for delivery in report.deliveries)


_PARTS = {
    "backup": (_recorded, _sealed, _rehearsed, _delivered),
    "copy": (_only_looked,),
    "check": (_only_looked,),
}
