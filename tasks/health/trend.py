"""What each run saw of each source, kept in the journal: the yardstick for the next run.

The manifests' own counts are encrypted for the holders, and this machine has no key of theirs. The journal is
private and holds counts only. Where they are missing (a new machine) nothing is suspicious at first. Of the
files of a copy it holds what shows from outside: headers, names, a sample of their bytes.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from tasks.backup.copy import Copied
from tasks.context import PlanContext
from tasks.journal.kinds import Kind
from tasks.journal.lines import Entry
from tasks.journal.trend_facts import snapshots, trend_facts
from tasks.platform.accounts import account_name
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
from tasks.records import CopiedFile, Run, Sealed, Validated

KEPT = 400
# A sample: the same files each night, and some two hundred blocks of each large one at the most.
MOST_FILES = 5_000
MOST_BLOCKS = 200


def history(context: PlanContext, source_name: str) -> tuple[Snapshot, ...]:
    """The source's snapshots, oldest first: the newest 400, and the last trusted one."""
    found: dict[int, Snapshot] = {}
    for _, snapshot in _told(context, source_name):
        found.pop(snapshot.sequence, None)
        found[snapshot.sequence] = snapshot
    accepted = accepted_through(context, source_name)
    seen = [_trusted(snapshot) if snapshot.sequence <= accepted else snapshot for snapshot in found.values()]
    # The last trusted one stays however many follow: it is what they are judged by.
    trusted = [old for old in seen[:-KEPT] if not old.anomalies][-1:]
    return (*trusted, *seen[-KEPT:])


def look(context: PlanContext, run: Run, copy: Copied, sealed: Sealed, validated: Validated) -> Snapshot:
    """What a run saw, judged by the runs before it that were trusted. Nothing is remembered yet."""
    snapshot = Snapshot(
        sequence=run.sequence,
        taken=run.started,
        copy_bytes=copy.bytes,
        archive_bytes=sealed.archive_bytes,
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
    before = deque(_told(context, source_name), maxlen=1)
    since, last = (before[0][0].number, before[0][1]) if before else (None, None)
    facts = trend_facts(context.full_name(source_name), snapshot, since, last)
    context.journal.append(Kind.TREND, **facts)


def anomaly(context: PlanContext, source_name: str) -> str:
    """Why nothing may be removed at present, "" where the newest run looks like those before it."""
    seen = history(context, source_name)
    anomaly = "; ".join(seen[-1].anomalies if seen else ()) or pause(seen)
    return f"pruning suspended: {anomaly}" if anomaly else ""


def accepted_through(context: PlanContext, source_name: str) -> int:
    """Number of the newest backup whose marks someone on this machine accepted, 0 where none is."""
    return max((entry.facts["through"] for entry in _entries(context, Kind.ACCEPTED, source_name)), default=0)


def accept(context: PlanContext, source_name: str, through: int = 0) -> tuple[str, ...]:
    """Trust the runs that looked wrong, because the user says so; the anomalies that the newest of them had.

    ``through`` is the highest number that is marked on a target: this machine may not have taken it.
    """
    anomalous = [old for old in history(context, source_name) if old.anomalies]
    number = max([through, *(old.sequence for old in anomalous)])
    if number > accepted_through(context, source_name):
        source = context.full_name(source_name)
        context.journal.append(Kind.ACCEPTED, source=source, through=number, who=account_name())
    return anomalous[-1].anomalies if anomalous else ()


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


def _told(context: PlanContext, source_name: str) -> Iterator[tuple[Entry, Snapshot]]:
    return snapshots(_entries(context, Kind.TREND, source_name))


def _entries(context: PlanContext, kind: Kind, source_name: str) -> list[Entry]:
    source = context.full_name(source_name)
    return [entry for entry in context.journal.entries(kind) if entry.facts["source"] == source]


def _trusted(snapshot: Snapshot) -> Snapshot:
    return snapshot.model_copy(update={"anomalies": (), "marks": ()})


def _sampled(path: Path, size: int, most: int) -> tuple[bytes, list[bytes]]:
    """The head of a file and up to ``most`` whole blocks spread over it."""
    with path.open("rb", buffering=0) as stream:
        head = stream.read(HEAD)
        return head, list(_blocks(stream.fileno(), size // BLOCK, most))


def _blocks(descriptor: int, whole: int, most: int) -> Iterator[bytes]:
    for number in range(0, whole, max(1, -(-whole // most))):
        os.lseek(descriptor, number * BLOCK, os.SEEK_SET)
        yield os.read(descriptor, BLOCK)
