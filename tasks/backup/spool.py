"""Sealed archives that wait in staging for a target that could not be reached."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from tasks.backup.copy import Copied
from tasks.backup.retain import shelf_of
from tasks.backup.workspace import Workspace, spools
from tasks.context import PlanContext
from tasks.errors import NoBackup, StateError, TargetError
from tasks.manifests.manifest import read_manifest
from tasks.platform.files import write_atomic
from tasks.records import Manifest, Record, Rehearsed, Run, Sealed

NAME = "spool.json"
LATEST = "latest"


class Spooled(Record):
    """A proven sealed archive in staging: all that delivering it takes."""

    run: Run
    sealed: Sealed
    rehearsed: Rehearsed

    def copied(self, workspace: Workspace) -> Copied:
        """The copy it was made of, which is gone; how many files it had is not known."""
        size = self._manifest().copy_bytes
        engine, listing = self.run.engine, workspace.listing
        return Copied(folder=workspace.copy, engine=engine, count=0, bytes=size, listing=listing)

    def sealed_whole(self) -> Sealed:
        """The sealed archive with what an earlier version didn't write down of it."""
        manifest = self._manifest()
        known = {"archive_bytes": manifest.archive_bytes, "archive_sha256": manifest.archive_sha256}
        return self.sealed.model_copy(update=known)

    def _manifest(self) -> Manifest:
        path = self.rehearsed.manifest
        try:
            return read_manifest(path.read_bytes())
        except OSError as error:
            raise _unreadable(path) from error


def remember(context: PlanContext, spooled: Spooled) -> None:
    """Write down beside the sealed archive what delivering it later takes; no secret is in it."""
    folder = Workspace(context.staging / spooled.run.id).sealed
    write_atomic(folder / NAME, spooled.model_dump_json().encode("utf-8"))


def waiting(context: PlanContext, wanted: str = LATEST) -> list[Spooled]:
    """The waiting archive of each source that ``wanted`` names: the latest, or the one of that number.

    In the plan's order. Raises NoBackup where none waits.
    """
    found = all_waiting(context)
    if not found:
        raise NoBackup(
            "no sealed archive waits in staging",
            hint="Those of failed runs wait there, the three newest, for seven days. `datasave backup` "
            "makes a new one.",
        )
    numbers = sorted({spooled.run.sequence for spooled in found})
    if wanted != LATEST:
        found = [spooled for spooled in found if wanted in (str(spooled.run.sequence), spooled.sealed.name)]
    if not found:
        told = ", ".join(f"#{number}" for number in numbers)
        raise NoBackup(
            f"no sealed archive {wanted} waits in staging", hint=f"Waiting: {told}. Or give `{LATEST}`."
        )
    newest = {s.run.source_name: s for s in sorted(found, key=lambda spooled: spooled.run.sequence)}
    return [newest[source_name] for source_name in context.source_names if source_name in newest]


def lacking(context: PlanContext, spooled: Spooled, names: list[str], *, exactly: bool = False) -> list[str]:
    """Those targets that hold neither this backup nor (unless ``exactly``) a newer one, or can't be asked."""
    return [name for name in names if not _holds(context, name, spooled.run, exactly)]


def spooled_in(context: PlanContext, workspace: Workspace) -> Spooled | None:
    """The proven archive that waits in a run's folder, None where none does.

    Its paths are those of today: the state folder may have been moved since.
    """
    spooled = _read(workspace.sealed / NAME) if workspace.holds_sealed() else None
    if spooled is None:
        return None
    run, sealed, rehearsed = spooled.run, spooled.sealed, spooled.rehearsed
    return Spooled(
        run=run.model_copy(update={"plan": context.path}),
        sealed=sealed.model_copy(update={"path": workspace.sealed / sealed.name}),
        rehearsed=rehearsed.model_copy(update={"manifest": workspace.sealed / rehearsed.manifest.name}),
    )


def all_waiting(context: PlanContext) -> list[Spooled]:
    """Every proven archive that waits in staging, newest first. Raises StateError."""
    found = (spooled_in(context, Workspace(folder)) for folder in spools(context.staging))
    return [spooled for spooled in found if spooled is not None]


def _holds(context: PlanContext, name: str, run: Run, exactly: bool) -> bool:
    try:
        with context.target(name) as target:
            shelf = shelf_of(context, target, run.source_name)
    except TargetError:
        return False
    numbers = [b.manifest.sequence for b in shelf if b.verified and b.manifest]
    return run.sequence in numbers or (not exactly and max(numbers, default=0) > run.sequence)


def _read(path: Path) -> Spooled | None:
    try:
        return Spooled.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None  # of a version that didn't write it, or swept meanwhile
    except (OSError, ValidationError) as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> StateError:
    return StateError(
        f"cannot read {path}", hint="Remove that run's folder from staging and make a new backup."
    )
