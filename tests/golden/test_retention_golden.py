"""Retention scenarios as text files: a shelf on the left, each verdict with its reasons on the right.

::

    # what the scenario shows
    keep: daily=7 weekly=4
    floor: 3
    timezone: America/New_York
    now: 2026-12-31T12:00:00Z

    000417 2026-11-23T07:00:00Z TUE => kept: last 1 of 4 in TUE
    000418 2026-11-24T07:00:00Z - not signed => kept: kept aside: not signed

Columns: sequence number, time taken, slot (``-`` for the root), trouble if any. A new scenario needs
only what is left of ``=>``; goldens.py says how the right side is written.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tasks.options import Keep
from tasks.policy.retention import judge_retention
from tasks.records import BackupEntry
from tests.golden.goldens import FOLDER, same_as_golden
from tests.unit.manifests.shelves import backup_entry

SCENARIOS = sorted((FOLDER / "retention").glob("*.txt"))


def _backup(line: str) -> BackupEntry:
    sequence, taken, slot, *defect = line.split()
    return backup_entry(
        int(sequence), datetime.fromisoformat(taken), "" if slot == "-" else slot, " ".join(defect)
    )


def _judged(text: str) -> str:
    head, _, body = text.partition("\n\n")
    facts = dict(line.split(": ", 1) for line in head.splitlines() if not line.startswith("#"))
    rules = dict(rule.split("=") for rule in facts["keep"].split())
    lines = [line.partition("=>")[0].rstrip() for line in body.splitlines()]
    verdicts = judge_retention(
        [_backup(line) for line in lines],
        Keep.model_validate(rules),
        int(facts["floor"]),
        ZoneInfo(facts["timezone"]),
        datetime.fromisoformat(facts["now"]) if "now" in facts else None,
    )
    judged = [
        f"{line} => {'kept' if verdict.kept else 'removed'}: {'; '.join(verdict.reasons)}"
        for line, verdict in zip(lines, verdicts, strict=True)
    ]
    return f"{head}\n\n" + "\n".join(judged) + "\n"


def test_there_are_scenarios() -> None:
    assert len(SCENARIOS) >= 10


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_retention_scenario(path: Path) -> None:
    judged = _judged(path.read_text("utf-8"))
    same_as_golden(f"retention/{path.name}", judged.encode("utf-8"))
