"""The audit of a target: is it there, is each backup whole, is the newest one fresh?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from tasks.backup import memory
from tasks.backup.absent import BY_ANOTHER, UNKNOWN, absent_from, absent_text
from tasks.backup.condition import DIFFERS, WAY_OUT, Witness, note_gone
from tasks.backup.due_targets import day_of
from tasks.backup.media import is_removable
from tasks.backup.retain import shelf_of
from tasks.context import PlanContext
from tasks.errors import DatasaveError, TargetError, TargetMissing
from tasks.health.freshness import expected_since, freshness
from tasks.keys.proofs import learn
from tasks.manifests.shelf import elsewhere_text
from tasks.notices.wording import place_text, size_text
from tasks.records import BackupEntry, Finding, Progress, no_progress
from tasks.targets.base import Target
from tasks.targets.capabilities import locked_until, verify

# Reading all older backups, a few each day, takes this many days.
_DAYS_FOR_ALL = 30


def audit_target(
    context: PlanContext,
    name: str,
    *,
    read_all: bool = False,
    progress: Progress = no_progress,
    now: datetime | None = None,
) -> tuple[Finding, ...]:
    """Findings about one target; a target that cannot be reached is a finding, not an exception.

    The newest backup is always read whole and compared with its manifest; of the older ones a few, different
    ones each day, or all with ``read_all``. Needs nothing but the plan; on another machine, with ``signers``.
    """
    now = now or datetime.now(UTC)
    try:
        with context.target(name) as target:
            findings = [Finding(check="target present", passed=True, detail=f"{name} answers")]
            learn(context, target)
            for source_name in context.source_names:
                place = place_text(name, source_name)
                look = _Look(context, target, source_name, progress, read_all=read_all)
                found, shelf = look.again_at_damaged()
                memory.look_at(context, target, shelf)
                findings += found
                expected = expected_since(context, target, now) is not None
                findings += _shelf_findings(place, shelf, expected=expected)
                findings += [
                    *freshness(context, target, source_name, shelf, now),
                    *_locks(target, place, shelf, now),
                ]
                findings += [
                    *look.missing(shelf),
                    *map(look.whole, _to_read(shelf, day_of(context, now), read_all)),
                ]
            return tuple(findings)
    except TargetMissing as error:
        away = is_removable(context.entry(name))
        detail = f"{name}: no medium plugged in, nothing to look at" if away else str(error)
        return (Finding(check="target present", passed=away, detail=detail),)
    except DatasaveError as error:
        return (Finding(check="target present", passed=False, detail=str(error)),)


def audit_memory(context: PlanContext) -> tuple[Finding, ...]:
    """What is doubted of this machine's memory, a finding each; one that stops nothing fails nothing."""
    return tuple(
        Finding(
            check="memory of this machine",
            passed=False,
            unchecked=not doubt.stops,
            detail=f"{doubt.detail}. {memory.WAY_OUT}",
        )
        for doubt in memory.doubts(context)
    )


@dataclass(frozen=True)
class _Look:
    """One look at what an open target holds of a source; what it sees is noted where it is news."""

    context: PlanContext
    target: Target
    source_name: str
    progress: Progress
    read_all: bool

    @property
    def witness(self) -> Witness:
        """Who notes it."""
        return Witness(self.context, self.target, "audit")

    def shelf(self) -> list[BackupEntry]:
        """The source's backups, as they count now."""
        return shelf_of(self.context, self.target, self.source_name)

    def again_at_damaged(self) -> tuple[list[Finding], list[BackupEntry]]:
        """Read again what was found damaged: where it is right it counts again. Findings, and the shelf."""
        shelf = self.shelf()
        if self._frozen:
            return [], shelf
        findings = [self.whole(backup) for backup in shelf if backup.damaged]
        return findings, self.shelf() if any(finding.passed for finding in findings) else shelf

    def missing(self, shelf: Sequence[BackupEntry]) -> list[Finding]:
        """What was delivered, not removed, and lies there no more."""
        gone = absent_from(self.context, self.target, self.source_name, shelf)
        place = place_text(self.target.name, self.source_name)
        check = "what was delivered is there"
        if not any(gone):
            return [Finding(check=check, passed=True, detail=f"{place}: all of it")]
        for one in gone.lost:
            self.witness.missing(one)
        for one in gone.pruned:
            note_gone(self.context, one, BY_ANOTHER)
        lost = (f"{place}: {absent_text([one], shelf)}. {WAY_OUT}" for one in gone.lost)
        untold = [*((one, UNKNOWN) for one in gone.unknown), *((one, BY_ANOTHER) for one in gone.pruned)]
        others = (f"{place}: {absent_text([one], shelf, why)}" for one, why in untold)
        return [
            *(Finding(check=check, passed=False, detail=detail) for detail in lost),
            *(Finding(check=check, passed=False, unchecked=True, detail=detail) for detail in others),
        ]

    def whole(self, backup: BackupEntry) -> Finding:
        """Read an archive whole and compare it with its manifest."""
        name, manifest = backup.full_name, backup.manifest
        if self._frozen:
            # Thawing it would cost money each day; the shelf has compared its size with the manifest's.
            detail = (
                f"{name} on {self.target.name} is there with its full size, in cold storage, and was not read"
            )
            return Finding(check="archive at rest", passed=True, detail=detail)
        try:
            same = manifest is not None and verify(
                self.target, name, manifest.sealed_bytes, manifest.sealed_sha256, self.progress
            )
        except TargetMissing:
            raise  # the medium itself is gone: that is no finding about a single archive
        except TargetError as error:
            return Finding(check="archive reads back", passed=False, detail=str(error))
        if manifest and same:
            self.witness.sound(name, manifest)
        elif manifest:
            self.witness.damaged(name, manifest, DIFFERS)
        told = "reads back whole" if same else f"is damaged: sha256 differs. {WAY_OUT}"
        return Finding(check="archive reads back", passed=same, detail=f"{name} on {self.target.name} {told}")

    @property
    def _frozen(self) -> bool:
        return bool(self.target.properties.thaw_seconds) and not self.read_all


