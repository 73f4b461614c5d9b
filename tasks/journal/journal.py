"""The journal's file: appending to it, reading it, and what shows that it was tampered with.

``journal.jsonl`` holds the lines (lines.py). ``verified.json`` beside it remembers through which byte its
signatures were verified, so that each is verified once; it can be deleted at any time. It also is what
tells a journal that was cut, or put back, from one that a power cut left: it never knows more than what
was durable.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from filelock import FileLock
from pydantic import ValidationError

from tasks.errors import StateError
from tasks.journal.chain import chain_defects
from tasks.journal.kinds import Kind
from tasks.journal.lines import Entry, Line, line_defect, signed_line
from tasks.manifests.signing import public_text
from tasks.options import Json
from tasks.platform.files import MORE_ROOM, PRIVATE_FILE, create_private, private_folder, sync_folder
from tasks.records import Record, key_of

FILE = "journal.jsonl"
VERIFIED = "verified.json"
LOCK = "lock"
RESERVE = "reserve"
RESERVED_BYTES = 256 << 10
"""Room for some hundreds of entries."""


class Head(NamedTuple):
    """Where a journal stands: the number of its last entry, and the sha256 of that line. (0, ""): empty."""

    length: int
    sha256: str


class Verified(Record):
    """What is known of the first ``bytes`` bytes, ``lines`` lines, of which ``sha256`` is the digest.

    ``trusted``: the digest of the keys that counted. ``refused``: by index, lines that are not believed.
    ``lost``: sentences about lines that were verified once and are there no more.
    """

    bytes: int
    lines: int
    sha256: str
    trusted: str
    refused: Mapping[int, str] = {}
    lost: tuple[str, ...] = ()


class _Book:
    """A journal as this process read it last; it grows as the file grows."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.identity: tuple[int, ...] = ()
        self.begin()

    def begin(self) -> None:
        """Forget what was read."""
        self.lines: list[Line] = []
        self.bytes = 0
        self.digest = hashlib.sha256()
        self.tail = b""
        self.trusted: frozenset[str] = frozenset()
        self.refused: dict[int, str] = {}
        self.lost: tuple[str, ...] = ()
        self.entries: dict[int, Entry] = {}

    def add(self, data: bytes) -> None:
        """Read on: whole lines become lines, what is left is the tail."""
        whole, feed, self.tail = data.rpartition(b"\n")
        if feed:
            self.digest.update(whole + feed)
            self.bytes += len(whole) + 1
            self.lines += [Line(raw) for raw in whole.split(b"\n")]

    def head(self) -> Head:
        if not self.lines:
            return Head(0, "")
        last = self.lines[-1]
        # After a line that cannot be read, numbers go on above those that can.
        length = last.number or max(len(self.lines), *(line.number for line in self.lines))
        return Head(length, last.sha256)


_books: dict[tuple[Path, frozenset[str]], _Book] = {}


