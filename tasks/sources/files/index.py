"""The index of a copied folder: ``index.jsonl``, one JSON object a line: whatever a tar cannot hold.

The first line is about the copy as a whole, ``{"format": 1, "system": "posix", "notes": {…}}``. Each line
after it is a folder, a file or a symbolic link:

- ``path``     in the original folder, forward slashes, as ``text_of`` writes names (%XX for odd bytes)
- ``kind``     file, folder or link; ``path`` "." is the folder itself
- ``mode``     permission bits, octal; ``mtime`` in seconds since 1970 with nine decimals
- ``stored``, ``size``, ``sha256``   a file's place in the copy and its contents
- ``same_as``  the path of another file that this is a hard link to
- ``target``   where a link points, written like ``path``; links are in the index only
- ``owner``, ``group`` (name and number)   where the system has such

A file lies in the copy under its own name wherever every system could hold that name. Where one could not
(tasks/platform/names.py: bytes that are no text, characters and devices that Windows keeps for itself, ``A``
beside ``a``, a path that is too long), it lies there under a stand-in, and its ``path`` says whose.

The last line, ``{"entries": n, "sha256": …}``, is over all bytes before it, so that a damaged or shortened
index shows. Folders stand before what they hold. Extended attributes, access lists, alternate data
streams and Windows' hidden and system attributes are not kept; sparse files come back full.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tasks.errors import ValidationError
from tasks.platform.files import create_private
from tasks.platform.names import folded, numbered, path_of, portable, text_of
from tasks.records import CopiedFile

INDEX = "index.jsonl"
ROOT = "."

CONTENTS = "files"
"""The folder of a copy that mirrors the original one."""

OVERLONG = "long"
"""The folder of a copy for files whose path would be too long inside CONTENTS; they are numbered."""

# Staging adds its own path in front: Linux takes 4096 bytes in all, Windows 260 unless told otherwise.
_LONGEST_PLACE = 160 if os.name == "nt" else 2048
_NANO = 10**9
_TIME = re.compile(r"-?\d{1,18}\.\d{9}")
_KINDS = ("file", "folder", "link")
_HINT = "Restore the copy again from the archive, or take an older backup."

Account = tuple[str, int]
"""Name ("" where the number has none) and number of a user or group."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the index. ``path`` and ``target`` are as the system gives them (surrogateescape)."""

    path: str
    kind: Literal["file", "folder", "link"]
    mode: int
    mtime_ns: int
    stored: str = ""
    size: int = 0
    sha256: str = ""
    same_as: str = ""
    target: str = ""
    owner: Account | None = None
    group: Account | None = None


@dataclass
class Notes:
    """What happened beside the copying: for each sort of event how often, and the first names."""

    counts: dict[str, int] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)

    MOST = 5

    def add(self, sort: str, name: str) -> None:
        """Note one more; ``name`` is ready for a report."""
        self.counts[sort] = self.counts.get(sort, 0) + 1
        kept = self.names.setdefault(sort, [])
        if len(kept) < self.MOST:
            kept.append(name)

    def as_json(self) -> dict[str, Any]:
        """As in the index's first line."""
        return {sort: [count, *self.names[sort]] for sort, count in self.counts.items()}


@dataclass(frozen=True)
class Index:
    """A whole index that was read back. ``sha256`` is the one in its last line."""

    system: str
    notes: Notes
    entries: tuple[Entry, ...]
    sha256: str


