"""One run's facts in words and in reading order: what every form of the report is written from.

Whatever comes from a database, a plan or a server passes through ``plain_text`` here, once, so that
no template can forget it. Escaping for HTML or markdown is the business of report_page.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from itertools import chain

from tasks.notices.pages import Tone
from tasks.notices.verdict import is_good, next_steps, nouns_of, proof_sentences, tone_of, verdict
from tasks.notices.wording import (
    MESSAGE_LIMIT,
    clock_text,
    count_text,
    duration_text,
    place_text,
    plain_text,
    removed_text,
    size_text,
    stamp_text,
    when_text,
)
from tasks.records import Finding
from tasks.reports import Delivery, Notified, Posture, PostureResult, RunReport, SourceReport, Step

# More failed findings of one check than this are counted, not listed: a folder has a finding a file.
LISTED_FAILURES = 50

_DELIVERY: dict[str, tuple[str, Tone]] = {
    "delivered": ("Delivered", "good"),
    "failed": ("FAILED", "bad"),
    "missed": ("MISSED", "warn"),
    "not due": ("Not due", "quiet"),
    "skipped": ("Skipped", "quiet"),
}
_NOTIFIED: dict[bool, tuple[str, Tone]] = {True: ("Told", "good"), False: ("NOT TOLD", "bad")}
NOT_CHECKED = "NOT CHECKED"
_STEP: dict[str, tuple[str, Tone]] = {
    "ok": ("Done", "good"),
    "failed": ("FAILED", "bad"),
    "not run": ("Not run", "quiet"),
    "reused": ("Kept from the earlier attempt", "good"),
}


@dataclass(frozen=True)
class Line:
    """A result in a word (``outcome``, coloured by ``tone``), what it is about, and the detail."""

    name: str
    outcome: str
    tone: Tone
    detail: str = ""
    hint: str = ""


@dataclass(frozen=True)
class TableLine(Line):
    """A table; ``rows`` is the recorded count, ``–`` where none was recorded."""

    rows: str = "–"


@dataclass(frozen=True)
class TargetLine(Line):
    """A target; sizes and times in words, ``–`` where nothing arrived."""

    size: str = "–"
    took: str = "–"
    kept: str = "–"
    removed: str = "–"


@dataclass(frozen=True)
class StepLine(Line):
    """A step; ``share`` is its time as a percentage of the longest step's."""

    took: str = "–"
    share: float = 0.0


@dataclass(frozen=True)
class SourceFacts:
    """What the report says of one source; ``further`` tells that it isn't the main one.

    ``group`` and ``item`` are what it is counted in: table and row, folder and file. ``failed_tables`` and
    ``other_tables`` together are all tables.
    """

    source: str
    further: bool
    group: str
    item: str
    copied_title: str
    copied: tuple[tuple[str, str], ...]
    tables_summary: str
    failed_tables: tuple[TableLine, ...]
    other_tables: tuple[TableLine, ...]
    checks: tuple[Line, ...]
    proof: tuple[str, ...]


@dataclass(frozen=True)
class PostureText:
    """What is said of the posture: the score, a line for each open rule, and one for each of the ``rest``."""

    summary: str
    lines: tuple[Line, ...]
    rest: tuple[Line, ...]


@dataclass(frozen=True)
class ReportFacts:
    """Everything the report says; ``sources`` are the plan's, the main one first. ``tone`` is the whole's."""

    good: bool
    tone: Tone
    title: str
    verdict: str
    headline: str
    advice: tuple[str, ...]
    sources: tuple[SourceFacts, ...]
    targets: tuple[TargetLine, ...]
    steps: tuple[StepLine, ...]
    notices: tuple[Line, ...]
    holders: tuple[str, ...]
    posture: PostureText | None
    technical: tuple[tuple[str, str], ...]


