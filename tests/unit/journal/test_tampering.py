"""Each way to tamper with a journal is recognised and named; what was not touched goes on counting."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.journal import journal as module
from tasks.journal.journal import FILE, VERIFIED, Journal
from tasks.journal.lines import Line, signed_line
from tests.unit.journal.conftest import KEY, OTHER, Change, rewrite

NOW = datetime(2026, 11, 23, 2, tzinfo=UTC)


def anew(journal: Journal) -> Journal:
    module._books.clear()
    return Journal(journal.folder, KEY)


def at(index: int, change: Callable[[bytes], bytes]) -> Change:
    return lambda lines: [*lines[:index], change(lines[index]), *lines[index + 1 :]]


def resigned(line: bytes, key: object = OTHER, **facts: object) -> bytes:
    found = Line(line)
    entry = found.entry
    return signed_line(
        entry.number,
        entry.kind,
        entry.time,
        {**entry.facts, **facts},
        entry.previous,
        key,  # type: ignore[arg-type]
    ).raw


def forged_chain(lines: list[bytes]) -> list[bytes]:
    """The fourth entry changed and all that follow chained anew, by someone without the machine's key."""
    found = lines[:3]
    for line in lines[3:]:
        entry = Line(line).entry
        previous = hashlib.sha256(found[-1]).hexdigest()
        found.append(signed_line(entry.number, entry.kind, entry.time, {"sequence": 99}, previous, OTHER).raw)
    return found


def unsigned(line: bytes) -> bytes:
    return line[: line.rindex(b',"signature"')] + b"}"


def stray_bits(line: bytes) -> bytes:
    """The same signature spelt otherwise: base64 has four bits to spare at its end."""
    place = line.rindex(b'=="')
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = alphabet[alphabet.index(line[place - 1 : place]) ^ 1]
    return line[: place - 1] + bytes([other]) + line[place:]


# What was done to the lines; what is said; the entries that still count; whether deleting the memory of
# what was verified hides it (then the targets' manifests and copies tell).
TAMPERED: dict[str, tuple[Change, str, list[int], bool]] = {
    "a fact edited": (
        at(3, lambda line: line.replace(b'"sequence":4', b'"sequence":5')),
        "entry 4 (line 4) was altered after it was signed",
        [1, 2, 3, 5, 6, 7, 8],
        False,
    ),
    "the last fact edited": (
        at(7, lambda line: line.replace(b'"sequence":8', b'"sequence":1')),
        "entry 8 (line 8) was altered after it was signed",
        [1, 2, 3, 4, 5, 6, 7],
        False,
    ),
    "a number edited": (
        at(3, lambda line: line.replace(b'"number":4', b'"number":40')),
        "entry 40 (line 4) was altered after it was signed",
        [1, 2, 3, 5, 6, 7, 8],
        False,
    ),
    "a time edited": (
        at(3, lambda line: line.replace(b'"time":"2', b'"time":"1')),
        "entry 4 (line 4) was altered after it was signed",
        [1, 2, 3, 5, 6, 7, 8],
        False,
    ),
    "a signature edited": (
        at(3, stray_bits),
        "entry 4 (line 4) was altered after it was signed",
        [1, 2, 3, 5, 6, 7, 8],
        False,
    ),
    "a signature taken off": (
        at(3, unsigned),
        "line 4 is no entry",
        [1, 2, 3, 5, 6, 7, 8],
        False,
    ),
    "another key": (
        at(3, resigned),
        "entry 4 (line 4) was signed by another machine (ed25519:",
        [1, 2, 3, 5, 6, 7, 8],
        False,
    ),
    "edited and signed with the machine's key": (
        at(3, lambda line: resigned(line, KEY, sequence=99)),
        "entry 5 (line 5) does not follow the line before it: that line was changed or put there",
        [1, 2, 3, 4, 5, 6, 7, 8],
        False,
    ),
    "chained anew with another key": (
        forged_chain,
        "entry 4 (line 4) was signed by another machine (ed25519:",
        [1, 2, 3],
        False,
    ),
    "one removed": (
        lambda lines: [*lines[:3], *lines[4:]],
        "entry 5 (line 4) follows entry 3: the entries between them are missing",
        [1, 2, 3, 5, 6, 7, 8],
        False,
    ),
    "the beginning removed": (
        lambda lines: lines[2:],
        "entry 3 (line 1) is the first one left: the beginning of the journal is missing",
        [3, 4, 5, 6, 7, 8],
        False,
    ),
    "the end cut off": (
        lambda lines: lines[:5],
        "the journal ends at entry 5, and 8 entries were here before",
        [1, 2, 3, 4, 5],
        True,
    ),
    "replayed at the end": (
        lambda lines: [*lines, lines[3]],
        "entry 4 (line 9) stands there a second time",
        [1, 2, 3, 4, 5, 6, 7, 8],
        False,
    ),
    "replayed in the middle": (
        lambda lines: [*lines[:6], lines[3], *lines[6:]],
        "entry 4 (line 7) stands there a second time",
        [1, 2, 3, 4, 5, 6, 7, 8],
        False,
    ),
    "put in another order": (
        lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]],
        "entry 4 (line 5) stands behind entry 5: lines were put in another order",
        [1, 2, 3, 4, 5, 6, 7, 8],
        False,
    ),
    "backwards": (
        lambda lines: lines[::-1],
        "entry 7 (line 2) stands behind entry 8: lines were put in another order",
        [1, 2, 3, 4, 5, 6, 7, 8],
        False,
    ),
    "a foreign line put in": (
        lambda lines: [*lines[:3], b"hello", *lines[3:]],
        "line 4 is no entry",
        [1, 2, 3, 4, 5, 6, 7, 8],
        False,
    ),
    "an empty line put in": (
        lambda lines: [*lines[:3], b"", *lines[3:]],
        "line 4 is no entry",
        [1, 2, 3, 4, 5, 6, 7, 8],
        False,
    ),
    "a line torn in the middle": (
        lambda lines: [*lines[:3], lines[3][:40], *lines[4:]],
        "line 4 is no entry",
        [1, 2, 3, 5, 6, 7, 8],
        False,
    ),
    "line ends of another system": (
        lambda lines: [line + b"\r" for line in lines],
        "lines 1 to 8 are no entry",
        [],
        False,
    ),
    "a block of zeros": (
        at(3, lambda line: b"\0" * len(line)),
        "line 4 is no entry",
        [1, 2, 3, 5, 6, 7, 8],
        False,
    ),
    "emptied": (lambda _: [], "the journal is gone: 8 entries were here before", [], True),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_tampering_is_named(journal: Journal, how: str) -> None:
    change, said, counting, _ = TAMPERED[how]
    rewrite(journal.folder, change)
    again = anew(journal)
    assert any(said in text for text in again.defects()), again.defects()
    assert [entry.number for entry in again.entries()] == counting
    again.append("run", end=True)  # never a reason to make no backup
    assert again.entries("run")[-1].facts == {"end": True}
    assert any(said in text for text in anew(journal).defects()), anew(journal).defects()


