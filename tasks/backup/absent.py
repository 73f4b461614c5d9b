"""Backups that were delivered and are not there any more: whether that is a loss.

A machine whose memory is old does not know what it removed. Another machine of the plan removes what the plan
lets go, ours too, and its journal is not ours to read; but the plan is the same, so what it may have removed
can be reckoned. Anything else is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tasks.backup.condition import Resting, missing_at
from tasks.backup.judging import judged
from tasks.backup.memory import memory_doubt, own_machines
from tasks.context import PlanContext
from tasks.manifests.manifest import manifest_name, parse_name
from tasks.records import BackupEntry, Manifest
from tasks.targets.base import Target

BY_ANOTHER = "gone, as the plan lets it go: removed by another machine of the plan, as far as can be told"


class Absent(NamedTuple):
    """What is not there any more: ``lost``; of which it cannot be known by an old memory (``unknown``);
    which another machine of the plan may have removed by the same rules (``pruned``)."""

    lost: tuple[Resting, ...] = ()
    unknown: tuple[Resting, ...] = ()
    pruned: tuple[Resting, ...] = ()


def absent_from(
    context: PlanContext, target: Target, source_name: str, shelf: Sequence[BackupEntry]
) -> Absent:
    """What was delivered to an open target, not removed by us, and is on its shelf in no shape."""
    gone = missing_at(context, target, context.full_name(source_name), shelf)
    if not gone:
        return Absent()
    if memory_doubt(context):
        return Absent(unknown=gone)
    let_go = _let_go(context, target, source_name, shelf, gone)
    return Absent(
        lost=tuple(one for one in gone if one.name not in let_go),
        pruned=tuple(one for one in gone if one.name in let_go),
    )


def absent_text(gone: Sequence[Resting], shelf: Iterable[BackupEntry] = (), why: str = "") -> str:
    """What is gone, in one sentence, and in which folder of that target it lies now, if it does.

    ``why``: what is known of its end, instead of that Datasave did not remove it.
    """
    names = {one.name.rpartition("/")[2] for one in gone}
    folders = sorted({f"{backup.slot}/" for backup in shelf if backup.elsewhere and backup.name in names})
    moved = f" (see {', '.join(folders)})" if folders else ""
    named = ", ".join(f"#{one.sequence} ({one.name})" for one in sorted(gone, key=lambda one: one.sequence))
    verb = "were" if len(gone) > 1 else "was"
    if why:
        return f"{named} {verb} delivered and not there any more{moved}: {why}"
    return f"{named} {verb} delivered, not removed by Datasave, and not there any more{moved}"


UNKNOWN = "whether Datasave removed it cannot be known while this machine's memory is in doubt"


def _let_go(
    context: PlanContext,
    target: Target,
    source_name: str,
    shelf: Sequence[BackupEntry],
    gone: Sequence[Resting],
) -> set[str]:
    """Names of those that another machine of the plan may have removed: the plan would let them go now.

    What it lets go once it lets go for good, however many newer ones come.
    """
    if not (like := _of_another(context, shelf)):
        return set()
    ghosts = [ghost for one in gone if (ghost := _as_it_was(one, like))]
    names = {ghost.full_name for ghost in ghosts}
    verdicts, _ = judged(context, target.name, source_name, [*shelf, *ghosts])
    return {v.backup.full_name for v in verdicts if not v.kept} & names


def _of_another(context: PlanContext, shelf: Iterable[BackupEntry]) -> Manifest | None:
    """The manifest of a backup there that another machine made and that counts."""
    ours = own_machines(context)
    counting = (backup.manifest for backup in shelf if backup.verified and backup.manifest)
    return next((manifest for manifest in counting if manifest.machine not in ours), None)


def _as_it_was(one: Resting, like: Manifest) -> BackupEntry | None:
    slot, _, file = one.name.rpartition("/")
    parts = parse_name(file)
    if parts is None:
        return None
    changes = {"sequence": one.sequence, "taken": parts.taken, "sealed_name": file, "marks": ()}
    return BackupEntry(
        name=file,
        slot=slot,
        manifest_name=manifest_name(parts.stem),
        manifest=like.model_copy(update=changes),
        defect="",
        bytes=0,
    )
