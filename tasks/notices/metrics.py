"""The status as figures that monitoring reads: OpenMetrics 1.0 text (RFC 2119 rules of its specification).

Source: OpenMetrics, https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from tasks.notices.status_page import Status

MEDIA_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_TONES = {"good": 0, "quiet": 0, "warn": 1, "bad": 2}


def metrics_text(status: Status) -> str:
    """All figures of an office: 0 good, 1 something is missing, 2 needs attention; times in Unix seconds."""
    return "\n".join([*_lines(status), "# EOF", ""])


def _lines(status: Status) -> Iterator[str]:
    office = _label("office", status.office)
    yield from _gauge("datasave_verdict", "0 good, 1 the office lacks something, 2 needs attention")
    yield f"datasave_verdict{{{office}}} {_TONES[status.tone]}"
    yield from _gauge("datasave_alarms", "Things that need attention")
    yield f"datasave_alarms{{{office}}} {len(status.alarms)}"
    yield from _gauge("datasave_gaps", "What the office must have by the advice on backups, and lacks")
    yield f"datasave_gaps{{{office}}} {len(status.missing)}"
    yield from _gauge("datasave_backups", "Backups that can be restored")
    yield f"datasave_backups{{{office}}} {len(status.backups)}"
    yield from _gauge("datasave_target_verdict", "A target's newest backup: 0 fresh, 2 late or none")
    for line in status.targets:
        yield f"datasave_target_verdict{{{office},{_label('target', line.name)}}} {_TONES[line.tone]}"
    if status.good_until:
        yield from _gauge(
            "datasave_next_backup_due_timestamp_seconds", "When the next backup should have ended"
        )
        yield f"datasave_next_backup_due_timestamp_seconds{{{office}}} {status.good_until.timestamp():.0f}"
    yield from _gauge("datasave_status_timestamp_seconds", "When these figures were taken")
    yield f"datasave_status_timestamp_seconds{{{office}}} {status.at.timestamp():.0f}"


def _gauge(name: str, told: str) -> tuple[str, str]:
    return f"# TYPE {name} gauge", f"# HELP {name} {told}"


def _label(name: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{name}="{escaped}"'