class Journal:
    """The journal in a folder. Cheap to make: what a process read of it is shared by all of its journals.

    ``trusted``: public keys (as manifests have them) of machines whose entries count beside our own, which is
    ``machine``.
    """

    def __init__(self, folder: Path, key: Ed25519PrivateKey, trusted: Collection[str] = ()) -> None:
        self.folder = folder
        self.path = folder / FILE
        self.reserve = folder / RESERVE
        self._key = key
        self.machine = public_text(key.public_key())
        self._trusted = frozenset({self.machine, *trusted})
        self._book = _books.setdefault((folder.absolute(), self._trusted), _Book())

    def append(self, kind: str, /, **facts: Any) -> Entry:
        """Write an entry, durably; in many processes and threads one after the other.

        A last line that is not whole, as a power cut leaves it, is dropped, and an entry says so. Any other
        damage is left as it is, and the new entry follows the last line that is there.
        Raises StateError where the line cannot be written.
        """
        return self.extend([(kind, facts)])[0]

    def extend(self, several: Sequence[tuple[str, Json]]) -> tuple[Entry, ...]:
        """Write several entries at once, all of them or none, each a kind and its facts; as `append`."""
        with self.locked():
            book = self._read()
            if book.tail:
                self._mend_tail(book)
            return self._write(several)

    def entries(self, *kinds: str) -> tuple[Entry, ...]:
        """The entries of these kinds, of all where none is given, in the order they were written.

        Lines that cannot be read, were altered, or were signed by a machine that doesn't count are not
        among them. Raises StateError where the file cannot be read.
        """
        book = self._read()
        with book.lock:
            chosen = [at for at, line in enumerate(book.lines) if not kinds or line.kind in kinds]
            found = [(at, self._entry(book, at)) for at in chosen if at not in book.refused]
            if not self._in_order(found):
                once = {book.lines[at].sha256: (entry.number, at, entry) for at, entry in reversed(found)}
                return tuple(entry for _, _, entry in sorted(once.values(), key=lambda one: one[:2]))
        return tuple(entry for _, entry in found)

    def head(self) -> Head:
        """Where the journal stands. Raises StateError where the file cannot be read."""
        return self._read().head()

    def version(self) -> tuple[object, ...]:
        """What changes whenever the entries may have: for views that are kept. Raises StateError."""
        book = self._read()
        return (book.identity, book.trusted, len(book.lines), len(book.refused))

    def knows(self, head: Head) -> bool:
        """Whether the line that ``head`` tells is in this journal: it is ours, up to there.

        The beginning of its sha256 is enough.
        """
        lines = self._read().lines
        at = head.length - 1
        # In a journal that is whole a line's number is its place.
        likely = lines[at : at + 1] if at >= 0 else []
        return not head.length or any(
            line.number == head.length and line.sha256.startswith(head.sha256)
            for line in itertools.chain(likely, lines)
        )

    def machines(self) -> frozenset[str]:
        """Public keys of machines whose journal a person brought here: what they signed counts here."""
        return self._read().trusted - self._trusted

    def ended(self) -> tuple[str, ...]:
        """The keys that this machine signed with before, each with the number where it ended."""
        told = self.entries(Kind.KEY_ENDED)[-1:]
        return tuple(signer for entry in told for signer in entry.facts["ended"])

    def strangers(self) -> frozenset[str]:
        """Public keys of machines that signed lines here, and do not count."""
        book = self._read()
        return frozenset(line.machine for line in book.lines if line.machine) - book.trusted

    def defects(self) -> list[str]:
        """What shows that the journal was tampered with or damaged, in words, but for what was accepted."""
        accepted = {text for entry in self.entries(Kind.JOURNAL_ACCEPTED) for text in entry.facts["defects"]}
        book = self._read()
        found = [*book.lost, *chain_defects(book.lines, book.refused)]
        return [text for text in found if text not in accepted]

    def verify(self) -> list[str]:
        """`defects`, with every signature verified again."""
        with self._book.lock:
            self._book.identity = ()
            self._read_anew(self._book, afresh=True)
        return self.defects()

    def text(self) -> tuple[Head, bytes]:
        """Every whole line as it lies there, what a copy holds; and where it ends."""
        book = self._read()
        with book.lock:
            return book.head(), b"".join(line.raw + b"\n" for line in book.lines)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else appends for the length of the block; one's own thread may. Raises StateError."""
        with FileLock(private_folder(self.folder) / LOCK, mode=PRIVATE_FILE, is_singleton=True):
            yield

    # Reading

    def _read(self) -> _Book:
        book = self._book
        with book.lock:
            identity = self._identity()
            if identity != book.identity:
                self._read_on(book, identity)
                book.identity = identity
        return book

    def _identity(self) -> tuple[int, ...]:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return (0,)
        except OSError as error:
            raise self._unreadable(error) from error
        return (found.st_ino, found.st_dev, found.st_size, found.st_mtime_ns)

    def _read_on(self, book: _Book, identity: tuple[int, ...]) -> None:
        """Read what the file has grown by; all of it where it did something else than grow."""
        known = len(book.lines)
        grown = len(identity) > 1 and identity[:2] == book.identity[:2] and identity[2] > book.bytes
        if not (known and grown):
            self._read_anew(book)
            return
        last = book.lines[-1].sha256
        book.add(self._data(book.bytes))
        if len(book.lines) > known and book.lines[known].previous != last:
            self._read_anew(book)
        else:
            self._verify_from(book, known)

    def _read_anew(self, book: _Book, *, afresh: bool = False) -> None:
        memory = self._memory()  # before the data: it never knows more than what is durable there
        data = self._data()
        book.begin()
        book.add(data)
        book.trusted = self._trusted | self._brought(book.lines)
        known = self._recalled(book, data, memory) if memory else 0
        if memory and (afresh or memory.trusted != _digest_of(book.trusted)):
            known = 0
        book.refused = dict(memory.refused) if memory and known else {}
        self._verify_from(book, known)
        if known != len(book.lines) or (memory and memory.lost != book.lost):
            self._remember(book)

    def _brought(self, lines: list[Line]) -> set[str]:
        """Machines that entries of ours name: a person brought their journal, or this one was called so."""
        told = [
            line
            for line in lines
            if line.kind in (Kind.RECOVERED, Kind.KEY_ENDED) and not line_defect(line, self._trusted)
        ]
        named = [
            name for line in told for name in ("machines", "ended") for name in line.entry.facts.get(name, ())
        ]
        return {key_of(name) for name in named}

    def _recalled(self, book: _Book, data: bytes, memory: Verified) -> int:
        """How many lines are those that were verified before; what was lost of them is noted."""
        book.lost = memory.lost
        if hashlib.sha256(data[: memory.bytes]).hexdigest() == memory.sha256:
            return memory.lines
        if not book.lines:
            lost = f"the journal is gone: {memory.lines} entries were here before"
        elif book.bytes < memory.bytes:
            lost = (
                f"the journal ends at entry {book.head().length}, and {memory.lines} entries were here"
                " before: its end was cut off, or an older journal was put in its place"
            )
        else:
            lost = f"the first {memory.lines} entries are not those that were here before: they were changed"
        if lost not in book.lost:
            book.lost = (*book.lost, lost)
        return 0

    def _verify_from(self, book: _Book, first: int) -> None:
        for index, line in enumerate(book.lines[first:], start=first):
            if why := line_defect(line, book.trusted):
                book.refused[index] = why

    def _entry(self, book: _Book, at: int) -> Entry:
        if at not in book.entries:
            book.entries[at] = book.lines[at].entry
        return book.entries[at]

    @staticmethod
    def _in_order(found: list[tuple[int, Entry]]) -> bool:
        numbers = [entry.number for _, entry in found]
        return all(one < other for one, other in itertools.pairwise(numbers))

    def _data(self, offset: int = 0) -> bytes:
        try:
            with self.path.open("rb") as stream:
                stream.seek(offset)
                return stream.read()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> StateError:
        return StateError(
            f"cannot read the journal {self.path}: {error.strerror}",
            hint="Run Datasave under the account that made it.",
        )

    # Writing

    def _write(self, several: Sequence[tuple[str, Json]]) -> tuple[Entry, ...]:
        """Append entries. The lock is held, and the last line is whole."""
        number, previous = self._read().head()
        now = datetime.now(UTC)
        lines: list[Line] = []
        for kind, facts in several:
            number += 1
            lines.append(signed_line(number, kind, now, facts, previous, self._key))
            previous = lines[-1].sha256
        self._put(b"".join(line.raw + b"\n" for line in lines))
        self._remember(self._read())
        return tuple(line.entry for line in lines)

    def _mend_tail(self, book: _Book) -> None:
        """Make the last line whole: one that only lacks its line feed gets it, any other is dropped."""
        tail = Line(book.tail)
        if not line_defect(tail, book.trusted):
            self._put(b"\n")
            return
        size = len(book.tail)
        with self._writing(), self.path.open("r+b") as stream:
            stream.truncate(book.bytes)
            os.fsync(stream.fileno())
        self._write([(Kind.TORN, {"bytes": size})])

    def _put(self, data: bytes) -> None:
        flags = (
            os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        )
        with self._writing():
            new = not self.path.exists()
            descriptor = os.open(self.path, flags, PRIVATE_FILE)
            try:
                self._put_whole(descriptor, data)
            finally:
                os.close(descriptor)
            if new:
                sync_folder(self.folder)
        self._save_room()

    def _put_whole(self, descriptor: int, data: bytes) -> None:
        """All of it or nothing; where the disk is full, in the room that was saved for this."""
        before = os.fstat(descriptor).st_size
        try:
            if os.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301 - as the system raises it
            os.fsync(descriptor)
        except OSError as error:
            os.ftruncate(descriptor, before)
            if error.errno != errno.ENOSPC or not self.reserve.exists():
                raise
            self.reserve.unlink()
            self._put_whole(descriptor, data)

    def _save_room(self) -> None:
        """Keep some room: what a run did is written down also where the disk has run full meanwhile."""
        if not self.reserve.exists():
            temporary = self.folder / f".{RESERVE}.{secrets.token_hex(4)}.part"
            with suppress(OSError):  # no room to save
                try:
                    with create_private(temporary) as stream:
                        stream.write(os.urandom(RESERVED_BYTES))
                    temporary.replace(self.reserve)
                finally:
                    temporary.unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StateError(
                f"cannot write the journal {self.path}: {error.strerror}", hint=MORE_ROOM
            ) from error

    # What was verified

    def _memory(self) -> Verified | None:
        try:
            return Verified.model_validate_json((self.folder / VERIFIED).read_bytes())
        except (OSError, ValidationError):
            return None  # not there, or spoiled: everything is verified again

    def _remember(self, book: _Book) -> None:
        memory = Verified(
            bytes=book.bytes,
            lines=len(book.lines),
            sha256=book.digest.hexdigest(),
            trusted=_digest_of(book.trusted),
            refused=book.refused,
            lost=book.lost,
        )
        temporary = self.folder / f".{VERIFIED}.{secrets.token_hex(4)}.part"
        with suppress(OSError):  # a help only; without it, or with an older one, more is verified again
            try:
                temporary.write_text(memory.model_dump_json(), "utf-8")
                temporary.replace(self.folder / VERIFIED)
            finally:
                temporary.unlink(missing_ok=True)


def _digest_of(trusted: frozenset[str]) -> str:
    return hashlib.sha256("\n".join(sorted(trusted)).encode()).hexdigest()
