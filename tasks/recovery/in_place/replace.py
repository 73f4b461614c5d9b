"""Restore in place: the old data is put aside as DATASAVE, the proven copy takes its place.

Fetching, opening, proving and building the new data are done first, beside the live data and with everybody
still at work. Only then the engine stops; two renames follow, the new data is opened where it now lies and
compared with the manifest, the engine starts. Every step is noted in a file (record.py) when it is done. A
failure after the stop puts the old data back; what is killed is finished by ``--resume`` or taken back by
``--undo``, from any point.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tasks.backup.validate import require
from tasks.checks.judge import judge_tables
from tasks.checks.measure import profile
from tasks.errors import DatasaveError, MismatchError, SourceError, StateError
from tasks.notices.wording import size_text
from tasks.platform.files import private_folder, write_atomic
from tasks.platform.processes import run
from tasks.platform.trees import remove_tree, sync_tree
from tasks.records import Contents, Finding, Manifest
from tasks.recovery.in_place import moves
from tasks.recovery.in_place.record import InPlaceRecord, Phase, RecordFile
from tasks.recovery.recover import Recovered
from tasks.sources.capabilities import SupportsInPlace, tables_for
from tasks.sources.shared.live_data import InPlaceOptions, LiveData

DOWN = (
    "THE ENGINE MAY BE DOWN: nobody can work until it runs. Run `datasave restore --undo` again, or start it "
    "by hand, then find out why."
)
IN_USE_HINT = (
    "Close that program, or say in the plan how it is stopped and started: "
    "`in_place: {stop: […], start: […]}` under the source."
)
KEPT = "The old data is where it was."
SPARE = 1.05
"""Factor on the disk space that a restore in place is estimated to take."""

Tell = Callable[[str], None]


def refuse_hopeless(
    source: SupportsInPlace, place: LiveData, manifest: Manifest, ours: Sequence[Path]
) -> None:
    """Raise StateError or SourceError where a restore in place could not be finished.

    ``ours`` are files and folders that Datasave itself needs meanwhile.
    """
    for path in ours:
        if place.folder and path.absolute().is_relative_to(place.path):
            raise StateError(
                f"cannot restore in place of {place.path}: {path} lies in it",
                hint="Plan, state, keys and backups must lie elsewhere: move them, or use `--to FOLDER`.",
            )
    # Both would take the name DATASAVE: undoing the one could move, or remove, the old data of the other.
    other = moves.room_of_another(place.path, manifest.source)
    if other is not None:
        raise StateError(
            f"a restore in place of {other.name.removeprefix(moves.ROOM)} is unfinished in {other.parent}",
            hint="End that one first, with its plan: `datasave restore --resume`, or `--undo`. Where no plan "
            f"knows of it any more, look at {other} and remove it.",
        )
    if not moves.may_apply_owner(place):
        raise SourceError(
            f"cannot restore in place of {place.path}: it belongs to another account",
            hint="Run this command as root (or as that account).",
        )
    needed = room_needed(source, manifest)
    free = shutil.disk_usage(place.path.parent).free
    if free < needed:
        raise StateError(
            f"{place.path.parent} has {size_text(free)} free; old and new data side by side need "
            f"{size_text(needed)} more",
            hint="Free some space on that disk, or restore to another one with `--to FOLDER`.",
        )
    holder = source.in_use(place)
    if holder and not source.in_place_options().stop:
        raise SourceError(f"{place.path} is in use by {holder}", hint=IN_USE_HINT)


def room_needed(source: SupportsInPlace, manifest: Manifest) -> int:
    """Bytes beside the old data: the unpacked copy, the new data, and a clone for engines that need one."""
    return int(manifest.copy_bytes * (3 if source.clones else 2) * SPARE)


def steps_of(source: SupportsInPlace, place: LiveData) -> list[str]:
    """What a restore in place will do, for people."""
    commands = source.in_place_options()
    words = [
        f"fetch the backup, open it and prove it, in a private folder in {place.path.parent}",
        "make the new data there; up to here nobody notices anything",
        f"stop: {' '.join(commands.stop)}" if commands.stop else "see that nobody uses the data",
        _put_aside(place),
        f"rename the new data to {place.path}",
        "open it there and compare every table or file with the manifest",
        *([f"start: {' '.join(commands.start)}, and see that it answers"] if commands.start else []),
        *([f"keep {moves.aside_for(place.path)} until you say that it may go"] if place.there else []),
    ]
    return [f"{number}. {step}" for number, step in enumerate(words, 1)]


def _put_aside(place: LiveData) -> str:
    if not place.there:
        return f"nothing to put aside: {place.path} is gone"
    aside = moves.aside_for(place.path)
    names = " and ".join(path.name for path in place.there)
    return f"rename {place.path} to {aside}" if place.folder else f"move {names} into the folder {aside}"


@dataclass
class Replacement:
    """One restore in place under way: its source, its record, and a way to say what is being done."""

    source: SupportsInPlace
    file: RecordFile
    record: InPlaceRecord
    tell: Tell

    @property
    def place(self) -> LiveData:
        """The live place, as it was when all this began."""
        record = self.record
        return LiveData(record.live, record.folder, record.beside, record.deep, record.owner)

    @property
    def commands(self) -> InPlaceOptions:
        """The plan's commands, as they are now."""
        return self.source.in_place_options()

    def note(self, phase: Phase, **facts: object) -> None:
        """Note a step."""
        self.record = self.file.note(self.record, phase, **facts)

    def build(self, recovered: Recovered) -> None:
        """Make the new data beside the live, from a copy that was proven. Nothing is stopped yet."""
        write_atomic(self.record.room / "recorded.json", recovered.contents.model_dump_json().encode())
        self.note("proved")
        self.tell(f"making the new data beside {self.record.live}")
        fresh = self.source.build(recovered.folder, self.record.room / "new")
        sync_tree(fresh)  # on disk before anything depends on it
        self.note("built", fresh=fresh, digest=moves.digest_of(fresh))

    def forward(self, *, again: bool = False) -> tuple[Finding, ...]:
        """Do all steps that are not done yet; what was found in the live place.

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
        if not self.record.has("stopped"):
            self.note("stopping")
            self._stop(tolerant=again)
            self.note("stopped")
        if not self.record.has("moved"):
            self._aside()
        if not self.record.has("placed"):
            self.tell(f"the restored data takes the place {self.record.live}")
            moves.place_fresh(self.record)
            self.note("placed")
        if not self.record.has("opened"):
            self.tell("opening it in its place, and comparing it with the manifest")
            findings = self._opened()
            if self.place.deep:
                moves.apply_owner(self.record.live, self.record)
            self.note("opened")
        if not self.record.has("started"):
            if self.record.has("starting"):
                self._stop(tolerant=True)
            self.note("starting")
            self._start()
            self.note("started")
        remove_tree(self.record.room)
        self.note("done")
        return findings

    def undo(self) -> Path | None:
        """Put the old data back and start the engine; the path of what had been restored, if it is kept.

        May be cut off and called again. Raises DatasaveError or OSError; StateError, with nothing done,
        where the old data is no longer where it was put.
        """
        self._require_old()
        stopped = self.record.has("stopping")
        kept = None
        self.note("undoing")
        if stopped:
            # In whatever state the engine was left: only a stopped one is started for certain.
            self._stop(tolerant=True)
            if not self.record.has("withdrawn"):
                private_folder(self.record.room)
                kept = moves.withdraw(self.record, self.place)
                self.note("withdrawn")
            self._put_back()
            self.note("back")
            self._start()
        remove_tree(self.record.room)
        self.file.remove()
        return kept

    def discard(self) -> None:
        """Remove the old data for good."""
        self.note("discarding")
        remove_tree(self.record.aside)
        self.file.remove()

    def _require_old(self) -> None:
        """Raise StateError where the old data is gone: its place must not be cleared for nothing."""
        record = self.record
        if not record.has("withdrawn") and moves.old_is_lost(record):
            raise StateError(
                f"the old data is not in {record.aside} any more",
                hint=f"{record.live} was left as it is. Where you moved the old data, move it back to that "
                "place; where it was deleted, `datasave restore --discard-old` ends this.",
            )

    def _put_back(self) -> None:
        record = self.record
        if record.has("duplicating") and not record.has("moving"):
            moves.drop_duplicates(record)
        elif record.has("moving"):
            self.tell(f"{record.aside.name} is put back")
            moves.put_back(record)

    def _aside(self) -> None:
        record = self.record
        if not record.has("moving"):
            self.note("duplicating", old=tuple(path.name for path in self.place.there))
            self.note("moving", linked=moves.duplicate_aside(self.record, self.place))
        self.tell(f"{record.live} becomes {record.aside.name}")
        if not self.place.deep and self.record.fresh:
            moves.apply_owner(self.record.fresh, self.record)
        moves.move_aside(self.record)
        self.note("moved")

    def _opened(self) -> tuple[Finding, ...]:
        room = self.record.room
        copy = room / "restored"
        recorded = Contents.model_validate_json((room / "recorded.json").read_bytes()).profile
        scratch = private_folder(room / "opened")
        if self.place.deep:
            moves.revert_owner(self.record.live)  # a try before may have got as far as giving it away
        findings = self.source.compare_live(copy, self.place)
        with self.source.open_live(copy, self.place, scratch) as connection:
            if connection is not None:
                found = profile(connection, tables_for(self.source, connection, recorded))
                findings += judge_tables(recorded, found)
        # What could not be checked was decided when the copy was proven, before anything was stopped.
        require(findings, f"what lies at {self.record.live} is not what was recorded", MismatchError, KEPT)
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
                raise SourceError(f"{self.record.live} is in use by {holder}", hint=IN_USE_HINT)
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
                hint=f"The old data is whole, in {self.record.aside} or its own place. {DOWN}",
            ) from error
        self.tell(f"the old data is back in {self.record.live}, nothing of it was changed")
        if kept is not None:
            self.tell(f"what had been restored, and may have been added to, is kept in {kept}")


def begin(file: RecordFile, manifest: Manifest, place: LiveData) -> InPlaceRecord:
    """Open the record of a new restore in place, with its private room beside the live data."""
    room = moves.room_for(place.path, manifest.source)
    record = InPlaceRecord(
        source=manifest.source,
        backup=manifest.sealed_name,
        taken=manifest.taken,
        live=place.path,
        beside=place.beside,
        folder=place.folder,
        deep=place.deep,
        owner=place.owner,
        aside=moves.aside_for(place.path),
        room=room,
    )
    signed = file.note(record, "begun")
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


def strays(record: InPlaceRecord) -> list[str]:
    """What lay beside the old data in its folder and is not in the restored one, the first few by name."""
    if not (record.folder and record.aside.is_dir()):
        return []
    with suppress(OSError):
        return sorted(
            {path.name for path in record.aside.iterdir()} - {path.name for path in record.live.iterdir()}
        )
    return []
