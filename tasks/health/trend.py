"""What each run saw of each source, kept in the state folder: the yardstick for the next run.

The manifests' own counts are encrypted for the holders, and this machine has no key of theirs. The file is
private and holds counts only. Where it is missing (a new machine) nothing is suspicious at first. Of the
files of a copy it holds what shows from outside: headers, names, a sample of their bytes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from tasks.backup.copy import Copied
from tasks.context import PlanContext
from tasks.errors import StateError
from tasks.platform.files import private_folder, write_atomic
from tasks.policy.file_signs import (
    BLOCK,
    EXTENSIONS_KEPT,
    HEAD,
    NOTE,
    PACKED,
    RANSOM,
    FileSigns,
    extension_of,
    fits,
    is_noise,
)
from tasks.policy.trend_rules import Snapshot, anomalies, pause
from tasks.records import Archived, CopiedFile, Run, Validated

KEPT = 400
# A sample: the same files each night, and some two hundred blocks of each large one at the most.
MOST_FILES = 5_000
MOST_BLOCKS = 200
_SNAPSHOTS = TypeAdapter(tuple[Snapshot, ...])


def history(context: PlanContext, source_name: str) -> tuple[Snapshot, ...]:
    """The source's snapshots, oldest first. Raises StateError where the file is damaged."""
    path = _path(context, source_name)
    try:
        return _SNAPSHOTS.validate_json(path.read_bytes())
    except FileNotFoundError:
        return ()
    except ValidationError as error:
        raise StateError(
            f"the record of earlier runs {path} is damaged",
            hint="Look at the newest backups with `datasave drill`. If they are good, delete that file.",
        ) from error


def look(context: PlanContext, run: Run, copy: Copied, archived: Archived, validated: Validated) -> Snapshot:
    """What a run saw, judged by the runs before it that were trusted. Nothing is remembered yet."""
    snapshot = Snapshot(
        sequence=run.sequence,
        taken=run.started,
        copy_bytes=copy.bytes,
        archive_bytes=archived.bytes,
        tables=validated.profile.tables,
        files=signs_of(copy.folder, copy.read_files()),
    )
    seen = history(context, run.source_name)
    trusted = [old for old in seen if not old.anomalies and old.sequence != run.sequence]
    found = anomalies(trusted, snapshot, context.plan.alarm, accepted_through(context, run.source_name))
    marks = tuple(dict.fromkeys(one.sign for one in found))
    return snapshot.model_copy(update={"anomalies": tuple(one.detail for one in found), "marks": marks})


def remember(context: PlanContext, source_name: str, snapshot: Snapshot) -> None:
    """Keep what a run saw: from now on it is the newest."""
    seen = history(context, source_name)
    _write(context, source_name, [*(old for old in seen if old.sequence != snapshot.sequence), snapshot])


def anomaly(context: PlanContext, source_name: str) -> str:
    """Why nothing may be removed at present, "" where the newest run looks like those before it."""
    seen = history(context, source_name)
    anomaly = "; ".join(seen[-1].anomalies if seen else ()) or pause(seen)
    return f"pruning suspended: {anomaly}" if anomaly else ""


def accepted_through(context: PlanContext, source_name: str) -> int:
    """Number of the newest backup whose marks someone on this machine accepted, 0 where none is."""
    path = _path(context, source_name).with_suffix(".accepted")
    try:
        return int(path.read_text("ascii"))
    except FileNotFoundError:
        return 0
    except ValueError as error:
        raise StateError(
            f"the note of what was accepted {path} is damaged",
            hint="Delete it; `datasave prune --accept-change` writes it anew.",
        ) from error


def accept(context: PlanContext, source_name: str, through: int = 0) -> tuple[str, ...]:
    """Trust the runs that looked wrong, because the user says so; the anomalies that the newest of them had.

    ``through`` is the highest number that is marked on a target: this machine may not have taken it.
    """
    seen = history(context, source_name)
    anomalous = [old for old in seen if old.anomalies]
    number = max([through, *(old.sequence for old in anomalous)])
    if number > accepted_through(context, source_name):
        write_atomic(_path(context, source_name).with_suffix(".accepted"), f"{number}\n".encode())
    if not anomalous:
        return ()
    trusted = [
        old.model_copy(update={"anomalies": (), "marks": ()}) if old.anomalies else old for old in seen
    ]
    _write(context, source_name, trusted)
    return anomalous[-1].anomalies


def signs_of(folder: Path, files: Sequence[CopiedFile]) -> FileSigns:
    """The signs of a copy's files; of many a sample spread over all of them is opened."""
    names = [file.path.rpartition("/")[2] for file in files]
    extensions = Counter(extension_of(name) for name in names)
    known = broken = blocks = noise = 0
    sample = files[:: max(1, -(-len(files) // MOST_FILES))]
    each = max(2, MOST_BLOCKS // max(len(sample), 1))
    for file in sample:
        head, read = _sampled(folder / file.path, file.bytes, each)
        fit = fits(head, extension_of(file.path))
        known += fit is not None
        broken += fit is False
        if not head.startswith(PACKED):
            blocks += len(read)
            noise += sum(map(is_noise, read))
    return FileSigns(
        files=len(files),
        known=known,
        broken=broken,
        ransom=sum(bool(RANSOM.search(name)) for name in names),
        notes=sum(bool(NOTE.search(name)) for name in names),
        noise=round(noise / blocks, 4) if blocks else 0.0,
        extensions=dict(extensions.most_common(EXTENSIONS_KEPT)),
    )


def _path(context: PlanContext, source_name: str) -> Path:
    return private_folder(context.state / "trend") / f"{context.full_name(source_name)}.json"


def _write(context: PlanContext, source_name: str, snapshots: Sequence[Snapshot]) -> None:
    # The last trusted one stays however many follow: it is what they are judged by.
    trusted = [old for old in snapshots if not old.anomalies][-1:]
    kept = list(snapshots[-KEPT:])
    kept = [*(old for old in trusted if old not in kept), *kept]
    write_atomic(_path(context, source_name), _SNAPSHOTS.dump_json(tuple(kept)))


def _sampled(path: Path, size: int, most: int) -> tuple[bytes, list[bytes]]:
    """The head of a file and up to ``most`` whole blocks spread over it."""
    with path.open("rb", buffering=0) as stream:
        head = stream.read(HEAD)
        return head, list(_blocks(stream.fileno(), size // BLOCK, most))


def _blocks(descriptor: int, whole: int, most: int) -> Iterator[bytes]:
    for number in range(0, whole, max(1, -(-whole // most))):
        os.lseek(descriptor, number * BLOCK, os.SEEK_SET)
        yield os.read(descriptor, BLOCK)