class StandIns:
    """Gives each path of the folder its place in the copy. A folder must be given before what it holds."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {"": CONTENTS}
        self._taken: set[str] = set()
        self._overlong = 0

    def folder(self, path: str) -> str:
        """The place of a folder in the copy, or "" where only its files have one."""
        self._folders[path] = self._place(path)
        return self._folders[path]

    def file(self, path: str) -> str:
        """The place of a file in the copy: relative, forward slashes, plain text, no other has it."""
        place = self._place(path)
        if not place:
            self._overlong += 1
            place = f"{OVERLONG}/{self._overlong:08d}"
        return place

    def _place(self, path: str) -> str:
        parent, _, name = path.rpartition("/")
        above = self._folders[parent]
        if not above:
            return ""
        wanted = portable(name)
        place, number = f"{above}/{wanted}", 1
        while (same := folded(place)) in self._taken:
            number += 1
            place = f"{above}/{numbered(wanted, number)}"
        if len(os.fsencode(place)) > _LONGEST_PLACE:
            return ""
        self._taken.add(same)
        return place


def write_index(folder: Path, system: str, notes: Notes, entries: Iterable[Entry]) -> CopiedFile:
    """Write the index into the copy. Raises OSError."""
    over, whole, size, count = hashlib.sha256(), hashlib.sha256(), 0, 0
    with create_private(folder / INDEX) as stream:

        def put(line: dict[str, Any]) -> None:
            nonlocal size
            data = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
            stream.write(data)
            over.update(data)
            whole.update(data)
            size += len(data)

        put({"format": 1, "system": system, "notes": notes.as_json()})
        for entry in entries:
            put(_line(entry))
            count += 1
        put({"entries": count, "sha256": over.hexdigest()})
    return CopiedFile(path=INDEX, bytes=size, sha256=whole.hexdigest())


def read_index(folder: Path) -> Index:
    """Read the index of a copy back. Raises ValidationError where it is missing, damaged or senseless."""
    try:
        with (folder / INDEX).open("rb") as stream:
            lines = list(stream)
    except OSError as error:
        cause = "there is none" if isinstance(error, FileNotFoundError) else error.strerror
        raise ValidationError(f"cannot read the index of the copy in {folder}: {cause}", hint=_HINT) from None
    try:
        return _index_of(lines)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        # `from None`: the text of such an error quotes the line.
        raise ValidationError(f"the index of the copy in {folder} is damaged", hint=_HINT) from None


def _line(entry: Entry) -> dict[str, Any]:
    seconds, nanos = divmod(entry.mtime_ns, _NANO)
    line: dict[str, Any] = {
        "path": text_of(entry.path),
        "kind": entry.kind,
        "mode": f"{entry.mode:04o}",
        "mtime": f"{seconds}.{nanos:09d}",
    }
    if entry.kind == "file":
        line |= {"stored": entry.stored, "size": entry.size, "sha256": entry.sha256}
    if entry.same_as:
        line["same_as"] = text_of(entry.same_as)
    if entry.kind == "link":
        line["target"] = text_of(entry.target)
    if entry.owner and entry.group:
        line |= {"owner": entry.owner, "group": entry.group}
    return line


def _index_of(lines: list[bytes]) -> Index:
    head, *middle, last = lines
    first, end = json.loads(head), json.loads(last)
    digest = hashlib.sha256()
    for line in lines[:-1]:
        digest.update(line)
    if first["format"] != 1 or end != {"entries": len(middle), "sha256": digest.hexdigest()}:
        raise ValueError
    notes = Notes({sort: int(found[0]) for sort, found in first["notes"].items()})
    notes.names = {sort: [str(name) for name in found[1:]] for sort, found in first["notes"].items()}
    return Index(str(first["system"]), notes, tuple(_sound(middle)), end["sha256"])


def _sound(lines: list[bytes]) -> Iterator[Entry]:
    """The entries, as long as they make a folder: nothing outside it, nothing twice, nothing in a file."""
    folders, seen, files = {""}, set(), set()
    for line in lines:
        entry = _entry(json.loads(line))
        parent, _, name = entry.path.rpartition("/")
        if entry.path in seen or parent not in folders or name in ("", "..") or "\0" in entry.path:
            raise ValueError
        if name == ROOT and (parent or entry.kind != "folder"):
            raise ValueError
        if entry.same_as and entry.same_as not in files:
            raise ValueError
        seen.add(entry.path)
        if entry.kind == "folder":
            folders.add(entry.path)
        elif entry.kind == "file":
            files.add(entry.path)
        yield entry


def _entry(line: dict[str, Any]) -> Entry:
    kind, time, stored = line["kind"], line["mtime"], str(line.get("stored", ""))
    parts = stored.split("/")
    misplaced = kind == "file" and (parts[0] not in (CONTENTS, OVERLONG) or {"", ".", ".."} & {*parts})
    if kind not in _KINDS or not _TIME.fullmatch(time) or misplaced:
        raise ValueError
    seconds, _, nanos = time.partition(".")
    return Entry(
        path=path_of(line["path"]),
        kind=kind,
        mode=int(line["mode"], 8) & 0o7777,
        mtime_ns=int(seconds) * _NANO + int(nanos),
        stored=stored,
        size=int(line.get("size", 0)),
        sha256=str(line.get("sha256", "")),
        same_as=path_of(line.get("same_as", "")),
        target=path_of(line.get("target", "")),
        owner=_account(line.get("owner")),
        group=_account(line.get("group")),
    )


def _account(pair: Any) -> Account | None:
    return (str(pair[0]), int(pair[1])) if pair else None
