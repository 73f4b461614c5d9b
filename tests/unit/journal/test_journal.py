"""Appending and reading: order, locks, torn tails, other processes, what is verified once."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tasks.errors import StateError
from tasks.journal import journal as module
from tasks.journal.journal import FILE, LOCK, VERIFIED, Head, Journal
from tasks.manifests.signing import load_or_create_key
from tests.unit.journal.conftest import KEY, OTHER


def anew(journal: Journal, key: object = KEY, trusted: tuple[str, ...] = ()) -> Journal:
    """The journal as another process sees it."""
    module._books.clear()
    return Journal(journal.folder, key, trusted)  # type: ignore[arg-type]


def test_entries_come_back_as_they_were_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", KEY)
    assert (journal.head(), journal.entries(), journal.defects()) == (Head(0, ""), (), [])
    first = journal.append(
        "delivered", target="nas", name="a/b", bytes=7, kind="x", umlaut="ü\n\u2028", no=None
    )
    second = journal.append("number", sequence=3)
    assert (first.number, first.previous, second.number) == (1, "", 2)
    assert anew(journal).entries() == (first, second)
    assert anew(journal).entries("number") == (second,)
    assert first.facts["umlaut"] == "ü\n\u2028" and first.facts["kind"] == "x"
    assert journal.head().length == 2 and journal.head().sha256 != second.previous


@pytest.mark.parametrize("kind", ["", "Number", "a b", 'x","time', "ü"])
def test_a_kind_is_a_plain_word(journal: Journal, kind: str) -> None:
    with pytest.raises(ValueError, match="kind of entry"):
        journal.append(kind)
    assert journal.head().length == 8


def test_facts_are_json(journal: Journal) -> None:
    for wrong in (float("nan"), b"bytes", object()):
        with pytest.raises((ValueError, TypeError)):
            journal.append("number", fact=wrong)
    assert journal.defects() == [] and journal.head().length == 8


def test_threads_and_processes_take_turns(tmp_path: Path) -> None:
    key = tmp_path / "machine.key"
    journal = Journal(tmp_path / "journal", load_or_create_key(key))
    program = (
        "import sys; from pathlib import Path; from tasks.journal.journal import Journal;"
        "from tasks.manifests.signing import load_key;"
        "j = Journal(Path(sys.argv[1]), load_key(Path(sys.argv[2])));"
        "[j.append('number', sequence=n) for n in range(20)]"
    )
    command = [sys.executable, "-c", program, str(journal.folder), str(key)]
    others = [subprocess.Popen(command) for _ in range(2)]
    threads = [
        threading.Thread(target=lambda: [journal.append("run", at=n) for n in range(20)]) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait() for other in others] == [0, 0]
    found = journal.entries()
    assert [entry.number for entry in found] == list(range(1, 101))
    assert journal.defects() == [] and anew(journal, load_or_create_key(key)).verify() == []


def test_the_lock_lets_its_own_thread_append(journal: Journal) -> None:
    with journal.locked():
        assert journal.append("number", sequence=9).number == 9
    assert (journal.folder / LOCK).exists()


@pytest.mark.parametrize("torn", [b"{", b'{"number":9,"kind":"num', b"\0" * 40])
def test_a_torn_last_line_is_dropped_and_said(journal: Journal, torn: bytes) -> None:
    with (journal.folder / FILE).open("ab") as stream:
        stream.write(torn)
    again = anew(journal)
    assert again.head().length == 8 and again.defects() == []
    again.append("number", sequence=9)
    assert [(e.kind, e.facts) for e in again.entries()[8:]] == [
        ("torn", {"bytes": len(torn)}),
        ("number", {"sequence": 9}),
    ]
    assert again.defects() == [] and anew(journal).verify() == []


def test_a_last_line_that_only_lacks_its_line_feed_stays(journal: Journal) -> None:
    path = journal.folder / FILE
    (journal.folder / VERIFIED).unlink()
    path.write_bytes(path.read_bytes()[:-1])
    again = anew(journal)
    again.append("number", sequence=9)
    assert [entry.facts["sequence"] for entry in again.entries()] == list(range(1, 10))
    assert again.defects() == []


def test_a_reader_sees_what_another_process_wrote(journal: Journal) -> None:
    before = journal.entries()
    command = (
        "import sys; from pathlib import Path; open(sys.argv[1], 'ab').write(bytes.fromhex(sys.argv[2]))"
    )
    line = module.signed_line(9, "number", before[0].time, {"sequence": 9}, journal.head().sha256, KEY)
    subprocess.run([sys.executable, "-c", command, str(journal.path), (line.raw + b"\n").hex()], check=True)
    assert journal.entries()[:8] == before and journal.entries()[8].facts == {"sequence": 9}


def test_signatures_are_verified_once(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[int] = []
    real = module.line_defect
    monkeypatch.setattr(module, "line_defect", lambda line, t: checked.append(line.number) or real(line, t))
    assert len(anew(journal).entries()) == 8 and not checked
    (journal.folder / VERIFIED).write_text("{")
    assert len(anew(journal).entries()) == 8 and checked == list(range(1, 9))
    checked.clear()
    assert anew(journal).verify() == [] and checked == list(range(1, 9))


def test_a_signer_that_is_trusted_no_longer_does_not_count(journal: Journal) -> None:
    own = journal.entries()[0].machine
    assert len(anew(journal, OTHER, (own,)).entries()) == 8
    assert anew(journal, OTHER).entries() == ()
    assert "another machine" in anew(journal, OTHER).defects()[0]
    assert len(anew(journal, OTHER, (own,)).entries()) == 8


def test_a_disk_that_is_full_leaves_no_half_line(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    write = module.os.write
    monkeypatch.setattr(module.os, "write", lambda fd, data: write(fd, data[:20]))
    with pytest.raises(StateError, match="No space left"):
        journal.append("number", sequence=9)
    monkeypatch.undo()
    assert journal.append("number", sequence=9).number == 9 and journal.defects() == []
    assert journal.entries("torn") == ()


def test_a_full_disk_has_room_saved_for_the_journal(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert journal.reserve.exists(), "since the first entry"
    write = module.os.write

    def while_nothing_is_freed(descriptor: int, data: bytes) -> int:
        return write(descriptor, data[:20] if journal.reserve.exists() else data)

    monkeypatch.setattr(module.os, "write", while_nothing_is_freed)
    written = journal.append("number", sequence=9)
    monkeypatch.undo()
    assert written.number == 9 and anew(journal).defects() == []
    assert anew(journal).entries("number")[-1] == written
    assert journal.reserve.exists(), "and again, when there is room"
