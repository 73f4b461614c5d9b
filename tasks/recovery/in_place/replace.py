"""Restore in place: the old data is put aside as DATASAVE, the proven copy takes its place.

The order is the whole point. Fetching, opening, proving and building the new data are done first, beside the
live data and with everybody still at work. Only then the engine stops; two renames follow, the new data is
opened where it now lies and compared with the manifest, the engine starts. Every step is signed off in a
journal (journal.py). What fails after the stop puts the old data back; what is killed is finished by
``resume`` or taken back by ``undo``, from any point.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tasks.backup.validate import require
from tasks.backup.workspace import remove_tree
from tasks.checks.judge import judge_tables
from tasks.checks.measure import profile
from tasks.errors import DatasaveError, MismatchError, SourceError, StateError
from tasks.platform.files import private_folder, write_atomic
from tasks.platform.processes import run
from tasks.records import Contents, Finding, Manifest
from tasks.recovery.in_place import moves as moving
from tasks.recovery.in_place.record import Journal, JournalFile, Phase
from tasks.recovery.recover import Recovered
from tasks.sources.capabilities import SupportsInPlace
from tasks.sources.shared.live_data import InPlaceOptions, LiveData

DOWN = (
    "THE ENGINE MAY BE DOWN: nobody can work until it runs. Run `datasave restore --undo` again, or start it "
    "by hand, then find out why."
)
KEPT = "The old data is where it was."
Tell = Callable[[str], None]


@dataclass
class Replacement:
    """One restore in place under way: its source, its journal, and a way to say what is being done."""

    source: SupportsInPlace
    file: JournalFile
    journal: Journal
    tell: Tell

    @property
    def place(self) -> LiveData:
        """The live place, as it was when all this began."""
        journal = self.journal
        return LiveData(journal.live, journal.folder, journal.beside, journal.deep, journal.owner)

    @property
    def commands(self) -> InPlaceOptions:
        """The plan's commands, as they are now."""
        return self.source.in_place_options()

    def sign(self, phase: Phase, **facts: object) -> None:
        """Sign a step off."""
        self.journal = self.file.sign(self.journal, phase, **facts)

    def build(self, recovered: Recovered) -> None:
        """Make the new data beside the live, from a copy that was proven. Nothing is stopped yet."""
        write_atomic(self.journal.room / "recorded.json", recovered.contents.model_dump_json().encode())
        self.sign("proved")
        self.tell(f"making the new data beside {self.journal.live}")
        fresh = self.source.build(recovered.folder, self.journal.room / "new")
        moving.make_durable(fresh)
        self.sign("built", fresh=fresh, digest=moving.digest_of(fresh))

    def forward(self, *, again: bool = False) -> tuple[Finding, ...]:
        """Do all steps that are not signed off; what was found in the live place.

        ``again``: after a cut, so that the engine may be in any state. Raises DatasaveError or OSError after
        the old data was put back; StateError where even that failed.
        """
        try:
            return self._forward(again=again)
        except BaseException as error:
            self._back_again(error)
            raise

    def _forward(self, *, again: bool) -> tuple[Finding, ...]:
        findings: tuple[Finding, ...] = ()
        if not self.journal.has("stopped"):
            self.sign("stopping")
            self._stop(tolerant=again)
            self.sign("stopped")
        if not self.journal.has("moved"):
            self._aside()
        if not self.journal.has("placed"):
            self.tell(f"the restored data takes the place {self.journal.live}")
            moving.place_fresh(self.journal)
            self.sign("placed")
        if not self.journal.has("opened"):
            self.tell("opening it in its place, and comparing it with the manifest")
            findings = self._opened()
            if self.place.deep:
                moving.apply_owner(self.journal.live, self.journal)
            self.sign("opened")
        if not self.journal.has("started"):
            if self.journal.has("starting"):
                self._stop(tolerant=True)
            self.sign("starting")
            self._start()
            self.sign("started")
        remove_tree(self.journal.room)
        self.sign("done")
        return findings

    def undo(self) -> Path | None:
        """Have the old data back and the engine running; where what had been restored is kept, if it is.

        May be cut off and called again. Raises DatasaveError or OSError; StateError, with nothing done,
        where the old data is no longer where it was put.
        """
        self._require_old()
        stopped = self.journal.has("stopping")
        kept = None
        self.sign("undoing")
        if stopped:
            # In whatever state the engine was left: only a stopped one is started for certain.
            self._stop(tolerant=True)
            if not self.journal.has("withdrawn"):
                private_folder(self.journal.room)
                kept = moving.withdraw(self.journal, self.place)
                self.sign("withdrawn")
            self._put_back()
            self.sign("back")
            self._start()
        remove_tree(self.journal.room)
        self.file.remove()
        return kept

    def discard(self) -> None:
        """Remove the old data for good."""
        self.sign("discarding")
        remove_tree(self.journal.aside)
        self.file.remove()

    def _require_old(self) -> None:
        """Raise StateError where the old data is gone: its place must not be cleared for nothing."""
        journal = self.journal
        if not journal.has("withdrawn") and moving.old_is_lost(journal):
            raise StateError(
                f"the old data is not in {journal.aside} any more",
                hint=f"{journal.live} was left as it is. Where you moved the old data, move it back to that "
                "place; where it was deleted, `datasave restore --discard-old` ends this.",
            )

    def _put_back(self) -> None:
        journal = self.journal
        if journal.has("duplicating") and not journal.has("moving"):
            moving.drop_duplicates(journal)
        elif journal.has("moving"):
            self.tell(f"{journal.aside.name} is put back")
            moving.put_back(journal)

    def _aside(self) -> None:
        journal = self.journal
        if not journal.has("moving"):
            self.sign("duplicating", old=tuple(path.name for path in self.place.there))
            self.sign("moving", linked=moving.duplicate_aside(self.journal, self.place))
        self.tell(f"{journal.live} becomes {journal.aside.name}")
        if not self.place.deep and self.journal.fresh:
            moving.apply_owner(self.journal.fresh, self.journal)
        moving.move_aside(self.journal)
        self.sign("moved")

    def _opened(self) -> tuple[Finding, ...]:
        room = self.journal.room
        copy = room / "restored"
        recorded = Contents.model_validate_json((room / "recorded.json").read_bytes()).profile
        scratch = private_folder(room / "opened")
        if self.place.deep:
            moving.revert_owner(self.journal.live)  # a try before may have got as far as giving it away
        findings = self.source.compare_live(copy, self.place)
        with self.source.open_live(copy, self.place, scratch) as connection:
            if connection is not None:
                found = profile(connection, self.source.tables(connection))
                findings += judge_tables(recorded, found)
        require(findings, f"what lies at {self.journal.live} is not what was recorded", MismatchError, KEPT)
        return tuple(findings)

    def _stop(self, *, tolerant: bool) -> None:
        """Run the stop command, and wait until nobody uses the data. Raises SourceError.

        ``tolerant`` of a command that fails because the engine has stopped already.
        """
        words, seconds = self.commands.stop, self.commands.seconds
        if words:
            self.tell(f"stopping the engine: {' '.join(words)}")
            code = _command(words, seconds)
            if code and not tolerant:
                raise SourceError(
                    f"the stop command ended with code {code}: {' '.join(words)}",
                    hint="Check `in_place.stop` in the plan, and whether this account may stop the engine.",
                )
        deadline = time.monotonic() + (seconds if words else 0)
        while holder := self.source.in_use(self.place):
            if time.monotonic() > deadline:
                raise SourceError(
                    f"{self.journal.live} is in use by {holder}",
                    hint="Close that program, or say in the plan how it is stopped and started: "
                    "`in_place: {stop: […], start: […]}` under the source.",
                )
            time.sleep(0.1)

    def _start(self) -> None:
        """Run the start command, and wait until the engine answers. Raises SourceError."""
        words, seconds = self.commands.start, self.commands.seconds
        if not words:
            return
        self.tell(f"starting the engine: {' '.join(words)}")
        code = _command(words, seconds)
        deadline = time.monotonic() + seconds
        while not code and not self.source.answers():
            if time.monotonic() > deadline:
                raise SourceError(f"the engine does not answer {seconds:g} s after its start", hint=DOWN)
            time.sleep(0.1)
        if code:
            raise SourceError(
                f"the start command ended with code {code}: {' '.join(words)}",
                hint=DOWN,
            )

    def _back_again(self, error: BaseException) -> None:
        """Put the old data back after a failure; what failed is raised by the caller."""
        reason = error.message if isinstance(error, DatasaveError) else str(error) or type(error).__name__
        self.tell(f"failed: {reason}")
        try:
            kept = self.undo()
        except (DatasaveError, OSError) as worse:
            raise StateError(
                f"the restore in place failed ({reason}), and so did putting the old data back: {worse}",
                hint=f"The old data is whole, in {self.journal.aside} or its own place. {DOWN}",
            ) from error
        self.tell(f"the old data is back in {self.journal.live}, nothing of it was changed")
        if kept is not None:
            self.tell(f"what had been restored, and may have been added to, is kept in {kept}")


def begin(file: JournalFile, manifest: Manifest, place: LiveData) -> Journal:
    """Open the journal of a new restore in place, with its private room beside the live data."""
    room = moving.room_for(place.path, manifest.source)
    journal = Journal(
        source=manifest.source,
        backup=manifest.sealed_name,
        taken=manifest.taken,
        live=place.path,
        beside=place.beside,
        folder=place.folder,
        deep=place.deep,
        owner=place.owner,
        aside=moving.aside_for(place.path),
        room=room,
    )
    signed = file.sign(journal, "begun")
    remove_tree(room)
    private_folder(room)
    return signed


def _command(words: Sequence[str], seconds: float) -> int:
    return run(list(words), seconds=seconds, leave=True).code


@contextmanager
def cleared_up(replacement: Replacement) -> Iterator[None]:
    """For the part before the stop: whatever ends it, nothing is left of it."""
    try:
        yield
    except BaseException:
        replacement.undo()
        raise