def facts_of(report: RunReport, timezone: tzinfo | None = None) -> ReportFacts:
    """The facts of ``report`` in words; times in ``timezone`` with UTC beside it, or in UTC alone."""
    good = is_good(report)
    return ReportFacts(
        good=good,
        tone=tone_of(report),
        title=f"{'Good' if good else 'Not good'}: {plain_text(report.flow)} of {plain_text(report.source)}",
        verdict=verdict(report, when_text(report.started, timezone)),
        headline=plain_text(report.headline, MESSAGE_LIMIT),
        advice=next_steps(report),
        sources=tuple(_source_facts(report, source, timezone) for source in report.sources),
        targets=tuple(_target(delivery) for delivery in report.deliveries),
        steps=_steps(report.steps),
        notices=tuple(_notified(notified) for notified in report.notices),
        holders=tuple(plain_text(holder) for holder in report.holders),
        posture=posture_text(report.posture) if report.posture else None,
        technical=_technical(report),
    )


def posture_text(posture: Posture) -> PostureText:
    """The posture in words."""
    must = sum(result.must for result in posture.open)
    rest = len(posture.open) - must
    applying = sum(result.state != "not applicable" for result in posture.results)
    parts = [count_text(must, "rule that must hold is open", "rules that must hold are open")] if must else []
    parts += [count_text(rest, "other is open", "others are open")] if rest else []
    words = ", ".join(parts) or "nothing is open"
    return PostureText(
        summary=f"{posture.score} of 100 points by {count_text(applying, 'rule')}: {words}.",
        lines=tuple(_posture_line(result) for result in posture.open),
        rest=tuple(_rule_line(result) for result in posture.results if result.state != "open"),
    )


def posture_rows(posture: Posture) -> list[dict[str, str]]:
    """Rows of a table for the UI, the open ones first."""
    rest = [result for result in posture.results if result.state != "open"]
    return [
        {
            "State": _posture_word(result),
            "Rule": result.demands,
            "Found": plain_text(result.found, MESSAGE_LIMIT),
            "How to meet it": result.how if result.state == "open" else "",
        }
        for result in (*posture.open, *rest)
    ]


def _source_facts(report: RunReport, source: SourceReport, timezone: tzinfo | None) -> SourceFacts:
    tables = _tables(source)
    group, item = nouns_of(source)
    failed = tuple(line for line in tables if line.tone == "bad")
    title = "What was copied" if source.copy_bytes or source.profile else "The run"
    if source.source_name:
        title = f"Besides: {plain_text(source.source_name)}"
    return SourceFacts(
        source=plain_text(source.source),
        further=bool(source.source_name),
        group=group,
        item=item,
        copied_title=title,
        copied=(*_copied(source), *(_times(report, timezone) if source is report else ())),
        tables_summary=_tables_summary(tables, len(failed), group),
        failed_tables=failed,
        other_tables=tuple(line for line in tables if line.tone != "bad"),
        checks=(
            *_anomalies(source.anomalies),
            *_checks([finding for finding in source.findings if finding.table is None or finding.unchecked]),
        ),
        proof=proof_sentences(report, source),
    )


def _copied(source: SourceReport) -> tuple[tuple[str, str], ...]:
    engine, profile = source.engine, source.profile
    group, item = nouns_of(source)
    pairs = [
        ("Source", plain_text(source.source)),
        ("Engine", plain_text(f"{engine.kind} {engine.version}") if engine else ""),
        ("Backup number", count_text(source.sequence) if source.sequence else ""),
        (f"{group}s".capitalize(), count_text(len(profile.tables)) if profile else ""),
        (f"{item}s".capitalize(), count_text(profile.rows) if profile else ""),
        ("Size of the copy", size_text(source.copy_bytes) if source.copy_bytes else ""),
        ("Compressed", size_text(source.archive_bytes) if source.archive_bytes else ""),
        ("Encrypted, as delivered", size_text(source.sealed_bytes) if source.sealed_bytes else ""),
    ]
    return tuple(pair for pair in pairs if pair[1])


def _times(report: RunReport, timezone: tzinfo | None) -> tuple[tuple[str, str], ...]:
    return (
        ("Started", clock_text(report.started, timezone)),
        ("Finished", clock_text(report.finished, timezone)),
        ("Took", duration_text((report.finished - report.started).total_seconds())),
    )


