"""Sealed archives that wait in staging for a target that could not be reached."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from tasks.errors import NoBackup, StateError, TargetError
from tasks.files import write_atomic
from tasks.records import Record, Rehearsed, Run, Sealed
from tasks.steps.office import Office
from tasks.steps.retaining import shelf_of
from tasks.steps.workspace import Workspace, spools

NAME = "spool.json"


class Spooled(Record):
    """A proven sealed archive in staging: all that delivering it takes."""

    run: Run
    sealed: Sealed
    rehearsed: Rehearsed


def remember(office: Office, spooled: Spooled) -> None:
    """Write down beside the sealed archive what delivering it later takes; no secret is in it."""
    folder = Workspace(office.staging / spooled.run.id).sealed
    write_atomic(folder / NAME, spooled.model_dump_json().encode("utf-8"))


def waiting(office: Office) -> list[Spooled]:
    """The newest waiting archive of each source, the plan's order. Raises NoBackup where none waits."""
    found: dict[str, Spooled] = {}
    for folder in spools(office.staging):
        spooled = _read(Workspace(folder).sealed / NAME)
        if spooled is not None:
            known = found.get(spooled.run.part)
            if known is None or known.run.sequence < spooled.run.sequence:
                found[spooled.run.part] = spooled
    if not found:
        raise NoBackup(
            "no sealed archive waits in staging",
            hint="Those of failed runs wait there, the three newest, for seven days. `datasave backup` "
            "makes a new one.",
        )
    return [found[part] for part in office.parts if part in found]


def lacking(office: Office, spooled: Spooled, names: list[str]) -> list[str]:
    """Those targets that hold neither this backup nor a newer one, or can't be asked."""
    return [name for name in names if not _holds(office, name, spooled.run)]


def _holds(office: Office, name: str, run: Run) -> bool:
    try:
        with office.target(name) as target:
            shelf = shelf_of(office, target, run.part)
    except TargetError:
        return False
    return any(b.verified and b.manifest and b.manifest.sequence >= run.sequence for b in shelf)


def _read(path: Path) -> Spooled | None:
    try:
        return Spooled.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None  # of a version that didn't write it, or swept meanwhile
    except (OSError, ValidationError) as error:
        raise StateError(
            f"cannot read {path}", hint="Remove that run's folder from staging and make a new backup."
        ) from error