def _shelf_findings(name: str, shelf: Sequence[BackupEntry], *, expected: bool) -> list[Finding]:
    good = [backup for backup in shelf if backup.verified]
    total = sum(backup.bytes for backup in good)
    summary = f"{len(good)} verified on {name}, {size_text(total)}"
    findings = [Finding(check="backups on the shelf", passed=bool(good) or not expected, detail=summary)]
    findings += [
        Finding(check="backup counts", passed=False, detail=f"{backup.name} on {name}: {backup.defect}")
        for backup in shelf
        if not (backup.verified or backup.elsewhere)
    ]
    if told := elsewhere_text(shelf):
        findings.append(Finding(check="copies elsewhere", passed=True, detail=f"{name}: {told}"))
    return [*findings, *_marks(name, good)]


def _marks(name: str, good: Sequence[BackupEntry]) -> list[Finding]:
    """Marked backups are reported until someone accepts them; while the newest is one, that is an alarm."""
    marked = [backup for backup in good if backup.marks]
    if not marked:
        return []
    listed = ", ".join(f"{backup.name} ({', '.join(backup.marks)})" for backup in marked[:-6:-1])
    detail = f"{len(marked)} marked on {name}, kept aside until accepted: {listed}"
    return [Finding(check="looks like those before", passed=good[-1] is not marked[-1], detail=detail)]


def _to_read(shelf: Sequence[BackupEntry], day: date, read_all: bool) -> list[BackupEntry]:
    """The newest, and a few of the older ones, different ones each day: within weeks all have been read."""
    good = [backup for backup in shelf if backup.verified]
    older = good[:-1]
    if read_all or not older:
        return good
    count = -(-len(older) // _DAYS_FOR_ALL)
    start = day.toordinal() * count
    chosen = {(start + offset) % len(older) for offset in range(count)}
    return [*(older[number] for number in sorted(chosen)), good[-1]]


def _locks(target: Target, place: str, shelf: Sequence[BackupEntry], now: datetime) -> list[Finding]:
    """The locks of all archives and manifests, as the service states them; nothing where none is wanted.

    Locks that have expired are reported; that of the newest backup must still hold.
    """
    good = [backup for backup in shelf if backup.verified]
    if target.properties.immutable_until is None or not good:
        return []
    findings, ends = [], []
    for backup in good:
        for name in (backup.full_name, backup.manifest_name):
            try:
                end = locked_until(target, name)
            except TargetMissing:
                raise
            except TargetError as error:
                findings.append(Finding(check="locked", passed=False, detail=str(error)))
                continue
            if end is not None:
                ends.append(end)
            if end is not None and end <= now and backup is good[-1]:
                detail = f"the lock of {name} on {place}, the newest, ended on {end:%Y-%m-%d}"
                findings.append(Finding(check="locked", passed=False, detail=detail))
    held = [end for end in ends if end > now]
    detail = f"{len(held)} of {2 * len(good)} archives and manifests on {place} are locked"
    if held:
        detail += f", until {min(held):%Y-%m-%d} at the least"
    if lapsed := len(ends) - len(held):
        detail += f"; {lapsed} have expired"
    return [*findings, Finding(check="locks", passed=not findings, detail=detail)]
