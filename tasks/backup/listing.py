"""The files of a copy, by name and digest: kept in staging, summed up in manifests, compared after a restore.

A file's name may be a patient's ("Smith, John.rtf"), and what one task hands to the next ends up in Prefect's
result store: so the list stays in a private file and only its path is handed on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from tasks.platform.files import sha256_of, write_atomic
from tasks.records import CopiedFile, Engine, Finding, LiveCopy, Record
from tasks.sources.shared.folders import copied_files

# A manifest is read whole before anything else; that of a folder with 100,000 files must stay small.
MOST_LISTED = 200
ALL = "*"
"""Stands for all files together, where they are too many to be listed one by one. No file has this name."""
NAMED = 3
CHECK = "files identical"


class Copied(Record):
    """A live copy as tasks hand it on. ``listing`` is a private file with a CopiedFile on each line."""

    folder: Path
    engine: Engine
    count: int
    bytes: int
    listing: Path

    @property
    def files(self) -> tuple[CopiedFile, ...]:
        """The copy's files, from the listing."""
        lines = self.listing.read_text("utf-8").splitlines()
        return tuple(CopiedFile.model_validate_json(line) for line in lines)


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
    """Whether the restored files are the recorded ones, in a single finding that names few."""
    if [file.path for file in recorded] == [ALL]:
        found = copied_files(restored)
        if digest_of(found) == recorded[0].sha256:
            return _good(len(found))
        return Finding(check=CHECK, passed=False, detail=f"{len(found):,} files, not all as recorded")
    wrong = [defect for file in recorded if (defect := _defect(restored, file))]
    if not wrong:
        return _good(len(recorded))
    more = f"; and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
    return Finding(check=CHECK, passed=False, detail="; ".join(wrong[:NAMED]) + more)


def _good(count: int) -> Finding:
    what = "1 file has its" if count == 1 else f"{count:,} files have their"
    return Finding(check=CHECK, passed=True, detail=f"{what} recorded sha256")


def _defect(restored: Path, file: CopiedFile) -> str:
    path = restored / file.path
    if not path.is_file():
        return f"{file.path} is missing"
    return "" if sha256_of(path) == file.sha256 else f"{file.path} differs from the copy"
