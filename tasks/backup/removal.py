"""Removing a backup from a target: written down before and after, in the safe order, finished if cut off."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from tasks.backup.condition import facts_at, medium_of
from tasks.context import PlanContext
from tasks.errors import ObjectMissing, TargetLocked, TargetUnlocked
from tasks.journal.kinds import Kind
from tasks.journal.lines import Entry
from tasks.manifests.manifest import parse_name
from tasks.options import Json
from tasks.records import BackupEntry, Removed, Run
from tasks.targets.base import Target
from tasks.targets.capabilities import locked_until

CUT_OFF = "its removal was cut off"


def remove_backup(
    context: PlanContext, target: Target, backup: BackupEntry, reason: str, run: str = ""
) -> Removed | None:
    """Remove one backup: its manifest first, so that half a removal leaves no backup that seems whole.

    None where a lock keeps it, which is what locks are for. ``run`` is the id of the run that does it.
    Raises TargetError, and StateError where it cannot be written down: then nothing was removed.
    """
    if _locked(target, backup):
        return None
    facts = _facts(target, backup, reason, run)
    context.journal.append(Kind.REMOVING, **facts)
    try:
        _delete(target, backup)
    except TargetLocked:
        context.journal.append(Kind.SPARED, **{**facts, "reason": "a lock keeps it"})
        return None
    context.journal.append(Kind.REMOVED, **facts)
    return Removed(name=backup.full_name, sequence=facts["sequence"], reason=reason)


def finish_removals(
    context: PlanContext, target: Target, source_name: str, shelf: Sequence[BackupEntry], run: str
) -> list[Removed]:
    """Bring removals to their end that were cut off, by a power cut or a target that went away.

    Where the manifest is still there nothing was removed, and the backup is judged anew.
    """
    here = {backup.full_name: backup for backup in shelf}
    done = []
    for begun in _cut_off(context, target, source_name):
        backup = here.get(begun["name"])
        if backup and backup.manifest_name:
            context.journal.append(Kind.SPARED, **{**begun, "reason": f"{CUT_OFF} before anything was gone"})
            continue
        if backup:
            _delete(target, backup)
        facts = {**begun, "reason": f"{begun['reason']}; {CUT_OFF} before", **({"run": run} if run else {})}
        context.journal.append(Kind.REMOVED, **facts)
        done.append(Removed(name=facts["name"], sequence=facts["sequence"], reason=facts["reason"]))
    return done


def removed_in(context: PlanContext, run: Run, target: str) -> tuple[Removed, ...]:
    """What a run removed of its source at a target, in all its attempts, for whatever reason."""
    return tuple(
        Removed(name=facts["name"], sequence=facts["sequence"], reason=facts["reason"])
        for facts in (entry.facts for entry in context.journal.entries(Kind.REMOVED))
        if (facts["target"], facts["source"], facts.get("run")) == (target, run.source, run.id)
    )


def _delete(target: Target, backup: BackupEntry) -> None:
    names = (backup.manifest_name, backup.signature, *backup.certificates, backup.full_name)
    for name in filter(None, names):
        with suppress(ObjectMissing):
            target.delete(name)


def _locked(target: Target, backup: BackupEntry) -> bool:
    """Whether a lock keeps any of it: half a backup helps nobody, and no entry is written each night."""
    if target.properties.immutable_until is None:
        return False
    now = datetime.now(UTC)
    return any(
        _lock_end(target, name, now) > now for name in (backup.manifest_name, backup.full_name) if name
    )


def _lock_end(target: Target, name: str, now: datetime) -> datetime:
    try:
        return locked_until(target, name) or now
    except (ObjectMissing, TargetUnlocked):
        return now


def _facts(target: Target, backup: BackupEntry, reason: str, run: str) -> Json:
    stated = backup.manifest or parse_name(backup.name)
    source, sequence = (stated.source, stated.sequence) if stated else ("", 0)
    facts = facts_at(target, backup.full_name, source, sequence)
    return facts | {"reason": reason} | ({"run": run} if run else {})


def _cut_off(context: PlanContext, target: Target, source_name: str) -> list[Json]:
    """The facts of removals here that were begun and of whose end nothing is known."""
    begun: dict[str, Json] = {}
    for entry in context.journal.entries(Kind.REMOVING, Kind.REMOVED, Kind.SPARED):
        if _here(entry, target, context.full_name(source_name)):
            begun.pop(entry.facts["name"], None)
            if entry.kind == Kind.REMOVING:
                begun[entry.facts["name"]] = entry.facts
    if not begun:
        return []
    medium, _ = medium_of(target)
    return [facts for facts in begun.values() if facts.get("medium", "") == medium]


def _here(entry: Entry, target: Target, source: str) -> bool:
    return (entry.facts["target"], entry.facts["source"]) == (target.name, source)
