"""A journal that was lost comes back from a target with a holder's key, and a stranger's does not."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from tasks.age.x25519 import X25519Identity
from tasks.backup.memory import accept, doubts, last_number, recover
from tasks.backup.preflight import next_sequence
from tasks.backup.retain import copy_journal, prune, shelf_of
from tasks.context import PlanContext
from tasks.errors import NoBackup, NoMatchingIdentity, StateError
from tasks.health.status import status_of
from tasks.journal import journal as module
from tasks.journal.copies import copies_in, put_copy
from tasks.journal.journal import Journal
from tasks.keys.identities import read_identities
from tasks.targets.folder.target import FolderTarget
from tests.contract.target_contract import put
from tests.flows.site import Site
from tests.unit.backup.test_memory import backed_up, put_back
from tests.unit.journal.conftest import OTHER


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.make(tmp_path, ["nas", "cellar"])


def lose(site: Site) -> PlanContext:
    """The machine burnt down: the plan on a new one, with an empty state folder."""
    shutil.rmtree(site.context.state)
    module._books.clear()
    return site.context


def keys(site: Site) -> list[X25519Identity]:
    return read_identities([site.keys[0]])  # type: ignore[return-value]


def test_a_new_machine_goes_on_as_if_nothing_had_happened(site: Site) -> None:
    context = site.context
    for _ in range(3):
        backed_up(context)
    context.journal.append("held", source="clinic", sequence=2, reason="court", until=None, who="office")
    copy_journal(context, "nas")
    old, told = context.journal.machine, [entry.facts for entry in context.journal.entries()]
    new = lose(site)
    with pytest.raises(StateError, match="written by a machine unknown to this plan") as caught:
        recover(new, "nas", keys(site))
    assert f"--signer {old}" in caught.value.hint
    back = recover(new, "nas", keys(site), [old])
    assert (back.length, back.carried) == (len(told) + 1, 0)
    new = PlanContext(new.path)
    assert [entry.facts for entry in new.journal.entries()][:-1] == told
    assert last_number(new.journal) == 3 and not new.journal.defects()
    with new.target("nas") as nas:
        assert [backup.verified for backup in shelf_of(new, nas)] == [True] * 3, "the old machine's count"
    assert backed_up(new) == 4 and not doubts(new)
    assert not prune(new, "nas").note
    assert not any("journal" in alarm or "memory" in alarm for alarm in status_of(new).alarms)
    assert new.journal.machine != old


def test_two_sources_that_end_side_by_side_do_not_spoil_each_others_copy(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second would write the same name anew before the first has read it back."""
    context = site.context
    backed_up(context)
    second_wrote = threading.Event()

    def put_slowly(target: FolderTarget, *arguments: Any) -> None:
        real(target, *arguments)
        if threading.current_thread().name == "first":
            second_wrote.wait(0.3)
        else:
            second_wrote.set()

    real = FolderTarget.put
    monkeypatch.setattr(FolderTarget, "put", put_slowly)
    failures: list[BaseException] = []
    monkeypatch.setattr(threading, "excepthook", lambda told: failures.append(told.exc_value))
    threads = [
        threading.Thread(target=copy_journal, args=(context, "nas"), name=name)
        for name in ("first", "second")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_b4_what_was_forgotten_comes_back_and_what_was_done_since_stays(site: Site) -> None:
    put_back(site.context, 2)
    context = PlanContext(site.plan)
    next_sequence(context, "since")
    context.journal.append(
        "restored", source="clinic", sequence=1, name="", target="nas", who="o", where="/x", how=""
    )
    assert doubts(context)
    back = recover(context, "nas", keys(site))
    assert back.carried == 2
    assert [entry.facts["sequence"] for entry in context.journal.entries("number")] == [1, 2, 3, 4, 5]
    assert context.journal.entries("restored") and not doubts(context) and not context.journal.defects()
    assert list((context.journal.folder / "earlier").glob("*journal.jsonl"))
    assert backed_up(context) == 6 and not doubts(context)
    with context.target("nas") as nas:
        assert len(copies_in([stat.name for stat in nas.list()], "clinic")) == 1, "it continues them all"


def test_a_copy_that_tells_nothing_new_changes_nothing(site: Site) -> None:
    backed_up(site.context)
    before = site.context.journal.path.read_bytes()
    with pytest.raises(StateError, match="tells nothing that this machine does not know"):
        recover(site.context, "nas", keys(site))
    assert site.context.journal.path.read_bytes() == before


def test_what_cannot_be_believed_changes_nothing(site: Site, tmp_path: Path) -> None:
    context = site.context
    for _ in range(2):
        backed_up(context)
    copy_journal(context, "nas")
    with context.target("nas") as nas:
        (copy,) = copies_in([stat.name for stat in nas.list()], "clinic")
        stranger = Journal(tmp_path / "stranger", OTHER)
        for _ in range(30):
            stranger.append("number", sequence=1, run="")
        put_copy(stranger, nas, "clinic", context.recipients())
    new = lose(site)
    with pytest.raises(NoMatchingIdentity):
        recover(new, "nas", [X25519Identity.generate()])
    with pytest.raises(StateError, match="unknown to this plan"):
        recover(new, "nas", keys(site))
    with pytest.raises(NoBackup, match="holds no copy of the journal"):
        recover(new, "cellar", keys(site))
    path = Path(context.entry("nas").path) / copy.name  # type: ignore[attr-defined]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Exception, match="cannot decrypt"):
        recover(new, "nas", keys(site), [context.journal.machine])
    assert not new.journal.path.exists() and not list(new.journal.folder.glob("incoming*"))


def test_accepted_damage_comes_back_accepted(site: Site) -> None:
    context = site.context
    for _ in range(3):
        backed_up(context)
    lines = context.journal.path.read_bytes().splitlines(keepends=True)
    context.journal.path.write_bytes(b"".join(lines[:1] + lines[2:]))
    accept(context)
    copy_journal(context, "nas")
    machine = context.journal.machine
    new = lose(site)
    recover(new, "nas", keys(site), [machine])
    assert not PlanContext(new.path).journal.defects()


def test_a_folder_of_a_plan_that_is_not_ours_is_left_alone(site: Site) -> None:
    backed_up(site.context)
    name = "clinic.programs-00000000-000099-0123456789abcdef.journal.zst.age"
    with site.context.target("nas") as nas:
        put(nas, name, b"x")
    copy_journal(site.context, "nas")
    with site.context.target("nas") as nas:
        assert name in [stat.name for stat in nas.list()]
