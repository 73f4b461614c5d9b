"""Room on a full medium for a new backup, by removing its oldest ones first, where the plan says so.

It is the one place where something goes before the new backup is there. So it is known first that there will
be room, and that enough good backups lie on the other media; else nothing goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import NamedTuple

from tasks.backup.condition import resting
from tasks.backup.due_targets import day_of
from tasks.backup.holds import holds
from tasks.backup.judging import anomaly_of
from tasks.backup.media import held_elsewhere, note_held
from tasks.backup.promises import promised_before
from tasks.backup.removal import remove_backup
from tasks.backup.retain import shelf_of
from tasks.context import PlanContext
from tasks.notices.wording import size_text
from tasks.policy.retention import suspended
from tasks.records import BackupEntry, Run
from tasks.targets.base import Target
from tasks.targets.capabilities import MediaOptions


class Refused(NamedTuple):
    """Why nothing was removed to make room: ``cause`` in words, "" where the plan doesn't ask for it."""

    cause: str


def make_room(context: PlanContext, run: Run, target: Target, needed: int) -> Refused | None:
    """Remove the oldest backups of a full medium before it has the new one; None where there is room then.

    ``needed``: bytes. Only where the plan says `replace: first`, what goes makes room enough, and the other
    media hold as many good backups as `floor`; and never on a shelf that looks wrong.
    """
    entry = context.entry(target.name)
    if not isinstance(entry, MediaOptions) or entry.replace != "first":
        return Refused("")
    if any(promise.replace != "first" for promise in promised_before(context, target.name)):
        return Refused(
            "`replace: first` is new in the plan; `datasave prune --accept-change` says it is meant"
        )
    shelf = shelf_of(context, target, run.source_name)
    if cause := anomaly_of(context, run.source_name) or suspended(shelf, datetime.now(UTC)):
        return Refused(cause)
    day = day_of(context, run.started)
    going = _oldest(context, run, target, shelf, needed, day)
    if isinstance(going, Refused):
        return going
    others = held_elsewhere(
        context,
        target,
        day,
        lambda other: _good(context, other, run.source_name),
        lambda label, held: _sound(context, run, target, label, held),
    )
    if others.total < entry.floor:
        return Refused(
            f"the other media hold {others.total} good ones, and {entry.floor} must stay ({others.words})"
        )
    for backup in going:
        remove_backup(context, target, backup, "the oldest on a full medium (replace: first)", run.id)
        if not run.source_name:
            note_held(context, target, -1)
    return None


def _oldest(
    context: PlanContext, run: Run, target: Target, shelf: Sequence[BackupEntry], needed: int, day: date
) -> list[BackupEntry] | Refused:
    """The oldest backups without which there is room; Refused where all together would not make it."""
    held = holds(context, run.source_name, day)
    going: list[BackupEntry] = []
    room = target.free_space() or 0
    for backup in shelf:
        if room >= needed:
            return going
        if backup.good and backup.manifest and backup.manifest.sequence not in held:
            going.append(backup)
            room += backup.bytes
    if room >= needed:
        return going
    return Refused(
        f"without all {len(going)} that may go it would have {size_text(room)} free, and the backup needs "
        f"{size_text(needed)}: a larger medium is needed"
    )


def _sound(context: PlanContext, run: Run, target: Target, label: str, held: int) -> int:
    """How many good backups of the run's source a medium holds that is away.

    ``held`` are the main source's as they were counted when it was last used; others are counted by what was
    delivered. What was found damaged there counts for neither.
    """
    there = [one for one in resting(context, target.name) if one.medium == label]
    own = [one for one in there if one.source == run.source]
    broken = sum(bool(one.damage) for one in own)
    return max(0, (len(own) if run.source_name and there else held) - broken)


def _good(context: PlanContext, target: Target, source_name: str) -> int:
    return sum(backup.good for backup in shelf_of(context, target, source_name))
