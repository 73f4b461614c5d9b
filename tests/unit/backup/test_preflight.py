"""The number of a run: it only grows, whatever the clock or the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.backup.preflight import next_sequence
from tasks.context import PlanContext
from tasks.errors import StateError
from tests.contract.target_contract import put
from tests.flows.site import Site
from tests.unit.manifests.shelves import SEALED, signed


@pytest.fixture
def context(tmp_path: Path) -> PlanContext:
    return Site.make(tmp_path, ["nas", "cellar"]).context


def test_each_run_has_the_next_number(context: PlanContext) -> None:
    assert [next_sequence(context, run) for run in ("one 1", "two 1", "three 1")] == [1, 2, 3]


def test_the_sources_of_a_run_share_its_number_and_a_retry_has_another(context: PlanContext) -> None:
    assert [next_sequence(context, run) for run in ("one 1", "one 1", "one 2")] == [1, 1, 2]


def test_a_new_machine_goes_on_after_the_highest_number_on_any_target(context: PlanContext) -> None:
    for name, number in (("nas", 7), ("cellar", 416)):
        with context.target(name) as target:
            put(target, signed(number).sealed_name, SEALED)
    assert next_sequence(context, "one 1") == 417
    assert next_sequence(context, "two 1") == 418


def test_a_damaged_count_is_no_reason_to_begin_at_one(context: PlanContext) -> None:
    next_sequence(context, "one 1")
    (context.state / "sequence").write_text("not a number")
    with pytest.raises(StateError, match="is damaged"):
        next_sequence(context, "two 1")
