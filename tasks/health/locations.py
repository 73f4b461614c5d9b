"""What of an office's targets would outlast a fire in it."""

from __future__ import annotations

from tasks.plan.model import TargetEntry
from tasks.policy.posture_facts import SETS
from tasks.targets.drive.target import DriveOptions


def media_of(entry: TargetEntry) -> int:
    """How many media a target has: the drives that take turns, else the one place."""
    return len(set(entry.calendar.labels)) if isinstance(entry, DriveOptions) else 1


def is_off_premises(entry: TargetEntry) -> bool:
    """As the plan says; else a vendor's, or drives enough that one is always out of the house."""
    if entry.off_premises is not None:
        return entry.off_premises
    return entry.with_vendor or media_of(entry) >= SETS
