"""The record of a restore in place: what is to be done, and which steps are done.

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
"""The steps, in order; each is noted when it is finished, those in -ing before they begin.

From "undoing" on the old data is on its way back, whatever was noted before.
"""

FOLDER = "in-place"


class InPlaceRecord(Record):
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
        """Whether that step was noted."""
        return phase in self.signed


class RecordFile:
    """The file that holds the record of one source."""

    def __init__(self, state: Path, source: str) -> None:
        self.path = state / FOLDER / f"{source}.json"

    def read(self) -> InPlaceRecord | None:
        """The record, None where there is none. Raises StateError where it cannot be read."""
        try:
            return InPlaceRecord.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise StateError(
                f"cannot read the record of a restore in place, {self.path}",
                hint="Look beside the live data: DATASAVE is the old data, rename it back if need be.",
            ) from error

    def unfinished(self) -> InPlaceRecord | None:
        """The record of a restore that was cut off, None where there is none."""
        record = self.read()
        under_way = record is not None and (record.has("undoing") or record.has("discarding"))
        whole = record is None or (record.has("done") and not under_way)
        return None if whole else record

    def note(self, record: InPlaceRecord, phase: Phase, **facts: object) -> InPlaceRecord:
        """Note a step, with the facts that it settled; durable when this returns."""
        now = datetime.now(UTC).replace(microsecond=0)
        signed = record.model_copy(update={"signed": {**record.signed, phase: now}, **facts})
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
    record = RecordFile(state, source).unfinished()
    if record is not None:
        raise StateError(
            f"a restore in place of {record.live} was cut off",
            hint="Run `datasave restore --resume` to finish it, or `datasave restore --undo` to have the old "
            "data back.",
        )
