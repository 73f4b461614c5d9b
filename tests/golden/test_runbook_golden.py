"""The disaster plan as it lies on a target."""

from __future__ import annotations

from tasks.notices.runbook_page import runbook_markdown
from tests.golden.goldens import same_as_golden
from tests.unit.health.test_runbook import book


def test_disaster_plan() -> None:
    same_as_golden("runbook/RUNBOOK.md", runbook_markdown(book()).encode("utf-8"))
