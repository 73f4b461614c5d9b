"""What a machine remembers of its media: which ones there are, when each was used, what it held then.

It is a help for the staff and a guard against strangers, never a source of truth: every medium says
itself which one it is, and a machine that lost this file learns its media anew as they come back.
"""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Literal

import pydantic

from tasks.errors import StateError
from tasks.platform.files import write_atomic
from tasks.records import Record
from tasks.targets.drive.marker import MediumMarker

# Two years of nights: enough for the turn of any number of Fridays.
USES_KEPT = 800


class KnownMedium(Record):
    """A medium by its marker's id. ``held`` counts the verified backups that it held when last used."""

    target: str
    label: str
    id: str
    made: datetime
    held: int = 0


class Use(Record):
    """A medium that a proven backup went to. ``day`` is the run's date in the plan's zone."""

    target: str
    day: date
    label: str


class Media(Record):
    """All that is remembered, of all drive targets of a plan. ``uses`` is in the order of the runs."""

    format: Literal[1] = 1
    media: tuple[KnownMedium, ...] = ()
    uses: tuple[Use, ...] = ()

    def of(self, target: str) -> dict[str, KnownMedium]:
        """The media of a target by label."""
        return {medium.label: medium for medium in self.media if medium.target == target}

    def log(self, target: str) -> list[tuple[date, str]]:
        """The uses of a target's media, as tasks/policy/rotation.py takes them."""
        return [(use.day, use.label) for use in self.uses if use.target == target]

    def with_medium(self, marker: MediumMarker, held: int = 0) -> Media:
        """With that medium known under its label, in place of any other of that label."""
        fresh = KnownMedium(
            target=marker.target, label=marker.label, id=marker.id, made=marker.made, held=held
        )
        others = [one for one in self.media if (one.target, one.label) != (fresh.target, fresh.label)]
        media = sorted([*others, fresh], key=lambda one: (one.target, one.label))
        return self.model_copy(update={"media": tuple(media)})

    def with_use(self, marker: MediumMarker, day: date, held: int) -> Media:
        """With a use of that medium noted, once for each day, and what it holds now."""
        use = Use(target=marker.target, day=day, label=marker.label)
        uses = (*(one for one in self.uses if one != use), use)
        return self.with_medium(marker, held).model_copy(update={"uses": uses[-USES_KEPT:]})


def load_media(path: Path) -> Media:
    """What ``path`` holds; nothing remembered where there is no such file. Raises StateError."""
    try:
        return Media.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Media()
    except pydantic.ValidationError as error:
        raise StateError(
            f"{path}, what is remembered of the media, is damaged or of an unknown version",
            hint="Remove it: the media are learned anew, one by one, as they are plugged in.",
        ) from error
    except OSError as error:
        raise StateError(
            f"cannot read {path}: {error.strerror}", hint="Run Datasave under the account that made it."
        ) from error


def save_media(path: Path, media: Media) -> None:
    """Write ``path`` whole or not at all, readable by its owner alone. Raises StateError."""
    try:
        write_atomic(path, media.model_dump_json(indent=1).encode() + b"\n")
    except OSError as error:
        raise StateError(
            f"cannot write {path}: {error.strerror}", hint="Free some space there, and check its rights."
        ) from error
