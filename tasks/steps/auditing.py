"""Look at a target as a stranger would: is it there, is each backup whole, is the newest fresh?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from tasks.errors import DatasaveError, TargetError, TargetMissing
from tasks.notices.wording import duration_text, place_text, size_text
from tasks.plan.model import TargetEntry
from tasks.records import Finding, Progress, Shelved, no_progress
from tasks.steps.media import is_removable
from tasks.steps.office import Office
from tasks.steps.retaining import shelf_of
from tasks.targets.base import Target


def audit_target(
    office: Office, name: str, *, read_all: bool = False, progress: Progress = no_progress
) -> tuple[Finding, ...]:
    """Findings about one target; a target that cannot be reached is a finding, not an exception.

    The newest backup is always read whole and compared with its manifest, all with ``read_all``.
    """
    try:
        with office.target(name) as target:
            findings = [Finding(check="target present", passed=True, detail=f"{name} answers")]
            for part in office.parts:
                shelf = shelf_of(office, target, part)
                place = place_text(name, part)
                findings += [*_shelf_findings(place, shelf), _freshness(office.entry(name), place, shelf)]
                findings += [
                    _whole(target, backup, progress, read_all=read_all)
                    for backup in _to_read(shelf, read_all)
                ]
            return tuple(findings)
    except TargetMissing as error:
        away = is_removable(office.entry(name))
        detail = f"{name}: no medium plugged in, nothing to look at" if away else str(error)
        return (Finding(check="target present", passed=away, detail=detail),)
    except DatasaveError as error:
        return (Finding(check="target present", passed=False, detail=str(error)),)


def _shelf_findings(name: str, shelf: Sequence[Shelved]) -> list[Finding]:
    good = [backup for backup in shelf if backup.verified]
    total = sum(backup.bytes for backup in good)
    summary = f"{len(good)} verified on {name}, {size_text(total)}"
    findings = [Finding(check="backups on the shelf", passed=bool(good), detail=summary)]
    findings += [
        Finding(check="backup counts", passed=False, detail=f"{backup.name} on {name}: {backup.trouble}")
        for backup in shelf
        if not backup.verified
    ]
    return [*findings, *_marks(name, good)]


def _marks(name: str, good: Sequence[Shelved]) -> list[Finding]:
    """Marked backups are told as long as nobody accepted them; while the newest is one, that is an alarm."""
    marked = [backup for backup in good if backup.marks]
    if not marked:
        return []
    listed = ", ".join(f"{backup.name} ({', '.join(backup.marks)})" for backup in marked[:-6:-1])
    detail = f"{len(marked)} marked on {name}, kept aside until accepted: {listed}"
    return [Finding(check="looks like those before", passed=good[-1] is not marked[-1], detail=detail)]


def _freshness(entry: TargetEntry, name: str, shelf: Sequence[Shelved]) -> Finding:
    limit = timedelta(hours=entry.fresh_hours)
    newest = max((b.manifest.taken for b in shelf if b.verified and b.manifest), default=None)
    if newest is None:
        return Finding(check="newest is fresh", passed=False, detail=f"{name} holds no verified backup")
    age = datetime.now(UTC) - newest
    detail = f"newest on {name} is {duration_text(age.total_seconds())} old, allowed are "
    return Finding(
        check="newest is fresh", passed=age <= limit, detail=detail + duration_text(limit.total_seconds())
    )


def _to_read(shelf: Sequence[Shelved], read_all: bool) -> list[Shelved]:
    good = [backup for backup in shelf if backup.verified]
    return good if read_all else good[-1:]


def _whole(target: Target, backup: Shelved, progress: Progress, *, read_all: bool) -> Finding:
    name = backup.full_name
    if target.properties.thaw_seconds and not read_all:
        # Waking it would cost money each day; the shelf has compared its size with the manifest's.
        detail = f"{name} on {target.name} is there with its full size, in cold storage, and was not read"
        return Finding(check="archive at rest", passed=True, detail=detail)
    try:
        same = backup.manifest is not None and target.verify(
            name, backup.manifest.sealed_bytes, backup.manifest.sealed_sha256, progress
        )
    except TargetMissing:
        raise  # the medium itself is gone: that is no finding about a single archive
    except TargetError as error:
        return Finding(check="archive reads back", passed=False, detail=str(error))
    detail = f"{name} on {target.name} " + ("reads back whole" if same else "is damaged: sha256 differs")
    return Finding(check="archive reads back", passed=same, detail=detail)
