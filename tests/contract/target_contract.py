"""What every target must do: one body of tests that each adapter runs against the real thing.

To plug in an adapter, subclass TargetContract in a module of its own and give it one fixture:

    class TestSftp(TargetContract):
        @pytest.fixture
        def case(self, sftp_server) -> Iterator[TargetCase]:
            yield TargetCase(make=..., corrupt=...)

``make`` returns a new Target object onto the same place each time it is called; the place is
prepared and empty when the test begins. ``corrupt(name)`` changes one byte of the stored object on the
medium, behind the target's back. Whatever the fixture starts it also ends.
"""

from __future__ import annotations

import hashlib
import io
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tasks.age.file import decrypt, encrypt, rewrapped
from tasks.age.x25519 import X25519Identity
from tasks.errors import ObjectMissing, TargetError
from tasks.journal.copies import copies_in, fetch_copy, put_copy
from tasks.journal.journal import Journal
from tasks.journal.recovery import bring_back
from tasks.manifests.manifest import manifest_name, to_json
from tasks.manifests.shelf import read_shelf
from tasks.manifests.strays import told_of
from tasks.records import Manifest, Properties, Stat
from tasks.targets.base import Target
from tasks.targets.capabilities import locked_until, probe, thaw, verify
from tests.unit.manifests.shelves import signed

MIB = 1 << 20
SEALED = "clinic-20261123T020000Z-000417.tar.zst.age"


@dataclass
class TargetCase:
    """One adapter under test; see the module's docstring."""

    make: Callable[[], Target]
    corrupt: Callable[[str], None]


def some_bytes(size: int, seed: int = 1) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def put(target: Target, name: str, data: bytes) -> Stat:
    """Store ``data`` whole."""
    return target.put(name, io.BytesIO(data), len(data))


def listing(target: Target) -> list[tuple[str, int]]:
    """Names and sizes of all that is there."""
    return [(stat.name, stat.bytes) for stat in target.list()]


def backup(data: bytes) -> Manifest:
    """The signed manifest of SEALED, which holds ``data``."""
    return signed(sealed_bytes=len(data), sealed_sha256=hashlib.sha256(data).hexdigest())


def get(target: Target, name: str) -> bytes:
    """Read an object whole."""
    with target.open(name) as stream:
        return stream.read()


def enter(call: Callable[[str], object], name: str) -> None:
    """Call, and enter what came back if it is a context manager: ``open`` may fail at either."""
    result = call(name)
    if isinstance(result, AbstractContextManager):
        with result:
            pass


class InterruptedSourceError(Exception):
    """What a failing source raises here; no error of the program's own tree."""


class ThenReader(io.BytesIO):
    """Gives ``first`` zero bytes, then calls ``then`` and goes on with what that returns."""

    def __init__(self, first: int, then: Callable[[], bytes]) -> None:
        super().__init__()
        self.left = first
        self.then = then
        self.fired = False

    def read(self, size: int | None = -1, /) -> bytes:
        if self.left:
            piece = min(size or 0, self.left)
            self.left -= piece
            return bytes(piece)
        self.fired = True
        return self.then()


def interrupt() -> bytes:
    raise InterruptedSourceError


