"""The number of a run: it only grows, whatever the clock or the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.backup.preflight import next_sequence
from tasks.context import PlanContext
from tasks.platform.files import private_folder
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


def test_b4_a_memory_put_back_takes_no_number_anew(context: PlanContext) -> None:
    for run in ("one 1", "two 1"):
        next_sequence(context, run)
    with context.target("nas") as target:
        put(target, signed(6).sealed_name, SEALED)
    assert next_sequence(context, "three 1") == 7
    assert [next_sequence(context, run) for run in ("three 1", "three 2")] == [7, 8], (
        "it is known from now on"
    )


def test_a_number_that_the_journal_tells_of_is_not_taken_anew(context: PlanContext) -> None:
    context.journal.append(
        "delivered", target="nas", source="clinic", sequence=6, name="x", bytes=1, sha256=""
    )
    assert next_sequence(context, "one 1") == 7


def test_a_damaged_count_of_before_is_no_reason_to_begin_at_one(context: PlanContext) -> None:
    private_folder(context.state)
    (context.state / "sequence").write_text("not a number")
    with context.target("nas") as target:
        put(target, signed(6).sealed_name, SEALED)
    assert next_sequence(context, "one 1") == 7
    assert (context.journal.folder / "earlier" / "sequence").read_text() == "not a number"