@pytest.mark.parametrize("how", [how for how in TAMPERED if not TAMPERED[how][3]])
def test_it_is_named_without_memory_of_it(journal: Journal, how: str) -> None:
    rewrite(journal.folder, TAMPERED[how][0])
    (journal.folder / VERIFIED).unlink()
    assert any(TAMPERED[how][1] in text for text in anew(journal).defects()), anew(journal).defects()


def test_a_journal_put_back_is_named_however_far_it_grows(journal: Journal, tmp_path: Path) -> None:
    shutil.copy(journal.path, tmp_path / "old")
    for sequence in range(9, 12):
        journal.append("number", sequence=sequence)
    shutil.copy(tmp_path / "old", journal.path)
    again = anew(journal)
    for sequence in range(9, 20):
        again.append("number", sequence=sequence)
    assert [
        "ends at entry 8, and 11 entries were here before" in text for text in anew(journal).defects()
    ] == [True]


def test_a_journal_put_back_that_grew_meanwhile_is_named(journal: Journal, tmp_path: Path) -> None:
    """Two machines with one memory: the other one's journal is longer, and was put in the place of ours."""
    shutil.copytree(journal.folder, tmp_path / "other")
    journal.append("number", sequence=9)
    other = Journal(tmp_path / "other", KEY)
    for sequence in range(9, 12):
        other.append("number", sequence=sequence)
    shutil.copy(other.path, journal.path)
    again = anew(journal)
    assert any("the first 9 entries are not those that were here before" in text for text in again.defects())


def test_two_machines_with_one_memory_part_at_an_entry(journal: Journal, tmp_path: Path) -> None:
    shutil.copytree(journal.folder, tmp_path / "other")
    other = Journal(tmp_path / "other", KEY)
    common = journal.head()
    journal.append("number", sequence=9)
    other.append("number", sequence=9, run="elsewhere")
    assert journal.knows(common) and other.knows(common)
    assert not journal.knows(other.head()) and not other.knows(journal.head())


def test_a_file_that_is_gone_is_named(journal: Journal) -> None:
    journal.path.unlink()
    assert anew(journal).defects() == ["the journal is gone: 8 entries were here before"]


def test_tampering_while_we_read_is_named(journal: Journal) -> None:
    """This process has read the file already: what grew and what was changed is seen by its next look."""
    assert len(journal.entries()) == 8
    rewrite(journal.folder, TAMPERED["one removed"][0])
    assert any("entries between them are missing" in text for text in journal.defects())
    before = len(journal.defects())
    with (journal.folder / FILE).open("ab") as stream:
        stream.write(b"hello\n")
    assert len(journal.defects()) > before


def test_damage_that_someone_accepted_is_said_no_longer(journal: Journal) -> None:
    rewrite(journal.folder, TAMPERED["one removed"][0])
    found = anew(journal)
    found.append("journal_accepted", defects=found.defects(), who="office")
    assert anew(journal).defects() == []
    rewrite(journal.folder, at(5, lambda line: line.replace(b"run 7", b"run 1")))
    assert any("entry 7 (line 6) was altered" in text for text in anew(journal).defects())
