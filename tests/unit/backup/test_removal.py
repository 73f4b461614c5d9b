"""Every removal is written down before and after; one that was cut off is brought to its end, once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.backup import retain
from tasks.backup.removal import remove_backup
from tasks.backup.retain import prune, shelf_of
from tasks.context import PlanContext
from tasks.errors import StateError, TargetError
from tasks.records import Properties
from tasks.targets.folder.target import FolderTarget
from tasks.targets.memory.target import MemoryTarget
from tests.unit.backup.shelved import left, office, put_backup

LAST = {"keep": {"last": 2}, "floor": 1}
WHY = "no rule keeps it (last 2)"


def told(context: PlanContext, *kinds: str) -> list[tuple[str, int]]:
    return [(str(entry.kind), entry.facts["sequence"]) for entry in context.journal.entries(*kinds)]


def test_each_removal_is_written_down_before_and_after_and_told_by_number_and_reason(tmp_path: Path) -> None:
    site = office(tmp_path, count=4, **LAST)
    pruned = prune(site.context, "nas")
    assert [(gone.sequence, gone.reason) for gone in pruned.removed] == [(1, WHY), (2, WHY)]
    assert told(site.context, "removing", "removed") == [
        ("removing", 1),
        ("removed", 1),
        ("removing", 2),
        ("removed", 2),
    ]
    facts = site.context.journal.entries("removed")[0].facts
    assert facts == {
        "target": "nas",
        "source": "clinic",
        "sequence": 1,
        "name": pruned.removed[0].name,
        "reason": WHY,
    }


def test_nothing_goes_where_it_cannot_be_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = office(tmp_path, **LAST)
    context = site.context
    retain.note_plan(context)

    def full(*_: Any, **__: Any) -> None:
        raise StateError("cannot write the journal: no space left on device")

    monkeypatch.setattr(type(context.journal), "append", full)
    with pytest.raises(StateError):
        prune(context, "nas")
    assert left(site) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("cut_at", [".manifest.json", ".tar.zst.age"], ids=["before", "half way"])
def test_a_removal_that_was_cut_off_is_finished_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_at: str
) -> None:
    site = office(tmp_path, count=3, **LAST)
    with monkeypatch.context() as patched:

        def gone(_: Any, name: str) -> None:
            raise TargetError(f"cannot delete {name}: the share went away")

        if cut_at == ".manifest.json":
            patched.setattr(FolderTarget, "delete", gone)
        else:
            whole = FolderTarget.delete
            patched.setattr(
                FolderTarget,
                "delete",
                lambda self, name: (gone if name.endswith(cut_at) else whole)(self, name),
            )
        with pytest.raises(TargetError):
            prune(site.context, "nas")
    assert left(site) == [1, 2, 3]
    (removed,) = prune(site.context, "nas").removed
    assert removed.sequence == 1
    assert ("cut off" in removed.reason) is (cut_at == ".tar.zst.age")
    assert left(site) == [2, 3]
    assert site.objects("nas") == sorted(site.objects("nas")) and len(site.objects("nas")) == 4
    assert prune(site.context, "nas").removed == ()
    assert told(site.context, "removed") == [("removed", 1)]


def test_a_removal_cut_off_after_its_end_is_only_written_down(tmp_path: Path) -> None:
    """The power went between the last file and the line about it."""
    site = office(tmp_path, count=3, **LAST)
    context = site.context
    with context.target("nas") as target:
        oldest = shelf_of(context, target)[0]
        for name in (oldest.manifest_name, oldest.full_name):
            target.delete(name)
    facts = {"target": "nas", "source": "clinic", "sequence": 1, "name": oldest.full_name, "reason": WHY}
    context.journal.append("removing", **facts)
    (removed,) = prune(context, "nas").removed
    assert (removed.sequence, removed.name) == (1, oldest.full_name)
    assert told(context, "removed") == [("removed", 1)]


def test_nothing_more_goes_when_what_was_to_stay_vanishes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the shelf and a removal somebody, or another machine, takes away the others."""
    site = office(tmp_path, count=4, **LAST)
    whole = FolderTarget.delete

    def delete(self: FolderTarget, name: str) -> None:
        whole(self, name)
        for archive in site.archives("nas"):
            if "-000004" in archive.name:
                archive.unlink()

    monkeypatch.setattr(FolderTarget, "delete", delete)
    pruned = prune(site.context, "nas")
    assert [gone.sequence for gone in pruned.removed] == [1]
    assert "was there a moment ago" in pruned.note
    assert left(site) == [2, 3]


class Locking(MemoryTarget):
    """A lock keeps archives; that of the manifest has run out already."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.properties = Properties(immutable_until=datetime.now(UTC))

    def locked_until(self, name: str) -> datetime | None:
        ahead = 1 if name.endswith(".age") else -1
        return datetime.now(UTC) + timedelta(days=ahead)


def test_a_backup_half_of_which_is_locked_keeps_its_other_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = office(tmp_path).context
    vault = Locking("nas")
    monkeypatch.setattr("tasks.backup.removal.locked_until", lambda target, name: target.locked_until(name))
    put_backup(context, vault, 1)
    (backup,) = shelf_of(context, vault)
    before = dict(vault.objects)
    assert remove_backup(context, vault, backup, WHY) is None
    assert vault.objects == before
    assert told(context, "removing", "removed") == []


def test_a_damaged_journal_stops_pruning(tmp_path: Path) -> None:
    site = office(tmp_path, **LAST)
    context = site.context
    retain.note_plan(context)
    path = context.journal.path
    path.write_bytes(path.read_bytes().replace(b'"keep"', b'"kept"'))
    pruned = prune(context, "nas")
    assert "the journal is damaged" in pruned.note
    assert left(site) == [1, 2, 3, 4, 5]