def _tables(report: SourceReport) -> list[TableLine]:
    findings: dict[str, list[Finding]] = {}
    for finding in report.findings:
        if finding.table is not None:
            findings.setdefault(finding.table, []).append(finding)
    rows = {table.name: table.rows for table in report.profile.tables} if report.profile else {}
    names = chain(rows, (name for name in findings if name not in rows))
    return [_table(name, rows.get(name), findings.get(name, [])) for name in names]


def _table(name: str, rows: int | None, findings: list[Finding]) -> TableLine:
    failed = [finding for finding in findings if finding.failed]
    unchecked = [finding for finding in findings if finding.unchecked]
    details = "; ".join(dict.fromkeys(finding.detail for finding in failed or unchecked or findings))
    outcome, tone = _table_outcome(findings, failed, unchecked)
    return TableLine(
        name=plain_text(name) or "(no name)",
        outcome=outcome,
        tone=tone,
        detail=plain_text(details, MESSAGE_LIMIT),
        rows="–" if rows is None else count_text(rows),
    )


def _table_outcome(
    findings: list[Finding], failed: list[Finding], unchecked: list[Finding]
) -> tuple[str, Tone]:
    if failed:
        return "FAILED", "bad"
    if unchecked:
        return NOT_CHECKED, "warn"
    return ("OK", "good") if findings else ("Not compared", "quiet")


def _tables_summary(tables: list[TableLine], failed: int, noun: str) -> str:
    if not tables:
        return ""
    same = sum(line.tone == "good" for line in tables)
    parts = [f"{count_text(same)} of {count_text(len(tables), noun)} OK"]
    if failed:
        parts.append(f"{count_text(failed)} FAILED")
    if unchecked := sum(line.tone == "warn" for line in tables):
        parts.append(f"{count_text(unchecked)} {NOT_CHECKED}")
    if left := len(tables) - same - failed - unchecked:
        parts.append(f"{count_text(left)} not compared")
    return ", ".join(parts)


def _anomalies(anomalies: tuple[str, ...]) -> list[Line]:
    name = "looks like the backups before"
    return [Line(name, "ALARM", "bad", plain_text(detail, MESSAGE_LIMIT)) for detail in anomalies]


def _checks(findings: list[Finding]) -> tuple[Line, ...]:
    """Failed findings one by one and first, then what was not checked, passed ones a line a check."""
    failed: list[Line] = []
    unchecked: list[Line] = []
    passed: list[Line] = []
    for check in dict.fromkeys(finding.check for finding in findings):
        same = [finding for finding in findings if finding.check == check]
        failed += _one_by_one(check, "FAILED", "bad", [finding for finding in same if finding.failed])
        left = dict.fromkeys(finding for finding in same if finding.unchecked)  # of the copy and the restored
        unchecked += _one_by_one(check, NOT_CHECKED, "warn", list(left))
        details = [finding.detail for finding in same if finding.passed]
        if details:
            # The same check of the copy and of the restored copy mostly says the same: say it once.
            same_words = len(set(details)) == 1
            detail = details[0] if same_words else f"{count_text(len(details))} passed"
            passed.append(Line(plain_text(check), "OK", "good", plain_text(detail, MESSAGE_LIMIT)))
    return (*failed, *unchecked, *passed)


def _one_by_one(check: str, outcome: str, tone: Tone, findings: list[Finding]) -> list[Line]:
    lines = [
        Line(
            plain_text(f"{check} of {finding.table}" if finding.table else check),
            outcome,
            tone,
            plain_text(finding.detail, MESSAGE_LIMIT),
        )
        for finding in findings[:LISTED_FAILURES]
    ]
    if more := len(findings) - len(lines):
        lines.append(Line(plain_text(check), outcome, tone, f"and {count_text(more)} more"))
    return lines


