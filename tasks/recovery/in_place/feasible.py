"""Around a restore in place: whether it can be done here, what will be done, what is only in the old data."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tasks.errors import SourceError, StateError
from tasks.notices.wording import size_text
from tasks.records import Manifest
from tasks.recovery.in_place import moves as moving
from tasks.recovery.in_place.record import Journal
from tasks.sources.capabilities import SupportsInPlace
from tasks.sources.shared.live_data import LiveData

SPARE = 1.05


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
    other = moving.room_of_another(place.path, manifest.source)
    if other is not None:
        raise StateError(
            f"a restore in place of {other.name.removeprefix(moving.ROOM)} is unfinished in {other.parent}",
            hint="End that one first, with its plan: `datasave restore --resume`, or `--undo`. Where no plan "
            f"knows of it any more, look at {other} and remove it.",
        )
    if not moving.may_dress(place):
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
        raise SourceError(
            f"{place.path} is in use by {holder}",
            hint="Close that program, or say in the plan how it is stopped and started: "
            "`in_place: {stop: […], start: […]}` under the source.",
        )


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
        *([f"keep {moving.aside_for(place.path)} until you say that it may go"] if place.there else []),
    ]
    return [f"{number}. {step}" for number, step in enumerate(words, 1)]


def _put_aside(place: LiveData) -> str:
    if not place.there:
        return f"nothing to put aside: {place.path} is gone"
    aside = moving.aside_for(place.path)
    names = " and ".join(path.name for path in place.there)
    return f"rename {place.path} to {aside}" if place.folder else f"move {names} into the folder {aside}"


def strays(journal: Journal) -> list[str]:
    """What lay beside the old data in its folder and is not in the restored one, the first few by name."""
    if not (journal.folder and journal.aside.is_dir()):
        return []
    with suppress(OSError):
        return sorted(
            {path.name for path in journal.aside.iterdir()} - {path.name for path in journal.live.iterdir()}
        )
    return []