class TargetContract:
    """The contract. Subclasses give the fixture ``case``."""

    @pytest.fixture
    def target(self, case: TargetCase) -> Iterator[Target]:
        with case.make() as target:
            yield target

    @pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, 5 * MIB + 17])
    def test_round_trip(self, case: TargetCase, target: Target, size: int) -> None:
        data = some_bytes(size)
        assert put(target, SEALED, data) == Stat(name=SEALED, bytes=size)
        assert target.stat(SEALED) == Stat(name=SEALED, bytes=size)
        assert listing(target) == [(SEALED, size)]
        assert get(target, SEALED) == data
        with case.make() as another:
            assert get(another, SEALED) == data, "another object onto the same place sees it"

    def test_as_many_read_at_a_time_as_it_says(self, target: Target) -> None:
        contents = {f"TUE/{number}": some_bytes(5000 + number) for number in range(20)}
        for name, data in contents.items():
            put(target, name, data)
        with ThreadPoolExecutor(target.properties.readers) as pool:
            assert dict(zip(contents, pool.map(partial(get, target), contents), strict=True)) == contents

    def test_progress_ends_at_the_size(self, target: Target) -> None:
        seen: list[tuple[int, int]] = []
        size = 3 * MIB + 5
        target.put(SEALED, io.BytesIO(bytes(size)), size, lambda done, total: seen.append((done, total)))
        assert seen[-1] == (size, size)
        assert seen == sorted(seen)

    def test_reading_in_pieces(self, target: Target) -> None:
        data = some_bytes(2 * MIB + 3)
        put(target, SEALED, data)
        with target.open(SEALED) as stream:
            pieces = [stream.read(1), stream.read(MIB), *iter(lambda: stream.read(70_001), b"")]
        assert len(pieces[0]) == 1
        assert b"".join(pieces) == data

    def test_a_reader_that_gives_little_at_a_time(self, target: Target) -> None:
        class Dribble(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                return super().read(min(size or 0, 1000))

        data = some_bytes(50_001)
        target.put(SEALED, Dribble(data), len(data))
        assert get(target, SEALED) == data

    def test_delete(self, target: Target) -> None:
        put(target, "TUE/a", b"a")
        put(target, "TUE/b", b"b")
        target.delete("TUE/a")
        assert listing(target) == [("TUE/b", 1)]
        with pytest.raises(ObjectMissing):
            target.stat("TUE/a")
        assert get(target, "TUE/b") == b"b"

    def test_put_replaces(self, target: Target) -> None:
        put(target, SEALED, some_bytes(3 * MIB))
        put(target, SEALED, b"shorter")
        assert get(target, SEALED) == b"shorter"
        assert listing(target) == [(SEALED, 7)]

    def test_nothing_shows_before_the_end(self, target: Target) -> None:
        """While a replacement is under way the old object is read whole, and a new one is not there."""
        old, size = some_bytes(2 * MIB), 3 * MIB
        put(target, SEALED, old)
        for name in (SEALED, "new"):
            seen: list[bytes | list[tuple[str, int]]] = []

            def look(seen: list[bytes | list[tuple[str, int]]] = seen) -> bytes:
                if seen:
                    return b""
                seen.extend((get(target, SEALED), listing(target)))
                return bytes(MIB)

            target.put(name, ThenReader(2 * MIB, look), size)
            assert seen == [old, [(SEALED, len(old))]]
            assert target.stat(name).bytes == size
            put(target, SEALED, old)

    @pytest.mark.parametrize("name", [SEALED, "TUE/new"])
    def test_a_source_that_fails_leaves_no_trace(self, target: Target, name: str) -> None:
        old = some_bytes(MIB + 1)
        put(target, SEALED, old)
        reader = ThenReader(2 * MIB, interrupt)
        with pytest.raises(InterruptedSourceError):
            target.put(name, reader, 3 * MIB)
        assert reader.fired
        assert get(target, SEALED) == old
        assert listing(target) == [(SEALED, len(old))]

    @pytest.mark.parametrize(("held", "announced"), [(0, 1), (MIB, MIB + 1), (3 * MIB, 5 * MIB)])
    def test_a_short_reader_is_refused(self, target: Target, held: int, announced: int) -> None:
        with pytest.raises(TargetError, match=str(announced)) as caught:
            target.put(SEALED, io.BytesIO(bytes(held)), announced)
        assert target.is_permanent(caught.value)
        assert target.list() == []

    @pytest.mark.parametrize(("held", "announced"), [(1, 0), (MIB + 1, MIB), (5 * MIB, 3 * MIB)])
    def test_a_long_reader_is_refused(self, target: Target, held: int, announced: int) -> None:
        put(target, SEALED, b"old")
        with pytest.raises(TargetError, match=str(announced)):
            target.put(SEALED, io.BytesIO(bytes(held)), announced)
        assert get(target, SEALED) == b"old"

    @pytest.mark.parametrize(
        "name", ["a", "TUE/" + SEALED, "deep/er/and/deeper", "Übung 2 – naïve/日本 'x'.age"]
    )
    def test_names(self, target: Target, name: str) -> None:
        put(target, name, name.encode())
        assert get(target, name) == name.encode()
        assert listing(target) == [(name, len(name.encode()))]
        target.delete(name)
        assert target.list() == []

    @pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/..", ".", "a\\b", "a\0b"])
    def test_illegal_names(self, target: Target, name: str) -> None:
        for call in (target.open, target.stat, target.delete):
            with pytest.raises(ValueError, match="name"):
                enter(call, name)
        with pytest.raises(ValueError, match="name") as caught:
            put(target, name, b"x")
        assert target.is_permanent(caught.value)
        assert target.list() == []

    def test_list_is_in_order_and_by_prefix(self, target: Target) -> None:
        names = ["b", "TUE/2", "a-10", "TUE/1", "a-9", "TUESDAY", "FRI/9"]
        for name in names:
            put(target, name, b"x")
        assert [item.name for item in target.list()] == sorted(names)
        assert [item.name for item in target.list("TUE/")] == ["TUE/1", "TUE/2"]
        assert [item.name for item in target.list("TUE")] == ["TUE/1", "TUE/2", "TUESDAY"]
        assert [item.name for item in target.list("a-1")] == ["a-10"]
        assert target.list("WED/") == []

    def test_missing_objects(self, target: Target) -> None:
        put(target, "there", b"x")
        for name in ("not-there", "TUE/not-there", "there/below"):
            for call in (target.open, target.stat, target.delete):
                with pytest.raises(ObjectMissing, match=name) as caught:
                    enter(call, name)
                assert caught.value.hint
                assert target.name in caught.value.message
                assert target.is_permanent(caught.value)

    def test_reading_comes_from_the_medium(self, case: TargetCase, target: Target) -> None:
        """A byte that changed on the medium shows, although both writing and reading were just cached."""
        data = some_bytes(MIB)
        put(target, SEALED, data)
        assert get(target, SEALED) == data
        case.corrupt(SEALED)
        changed = get(target, SEALED)
        assert sum(a != b for a, b in zip(changed, data, strict=True)) == 1

    @pytest.mark.parametrize("local", [False, True], ids=["by reading", "beside the same bytes here"])
    def test_verify(self, case: TargetCase, target: Target, local: bool) -> None:
        """Neither a changed byte, nor another size, nor other bytes pass; and what is right does."""
        data = some_bytes(5 * MIB + 17)
        put(target, SEALED, data)

        def proven(content: bytes, size: int = 0, here: bytes = b"") -> bool:
            beside = io.BytesIO(here or content) if local else None
            digest = hashlib.sha256(content).hexdigest()
            return verify(target, SEALED, size or len(content), digest, local=beside)

        assert proven(data)
        others = some_bytes(len(data), seed=2)
        assert not proven(others), "others of that size"
        assert not proven(others, here=data), "the digest counts, not what lies here"
        assert not proven(data[:-1]), "all but the last"
        assert not proven(data + b"x"), "one more"
        assert not proven(data, size=len(data) - 1), "another size than the digest's"
        case.corrupt(SEALED)
        assert not proven(data), "changed on the medium"
        with pytest.raises(ObjectMissing, match="not-there"):
            verify(target, "not-there", 1, hashlib.sha256(b"x").hexdigest(), local=io.BytesIO(b"x"))

    def test_verify_shows_its_progress(self, target: Target) -> None:
        size = 3 * MIB + 5
        put(target, SEALED, bytes(size))
        seen: list[tuple[int, int]] = []
        digest = hashlib.sha256(bytes(size)).hexdigest()
        assert verify(target, SEALED, size, digest, lambda done, total: seen.append((done, total)))
        assert seen[-1] == (size, size)
        assert seen == sorted(seen)

    def test_four_threads_at_once(self, target: Target) -> None:
        contents = {
            f"{slot}/{number}": some_bytes(MIB + number, number) for slot in "AB" for number in range(6)
        }
        start = threading.Barrier(4)

        def work(share: int) -> None:
            start.wait()
            for name in sorted(contents)[share::4]:
                put(target, name, contents[name])

        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(work, share) for share in range(4)]:
                done.result()
        assert {item.name: item.bytes for item in target.list()} == {n: len(d) for n, d in contents.items()}
        assert all(get(target, name) == data for name, data in contents.items())

    def test_an_object_is_sealed_anew_beside_itself(self, target: Target) -> None:
        """Read from the target and put back to it at the same time, as it comes, under another header."""
        old, new = X25519Identity.generate(), X25519Identity.generate()
        plain, sealed = io.BytesIO(), io.BytesIO()
        data = some_bytes(9 * MIB + 7)
        encrypt(io.BytesIO(data), sealed, [old.recipient()])
        put(target, SEALED, sealed.getvalue())
        with target.open(SEALED) as stream:
            anew = rewrapped(stream, [old], [new.recipient(), old.recipient()])
            target.put("anew", anew.stream, len(sealed.getvalue()) + anew.grown)
        decrypt(io.BytesIO(get(target, "anew")), plain, [new])
        assert plain.getvalue() == data
        assert get(target, SEALED) == sealed.getvalue()

    def test_a4_a_backup_whose_files_were_renamed_is_not_cut_off(self, target: Target) -> None:
        """By a sync client, a file manager, a person: the manifest, the archive, or a copy of it."""
        data = some_bytes(1000)
        record = backup(data)
        manifest, mine = manifest_name(SEALED.removesuffix(".tar.zst.age")), to_json(record)

        def left() -> list[str]:
            shelf = read_shelf(target, trusted=None, now=record.taken, slots={"TUE"})
            names = [one.full_name for one in shelf if one.unfinished]
            assert not any(told_of(target, one.full_name) for one in shelf if one.unfinished)
            return names

        put(target, SEALED, data)
        assert left() == [SEALED], "no manifest tells of it"
        for renamed in (manifest.replace(".json", " (1).json"), "old/Copy of the manifest.json"):
            put(target, renamed, mine)
            assert left() == []
            assert told_of(target, SEALED) == renamed
            target.delete(renamed)
        put(target, manifest, mine)
        put(target, SEALED.replace(".tar", " (1).tar"), data)
        assert left() == [], "a copy"
        target.delete(SEALED)
        assert left() == [], "and the only one"

    def test_one_name_from_four_threads(self, target: Target) -> None:
        """Whoever comes last wins, but what is there is always one of them, whole."""
        candidates = [some_bytes(MIB, seed) for seed in range(4)]
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(put, target, SEALED, data) for data in candidates]:
                done.result()
        assert get(target, SEALED) in candidates
        assert len(target.list()) == 1

    def test_free_space(self, target: Target) -> None:
        free = target.free_space()
        assert free is None or (type(free) is int and free > 0)

    def test_a_probe_leaves_nothing_behind(self, target: Target) -> None:
        assert probe(target)
        assert target.list() == []

    def test_what_is_at_hand_needs_no_thawing(self, target: Target) -> None:
        put(target, SEALED, b"x")
        assert thaw(target, SEALED) == 0.0, "at hand"
        assert locked_until(target, SEALED) is None, "no lock was asked for"
        with pytest.raises(ObjectMissing, match="not-there"):
            thaw(target, "not-there")

    def test_the_journal_comes_back_from_it(self, target: Target, tmp_path: Path) -> None:
        """Copies put one after the other; a machine with another key and no memory has it back."""
        holder, old, new = (
            X25519Identity.generate(),
            Ed25519PrivateKey.generate(),
            Ed25519PrivateKey.generate(),
        )
        lost = Journal(tmp_path / "lost", old)
        for number in (1, 2, 3):
            lost.append("number", sequence=number, run=f"run {number}")
            put_copy(lost, target, "clinic", [holder.recipient()])
        (copy,) = copies_in([stat.name for stat in target.list()], "clinic")
        assert (copy.head.length, lost.knows(copy.head)) == (3, True), "the last one alone is left"
        data = fetch_copy(target, copy, [holder])
        journal = Journal(tmp_path / "new", new)
        trusted = [lost.machine, journal.machine]
        back = bring_back(journal, data, new, trusted, target=target.name, who="office")
        assert (back.length, back.carried) == (4, 0)
        assert [entry.facts for entry in journal.entries("number")] == [
            entry.facts for entry in lost.entries("number")
        ]
        assert journal.defects() == [] and journal.machines() == {lost.machine}

    def test_closing_twice(self, case: TargetCase) -> None:
        target = case.make()
        put(target, "a", b"a")
        target.close()
        target.close()

    def test_a_passing_fault_may_be_tried_again(self, target: Target) -> None:
        assert not target.is_permanent(TargetError("the network was down"))
        assert target.is_permanent(TypeError("a fault in the program"))

    def test_properties(self, target: Target) -> None:
        assert type(target.properties) is Properties
        assert target.properties.thaw_seconds >= 0
        assert target.kind