def _target(delivery: Delivery) -> TargetLine:
    outcome, tone = _DELIVERY[delivery.outcome]
    arrived = delivery.outcome == "delivered"
    return TargetLine(
        name=_place(delivery),
        outcome=outcome,
        tone=tone,
        detail=plain_text(_detail(delivery), MESSAGE_LIMIT),
        hint=plain_text(delivery.hint, MESSAGE_LIMIT),
        size=size_text(delivery.bytes) if arrived else "–",
        took=duration_text(delivery.seconds) if arrived or delivery.seconds else "–",
        kept=count_text(delivery.kept) if delivery.kept else "–",
        removed=count_text(len(delivery.removed)) if arrived or delivery.removed else "–",
    )


def _detail(delivery: Delivery) -> str:
    """What is wrong; and what went although no new backup arrived, which is told where people look first."""
    problem = _sentence(delivery.problem)
    if delivery.outcome == "delivered" or not delivery.removed:
        return problem
    return f"{problem} Removed before that: {removed_text(delivery.removed)}."


def _notified(notified: Notified) -> Line:
    outcome, tone = _NOTIFIED[notified.told]
    return Line(
        plain_text(notified.channel), outcome, tone, _sentence(plain_text(notified.detail, MESSAGE_LIMIT))
    )


def _place(delivery: Delivery) -> str:
    return place_text(plain_text(delivery.target), plain_text(delivery.source_name))


def _sentence(text: str) -> str:
    """``text`` with a full stop: our messages have none, so that they can stand inside a sentence."""
    return text if not text or text.endswith((".", "!", "?", "…")) else f"{text}."


def _steps(steps: tuple[Step, ...]) -> tuple[StepLine, ...]:
    longest = max((step.seconds for step in steps), default=0.0)
    return tuple(_step(step, longest) for step in steps)


def _step(step: Step, longest: float) -> StepLine:
    outcome, tone = _STEP[step.outcome]
    ran = step.outcome in ("ok", "failed")
    return StepLine(
        name=plain_text(step.name),
        outcome=outcome,
        tone=tone,
        detail=plain_text(step.detail, MESSAGE_LIMIT),
        took=duration_text(step.seconds) if ran or step.seconds else "–",
        share=round(100 * step.seconds / longest, 1) if longest > 0 else 0.0,
    )


def _technical(report: RunReport) -> tuple[tuple[str, str], ...]:
    sizes = [
        (f"{what} of {source.source_name}" if source.source_name else what, size)
        for source in report.sources
        for what, size in (
            ("Copy", source.copy_bytes),
            ("Archive", source.archive_bytes),
            ("Sealed", source.sealed_bytes),
        )
    ]
    pairs = [
        ("Flow", plain_text(report.flow)),
        ("Run", plain_text(report.run)),
        ("Started", stamp_text(report.started)),
        ("Finished", stamp_text(report.finished)),
        *((plain_text(what), count_text(size, "byte")) for what, size in sizes if size),
    ]
    for delivery in report.deliveries:
        target = _place(delivery)
        if delivery.name:
            pairs.append((f"Name on {target}", plain_text(delivery.name, MESSAGE_LIMIT)))
        pairs += [
            (
                f"Removed from {target}",
                plain_text(f"#{gone.sequence}, {gone.name}: {gone.reason}", MESSAGE_LIMIT),
            )
            for gone in delivery.removed
        ]
    return tuple(pairs)


def _posture_line(result: PostureResult) -> Line:
    return Line(
        name=result.demands,
        outcome=_posture_word(result),
        tone="bad" if result.must else "warn",
        detail=f"{result.reason} Found: {plain_text(result.found, MESSAGE_LIMIT)}.",
        hint=result.how,
    )


def _rule_line(result: PostureResult) -> Line:
    return Line(
        name=result.demands,
        outcome=_posture_word(result),
        tone="good" if result.state == "met" else "quiet",
        detail=plain_text(result.found, MESSAGE_LIMIT),
    )


def _posture_word(result: PostureResult) -> str:
    if result.state == "open":
        return "MUST" if result.must else "Open"
    return "Met" if result.state == "met" else "Not applicable"
