"""A memory that is old, lost or shared is recognised by what places show, said, and never prunes by it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tasks.backup.memory import accept, doubts, learn_of, look_around, memory_doubt, note_doubts
from tasks.backup.preflight import next_sequence
from tasks.backup.retain import copy_journal, shelf_of
from tasks.context import PlanContext
from tasks.journal.copies import copies_in
from tasks.manifests.manifest import SIGNATURE_SUFFIX, manifest_name, stem, to_json
from tasks.manifests.signing import sign_record
from tasks.records import JournalHead
from tests.contract.target_contract import put
from tests.flows.site import Site
from tests.unit.manifests.shelves import SEALED, STRANGER, manifest


@pytest.fixture
def context(tmp_path: Path) -> PlanContext:
    return Site.make(tmp_path, ["nas", "cellar"]).context


def backed_up(context: PlanContext, name: str = "nas", key: object = None, copy: bool = True) -> int:
    """What a night leaves: a number, a backup that tells where the journal stood, a copy of the journal."""
    number = next_sequence(context, f"run {context.journal.head().length}")
    head = context.journal.head()
    told = manifest(number, journal=JournalHead(length=head.length, sha256=head.sha256))
    signed = sign_record(told, key or context.machine_key())  # type: ignore[arg-type]
    with context.target(name) as target:
        put(target, signed.sealed_name, SEALED)
        put(target, manifest_name(stem("clinic", signed.taken, number)), to_json(signed))
    if copy:
        copy_journal(context, name)
    return number


def put_back(context: PlanContext, nights: int, copy: bool = True) -> None:
    """Two nights, the state folder saved, some more nights, the state folder put back."""
    for _ in range(2):
        backed_up(context, copy=copy)
    saved = context.state.with_name("saved")
    shutil.copytree(context.state, saved)
    for _ in range(nights):
        backed_up(context, copy=copy)
    shutil.rmtree(context.state)
    saved.rename(context.state)


def said(context: PlanContext) -> str:
    return "; ".join(doubt.detail for doubt in doubts(context))


@pytest.mark.parametrize("copy", [True, False], ids=["copies", "manifests"])
def test_b4_a_state_folder_put_back_is_said_and_prunes_nothing(context: PlanContext, copy: bool) -> None:
    put_back(context, 4, copy)
    assert next_sequence(context, "tonight") == 7
    with context.target("nas") as nas:
        learn_of(context, "nas", shelf_of(context, nas))
    stopped = memory_doubt(context)
    assert stopped.startswith("pruning suspended: nas knows a longer journal than this machine has")
    assert "the memory of this machine is old, or another machine writes there" in said(context)
    assert accept(context) and accept(context) and not doubts(context)
    backed_up(context, copy=copy)
    with context.target("nas") as nas:
        learn_of(context, "nas", shelf_of(context, nas))
    assert memory_doubt(context) == ""
    assert [seen.number for seen in look_around(context)] == [8, 0]
    note_doubts(context, look_around(context))
    assert not doubts(context), "what was accepted is not said again"


def test_b4_a_target_that_was_away_tells_when_it_is_back(context: PlanContext) -> None:
    put_back(context, 3)
    shelf = context.state.parent / "shelf"
    nas = Path(context.entry("nas").path)  # type: ignore[attr-defined]
    nas.rename(shelf)
    assert next_sequence(context, "without it") == 3 and not doubts(context)
    shelf.rename(nas)
    assert next_sequence(context, "with it") == 6
    assert "nas knows a longer journal" in said(context)


def test_a_lost_state_folder_is_said_and_stops_nothing(context: PlanContext) -> None:
    for _ in range(3):
        backed_up(context)
    shutil.rmtree(context.state)
    again = PlanContext(context.path)
    assert next_sequence(again, "tonight") == 4
    assert "nas shows backup 3, and this machine remembers none: its memory is lost" in said(again)
    assert memory_doubt(again) == ""


def test_b4_a_number_is_not_given_again_while_its_signature_lies_there(context: PlanContext) -> None:
    """Somebody deleted archive and manifest by hand; this machine forgot them."""
    with context.target("nas") as target:
        name = f"{manifest(7).sealed_name.removesuffix('.tar.zst.age')}{SIGNATURE_SUFFIX}"
        put(target, name, b"-----BEGIN SSH SIGNATURE-----")
    assert next_sequence(context, "tonight") == 8


def test_two_machines_with_one_memory_are_told_apart(context: PlanContext) -> None:
    """The same number on both: neither is behind the other, and the journals are not the same."""
    backed_up(context)
    twin = context.state.with_name("twin")
    shutil.copytree(context.state, twin)
    backed_up(context)
    context.state.rename(context.state.with_name("first"))
    twin.rename(context.state)
    context.journal.append("run", flow="audit")
    context.journal.append("run", flow="audit")
    assert next_sequence(context, "at the other") == 3
    assert "nas knows another journal than ours" in said(context)


def test_a_second_machine_of_the_plan_takes_numbers_of_its_own(context: PlanContext) -> None:
    backed_up(context)
    signed = sign_record(manifest(9), STRANGER)
    with context.target("nas") as nas:
        put(nas, signed.sealed_name, SEALED)
        put(nas, manifest_name(stem("clinic", signed.taken, 9)), to_json(signed))
    assert next_sequence(context, "tonight") == 10
    assert not doubts(context)


def test_damage_of_the_journal_stops_pruning_and_no_backup(context: PlanContext) -> None:
    for _ in range(3):
        backed_up(context)
    path = context.journal.path
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))
    assert memory_doubt(context).startswith("pruning suspended: the journal is damaged (")
    assert backed_up(context) == 4
    accept(context)
    assert memory_doubt(context) == ""


def test_a_copy_is_removed_only_by_one_that_continues_it(context: PlanContext) -> None:
    put_back(context, 2)
    backed_up(context)
    with context.target("nas") as nas:
        names = [stat.name for stat in nas.list()]
    assert len(copies_in(names, "clinic")) == 2, "the longer one is still there"
    assert not copies_in(names, "clinic", ["ed25519:other"]) and not copies_in(names, "other")
