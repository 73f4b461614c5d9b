"""What a target holds that is newer than the backup somebody uses, why it was passed over, and the way out.

Whoever asks for the latest backup believes that there is no later one. So whatever is newer is named, by its
number or by its date, whether it counts or not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from typing import NamedTuple

from tasks.manifests.entries import FUTURE
from tasks.manifests.manifest import NameParts, begun_name, parse_name
from tasks.manifests.shelf import ON_A_NEW_MACHINE, fits
from tasks.manifests.signing import ANOTHER_MACHINE
from tasks.records import BackupEntry, Manifest

LISTED = 5
_BY_NAME = "To use it: `--backup {name}`."
_MOVE = "To use it, move both its files beside the others."
_CLOCK = "Look at the clock of this machine, and at that of the one that took it."
_ANOTHER_COPY = "A whole copy may lie on another target: `datasave list`, `datasave repair`."
_SAYS_HOW = ("rename", "name ")


class Newer(NamedTuple):
    """One backup that is newer, by number or by date."""

    backup: BackupEntry
    sequence: int
    taken: datetime
    reason: str
    way_out: str


def newer_than(
    shelf: Sequence[BackupEntry], used: Manifest, wanted: str = "latest", timezone: tzinfo = UTC
) -> tuple[str, ...]:
    """A line for each reason why backups that fit ``wanted`` and are newer than ``used`` were passed over.

    ``wanted`` and ``timezone`` as in shelf.find. Verified ones of a higher number are left out: that they are
    marked, or sealed for others, is told where they are chosen from.
    """
    grouped: dict[tuple[str, str], list[Newer]] = {}
    fitting = [backup for backup in shelf if fits(backup, wanted, timezone)]
    for one in _once(_newer(fitting, used)):
        grouped.setdefault((one.reason, one.way_out), []).append(one)
    return tuple(_line(found) for found in grouped.values())


def other_sources(names: Iterable[str], known: Collection[str], used: Manifest | None) -> tuple[str, ...]:
    """A line for each source, none of those known, that has a backup newer than ``used``, by file names."""
    newest: dict[str, NameParts] = {}
    for name in names:
        parts = parse_name(name.rpartition("/")[2])
        if parts and parts.kind == "manifest" and parts.source not in known:
            newest[parts.source] = max(newest.get(parts.source, parts), parts, key=lambda one: one.taken)
    return tuple(
        f"backups of {source} lie there as well, the newest #{parts.sequence} of {_when(parts.taken)}: "
        "another plan's, or this one's under a name it had. `datasave rescue` brings them back without a plan"
        for source, parts in sorted(newest.items())
        if used is None or parts.taken > used.taken
    )


def _newer(shelf: Sequence[BackupEntry], used: Manifest) -> Iterator[Newer]:
    for backup in shelf:
        about = _about(backup)
        if about is None or about[0] != used.source:
            continue
        _, sequence, taken = about
        higher = sequence > used.sequence and not backup.verified
        later = taken > used.taken and (sequence < used.sequence or not backup.verified)
        if higher or (later and sequence != used.sequence):
            yield Newer(backup, sequence, taken, *_reason(backup, used))


def _about(backup: BackupEntry) -> tuple[str, int, datetime] | None:
    """Source, number and time of a backup, by its manifest or its name; None where neither says.

    Where the two differ, by the one that is newer: the manifest of one lies beside the archive of another.
    """
    stated = [one for one in (backup.manifest, begun_name(backup.name)) if one]
    about = ((one.source, one.sequence, one.taken) for one in stated)
    return max(about, key=lambda one: one[1], default=None)


def _once(found: Iterable[Newer]) -> list[Newer]:
    """Each backup once, newest first: of one whose files lie apart, what its manifest says."""
    told: dict[tuple[int, datetime], Newer] = {}
    for one in found:
        before = told.get((one.sequence, one.taken))
        if before is None or before.backup.manifest is None:
            told[one.sequence, one.taken] = one
    return sorted(told.values(), key=lambda one: (one.sequence, one.taken), reverse=True)


def _reason(backup: BackupEntry, used: Manifest) -> tuple[str, str]:
    if backup.verified:
        return f"numbered lower than #{used.sequence}", _BY_NAME
    if backup.elsewhere:
        return backup.defect, _MOVE
    if backup.defect.startswith(ANOTHER_MACHINE):
        return backup.defect, ON_A_NEW_MACHINE
    if backup.defect == FUTURE:
        return backup.defect, _CLOCK
    return backup.defect, "" if any(word in backup.defect for word in _SAYS_HOW) else _ANOTHER_COPY


def _line(found: Sequence[Newer]) -> str:
    named = ", ".join(f"#{one.sequence} of {_when(one.taken)}" for one in found[:LISTED])
    more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
    verb = "are" if len(found) > 1 else "is"
    told = f"{named}{more} {verb} newer and not used: {found[0].reason}"
    way_out = found[0].way_out.format(name=max(found, key=lambda one: one.taken).backup.full_name)
    return f"{told}. {way_out}" if way_out else told


def _when(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
