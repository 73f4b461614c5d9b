"""The live copy in staging and the list of its files; a plain copy for a person who asked for one.

A file's name may be a patient's ("Smith, John.rtf"), and what one task hands to the next ends up in Prefect's
result store: so the list stays in a private file and only its path is handed on. It is summed up in manifests
and compared after a restore.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tasks.backup.workspace import Workspace
from tasks.context import PlanContext
from tasks.errors import SourceError
from tasks.platform.files import private_folder, write_atomic
from tasks.platform.mounts import refuse_network
from tasks.records import CopiedFile, Engine, Finding, LiveCopy, Progress, Record, Run, no_progress
from tasks.sources.shared.folders import copied_files
from tasks.targets.shared.marker import MARKER

# A manifest is read whole before anything else; that of a folder with 100,000 files must stay small.
MOST_LISTED = 200
ALL = "*"
"""Stands for all files together, where they are too many to be listed one by one. No file has this name."""
NAMED = 3
CHECK = "files identical"
FOLDER = "copies"
"""Where copies go for which no folder was named, in the plan's state folder."""


class Copied(Record):
    """A live copy as tasks hand it on. ``listing`` is a private file with a CopiedFile on each line."""

    folder: Path
    engine: Engine
    count: int
    bytes: int
    listing: Path

    def read_files(self) -> tuple[CopiedFile, ...]:
        """The copy's files; reads the listing."""
        lines = self.listing.read_text("utf-8").splitlines()
        return tuple(CopiedFile.model_validate_json(line) for line in lines)


def live_copy(context: PlanContext, run: Run, progress: Progress = no_progress) -> Copied:
    """Copy the running source into its workspace."""
    workspace = Workspace(context.staging / run.id)
    copy = context.source(run.source_name).copy_live(workspace.fresh(workspace.copy), progress)
    return listed(copy, workspace.listing)


def listed(copy: LiveCopy, listing: Path) -> Copied:
    """Write the list of a copy's files; the record that is handed on."""
    lines = "".join(f"{file.model_dump_json()}\n" for file in copy.files)
    write_atomic(listing, lines.encode("utf-8"))
    return Copied(
        folder=copy.folder, engine=copy.engine, count=len(copy.files), bytes=copy.bytes, listing=listing
    )


def summed_up(files: Sequence[CopiedFile]) -> tuple[CopiedFile, ...]:
    """What a manifest records of the files: each, or where they are many one entry for all of them."""
    if len(files) <= MOST_LISTED:
        return tuple(files)
    total = sum(file.bytes for file in files)
    return (CopiedFile(path=ALL, bytes=total, sha256=digest_of(files)),)


def digest_of(files: Iterable[CopiedFile]) -> str:
    """One sha256 over names, sizes and digests of all files, in the order of their names."""
    hasher = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.path):
        line = f"{file.sha256} {file.bytes} {file.path}\n"
        hasher.update(line.encode("utf-8", "surrogateescape"))
    return hasher.hexdigest()


def identical(restored: Path, recorded: Sequence[CopiedFile]) -> Finding:
    """Whether the restored files are the recorded ones and no others, in a single finding that names few."""
    found = copied_files(restored)
    if [file.path for file in recorded] == [ALL]:
        if digest_of(found) == recorded[0].sha256:
            return _good(len(found))
        return Finding(check=CHECK, passed=False, detail=f"{len(found):,} files, not all as recorded")
    wrong = _differing(
        {file.path: file.sha256 for file in found}, {file.path: file.sha256 for file in recorded}
    )
    if not wrong:
        return _good(len(found))
    more = f"; and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
    return Finding(check=CHECK, passed=False, detail="; ".join(wrong[:NAMED]) + more)


def _good(count: int) -> Finding:
    what = "1 file has its" if count == 1 else f"{count:,} files have their"
    return Finding(check=CHECK, passed=True, detail=f"{what} recorded sha256")


def _differing(found: Mapping[str, str], recorded: Mapping[str, str]) -> list[str]:
    """What is wrong with files, by their sha256 in lowercase hex; those that are missing or altered first."""
    wrong = [
        f"{name} {'differs from the copy' if name in found else 'is missing'}"
        for name, sha256 in recorded.items()
        if found.get(name) != sha256
    ]
    return wrong + [f"{name} is no file of the copy" for name in found if name not in recorded]


def place_for(context: PlanContext, run_name: str, wanted: Path | None) -> Path:
    """The folder for a copy: the one that was asked for, else a new one in the plan's state folder.

    Raises SourceError where it is no place for readable patient data: not empty, on the network, on a
    target, or in staging, which is cleared.
    """
    folder = (wanted or context.state / FOLDER / run_name).absolute()
    hint = "Name a new folder on a disk of this machine. The copy is readable for whoever finds it."
    refuse_occupied(folder, "copy")
    refuse_network(folder, hint)
    above = (folder, *folder.parents)
    if context.staging in above or any((path / MARKER).is_file() for path in above):
        what = "staging, which is cleared" if context.staging in above else "a place for sealed backups"
        raise SourceError(f"cannot copy into {folder}: it is in {what}", hint=hint)
    return folder


def put_in_place(context: PlanContext, run: Run, copy: Copied, folder: Path) -> Path:
    """Put a checked copy where a person can use it, in the clear; the path to open."""
    # Asked again: the check took its time.
    refuse_occupied(folder, "copy")
    private_folder(folder)
    return context.source(run.source_name).restore(copy.folder, folder)


def refuse_occupied(destination: Path, what: str = "restore") -> None:
    """Raise SourceError where ``destination`` holds anything: a restore or a copy never overwrites."""
    try:
        occupied = destination.exists() and (not destination.is_dir() or any(destination.iterdir()))
    except OSError as error:
        raise SourceError(
            f"cannot {what} into {destination}: {error.strerror}", hint="Give a folder that you may use."
        ) from error
    if occupied:
        raise SourceError(
            f"cannot {what} into {destination}: it is not empty",
            hint="Give a new folder. Nothing that exists is ever overwritten.",
        )
