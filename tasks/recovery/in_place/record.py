"""The journal of a restore in place: what is to be done, and which steps are signed off.

One small file in the state folder, replaced atomically and fsynced at each step, so that whoever comes after
a power cut knows how far it got. It holds paths and times, nothing of the data. It stays when all is done,
for as long as the old data does: ``datasave restore --undo`` still needs it then.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from tasks.errors import StateError
from tasks.platform.files import private_folder, sync_folder, write_atomic
from tasks.records import Record

Phase = Literal[
    "begun",
    "proved",
    "built",
    "stopping",
    "stopped",
    "duplicating",
    "moving",
    "moved",
    "placed",
    "opened",
    "starting",
    "started",
    "done",
    "discarding",
    "undoing",
    "withdrawn",
    "back",
]
"""The steps, in order; each is signed off when it is finished, those in -ing before they begin.

From "undoing" on the old data is on its way back, whatever was signed before.
"""

FOLDER = "in-place"


class Journal(Record):
    """One restore in place. Paths are absolute.

    ``live`` is the place; ``beside`` the files that belong to it where it is a file. ``aside`` is where the
    old data goes, and ``old`` what of it there was, by name. ``linked``: all of it was duplicated there by
    hard links first. ``room`` is a private folder beside ``live``; in it ``fresh`` is what takes the place,
    ``digest`` its sha256 where it is one file.
    """

    format: Literal[1] = 1
    source: str
    backup: str
    taken: datetime
    live: Path
    beside: tuple[Path, ...]
    folder: bool
    deep: bool
    owner: str | None
    aside: Path
    room: Path
    old: tuple[str, ...] = ()
    linked: bool = False
    fresh: Path | None = None
    digest: str = ""
    signed: dict[Phase, datetime] = Field(default_factory=dict)

    def has(self, phase: Phase) -> bool:
        """Whether that step is signed off."""
        return phase in self.signed


class JournalFile:
    """Where the journal of one source lies."""

    def __init__(self, state: Path, source: str) -> None:
        self.path = state / FOLDER / f"{source}.json"

    def read(self) -> Journal | None:
        """The journal, None where there is none. Raises StateError where it cannot be read."""
        try:
            return Journal.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise StateError(
                f"cannot read the journal of a restore in place, {self.path}",
                hint="Look beside the live data: DATASAVE is the old data, rename it back if need be.",
            ) from error

    def unfinished(self) -> Journal | None:
        """The journal of a restore that was cut off, None where there is none."""
        journal = self.read()
        under_way = journal is not None and (journal.has("undoing") or journal.has("discarding"))
        whole = journal is None or (journal.has("done") and not under_way)
        return None if whole else journal

    def sign(self, journal: Journal, phase: Phase, **facts: object) -> Journal:
        """Sign a step off, with what it settled; durable when this returns."""
        now = datetime.now(UTC).replace(microsecond=0)
        signed = journal.model_copy(update={"signed": {**journal.signed, phase: now}, **facts})
        private_folder(self.path.parent)
        write_atomic(self.path, signed.model_dump_json(indent=1).encode())
        return signed

    def remove(self) -> None:
        """Forget it: one of the two states is whole, and nothing of the other is left."""
        self.path.unlink(missing_ok=True)
        if self.path.parent.is_dir():
            sync_folder(self.path.parent)


def refuse_unfinished(state: Path, source: str) -> None:
    """Raise StateError where a restore in place of ``source`` was cut off: its data may be half moved."""
    journal = JournalFile(state, source).unfinished()
    if journal is not None:
        raise StateError(
            f"a restore in place of {journal.live} was cut off",
            hint="Run `datasave restore --resume` to finish it, or `datasave restore --undo` to have the old "
            "data back.",
        )
