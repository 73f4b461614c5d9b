"""Put a good copy of a backup in the place of one that is damaged, or is not there any more.

The copy comes from another target, or from what waits in staging. It is read whole first, so that nothing
but what its signed manifest states is ever sent; the damaged one stays until the place has shown that it
keeps the copy, which counts only when it was read back. Where a repair is cut off, the next one goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tasks.backup.absent import absent_from
from tasks.backup.condition import (
    DIFFERS,
    Resting,
    Witness,
    note_gone,
    note_repaired,
    note_repairing,
)
from tasks.backup.deliver import check_room, publish
from tasks.backup.retain import shelf_of
from tasks.backup.spool import Spooled, all_waiting
from tasks.backup.workspace import scratch_room
from tasks.context import PlanContext
from tasks.errors import (
    DatasaveError,
    ManifestError,
    NoBackup,
    ObjectFrozen,
    ObjectMissing,
    ReadBackError,
    TargetError,
)
from tasks.health.audit import audit_target
from tasks.manifests.entries import FUTURE
from tasks.manifests.manifest import SEALED_SUFFIX, manifest_name, parse_name, read_manifest, to_json
from tasks.manifests.shelf import SEALED_ANEW
from tasks.manifests.signing import ANOTHER_MACHINE, public_text, signature_defect
from tasks.manifests.strays import content
from tasks.platform.files import BLOCK, HashingReader, create_private, kept_in_state, sha256_of
from tasks.records import BackupEntry, Finding, Manifest, Progress, no_progress
from tasks.targets.base import Target
from tasks.targets.capabilities import SupportsVerify, verify

STAGING = "staging"
"""Where a copy comes from that waits for its delivery."""
_TRIAL = ".repair"
_NOT_OURS = (ANOTHER_MACHINE, FUTURE, SEALED_ANEW, "another copy of")


@dataclass(frozen=True)
class Broken:
    """A backup on a target that does not count, though it should: its full name there, its number, why."""

    target: str
    name: str
    sequence: int
    why: str
    lost: Resting | None = None

    @property
    def file(self) -> str:
        """Name of the archive, without its slot."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True)
class GoodCopy:
    """A backup that is whole as far as its place shows: the target's name, or STAGING with the ``path``."""

    place: str
    name: str
    manifest: Manifest
    path: Path | None = None


@dataclass(frozen=True)
class Mend:
    """A broken backup, and the copies that it can be repaired from, the nearest first."""

    broken: Broken
    copies: tuple[GoodCopy, ...]


@dataclass(frozen=True)
class Found:
    """What is broken on targets; ``away`` says which could not be looked at, and why."""

    mends: tuple[Mend, ...]
    away: dict[str, str]


def look(context: PlanContext, names: Sequence[str]) -> Found:
    """What is broken on these targets, and where good copies of it are. Nothing is changed."""
    shelves: dict[str, list[BackupEntry]] = {}
    cold: set[str] = set()
    broken: list[Broken] = []
    away: dict[str, str] = {}
    for entry in context.plan.targets:
        try:
            with context.target(entry.name) as target:
                cold |= {entry.name} if target.properties.thaw_seconds else set()
                for source_name in context.source_names:
                    shelf = shelf_of(context, target, source_name)
                    shelves.setdefault(entry.name, []).extend(shelf)
                    if entry.name in names:
                        broken += _broken(context, target, source_name, shelf)
        except DatasaveError as error:
            away[entry.name] = error.message
    # Those in cold storage come last: they must be thawed first.
    order = sorted(shelves, key=lambda name: name in cold)
    copies = [*_waiting(context), *(one for name in order for one in _whole(name, shelves[name]))]
    return Found(tuple(_mend(one, copies) for one in broken), away)


def repair(context: PlanContext, mend: Mend, progress: Progress = no_progress) -> str:
    """Repair one backup from the first copy of it that is whole; the name of the place that one came from.

    Raises NoBackup where none is whole, TargetError, StateError. What is in the damaged one's place then is
    still known to be damaged.
    """
    with context.target(mend.broken.target) as target, scratch_room(context.staging, "repair") as room:
        _clear_trials(target)
        causes: list[str] = []
        for copy in mend.copies:
            with _proven(context, copy, room, progress, causes) as path:
                if path is not None:
                    _replace(context, target, mend.broken, copy, path)
                    return copy.place
    why = f" ({'; '.join(causes)})" if causes else ""
    raise NoBackup(
        f"no whole copy of {mend.broken.file} was found{why}",
        hint="Plug in, or make reachable, a target that has one, and run `datasave repair` again.",
    )


def audit_and_repair(
    context: PlanContext, name: str, read_all: bool = False, progress: Progress = no_progress
) -> tuple[Finding, ...]:
    """Audit a target; with `audit: {repair: true}` in the plan what it finds broken is repaired.

    Then the findings are those after the repair, and what was repaired.
    """
    findings = audit_target(context, name, read_all=read_all, progress=progress)
    if not context.plan.audit.repair or all(finding.passed for finding in findings):
        return findings
    repaired = _repair_all(context, name, progress)
    if not any(finding.passed for finding in repaired):
        return (*findings, *repaired)
    return (*audit_target(context, name, read_all=read_all, progress=progress), *repaired)


def _repair_all(context: PlanContext, name: str, progress: Progress) -> tuple[Finding, ...]:
    """Repair what can be repaired on one target: a finding for each."""
    findings = []
    for mend in look(context, [name]).mends:
        title = f"{mend.broken.name} on {name} ({mend.broken.why})"
        try:
            place = repair(context, mend, progress)
            findings.append(Finding(check="repaired", passed=True, detail=f"{title}, from {place}"))
        except DatasaveError as error:
            findings.append(Finding(check="repaired", passed=False, detail=f"{title}: {error}"))
    return tuple(findings)


def give_up(context: PlanContext, mend: Mend, who: str) -> bool:
    """Expect no more what is gone for good; False for what can be repaired or is there. Raises StateError."""
    lost = mend.broken.lost
    if lost is None or mend.copies:
        return False
    note_gone(context, lost, f"lost, and given up by {who}")
    return True


# What is broken, and what is whole


def _broken(
    context: PlanContext, target: Target, source_name: str, shelf: Sequence[BackupEntry]
) -> Iterator[Broken]:
    for backup in shelf:
        parts = parse_name(backup.name)
        if parts and not (backup.verified or backup.elsewhere or backup.unfinished) and _is_ours(backup):
            yield Broken(target.name, backup.full_name, parts.sequence, backup.defect)
    for lost in absent_from(context, target, source_name, shelf).lost:
        yield Broken(target.name, lost.name, lost.sequence, "it is not there any more", lost)


def _is_ours(backup: BackupEntry) -> bool:
    return not backup.defect.startswith(_NOT_OURS)


def _waiting(context: PlanContext) -> Iterator[GoodCopy]:
    with suppress(DatasaveError):  # what is wrong with staging is told by whoever needs it
        for spooled in all_waiting(context):
            yield from _waiting_one(context, spooled)


def _waiting_one(context: PlanContext, spooled: Spooled) -> Iterator[GoodCopy]:
    with suppress(ManifestError, OSError):
        manifest = read_manifest(spooled.rehearsed.manifest.read_bytes())
        if not signature_defect(manifest, context.trusted()):
            yield GoodCopy(STAGING, spooled.sealed.name, manifest, spooled.sealed.path)


def _whole(name: str, shelf: Sequence[BackupEntry]) -> Iterator[GoodCopy]:
    for backup in shelf:
        if backup.verified and backup.manifest:
            yield GoodCopy(name, backup.full_name, backup.manifest)


def _mend(broken: Broken, copies: Sequence[GoodCopy]) -> Mend:
    fitting = (copy for copy in copies if copy.name.rpartition("/")[2] == broken.file)
    return Mend(broken, tuple(copy for copy in fitting if copy.place != broken.target))


# Putting it in place


@contextmanager
def _proven(
    context: PlanContext, copy: GoodCopy, room: Path, progress: Progress, causes: list[str]
) -> Iterator[Path | None]:
    """The copy as a file here, every byte as its manifest states; otherwise None, and one more cause."""
    path = copy.path or room / copy.name.rpartition("/")[2]
    try:
        if copy.path is None:
            same = _fetched(context, copy, path, progress)
        else:
            with kept_in_state(f"read {path}"):
                same = sha256_of(path) == copy.manifest.sealed_sha256
        if not same:
            causes.append(f"that in {copy.place} is damaged as well")
    except TargetError as error:  # another copy may be at hand
        same = False
        causes.append(error.message)
    try:
        yield path if same else None
    finally:
        if copy.path is None:
            path.unlink(missing_ok=True)


def _fetched(context: PlanContext, copy: GoodCopy, path: Path, progress: Progress) -> bool:
    manifest = copy.manifest
    with context.target(copy.place) as place:
        with place.open(copy.name) as stream, kept_in_state(f"write {path}"), create_private(path) as file:
            reader = HashingReader(stream, progress, manifest.sealed_bytes)
            while block := reader.read(BLOCK):
                file.write(block)
        same = reader.hexdigest() == manifest.sealed_sha256
        if not same:
            Witness(context, place, "repair").damaged(copy.name, manifest, DIFFERS)
    return same


def _replace(context: PlanContext, target: Target, broken: Broken, copy: GoodCopy, path: Path) -> None:
    manifest = copy.manifest
    note_repairing(context, target, broken.name, manifest, copy.place)
    if not _is_at(target, broken.name, manifest, path):
        check_room(target, manifest.sealed_bytes)
        if not isinstance(target, SupportsVerify):
            # A service that makes digests keeps the old one as a version, or has compared what it got.
            _try_out(target, broken.name + _TRIAL, manifest, path)
        _put(target, broken.name, manifest, path)
    data, name = to_json(manifest), manifest_name(broken.name.removesuffix(SEALED_SUFFIX))
    if not _holds(target, name, data):
        key = context.machine_key()
        publish(target, data, broken.name, key if manifest.machine == public_text(key.public_key()) else None)
    note_repaired(context, target, broken.name, manifest, copy.place)


def _try_out(target: Target, name: str, manifest: Manifest, path: Path) -> None:
    """See whether the place keeps the copy, under another name, before the damaged one goes."""
    try:
        _put(target, name, manifest, path)
    finally:
        with suppress(TargetError):
            target.delete(name)


def _put(target: Target, name: str, manifest: Manifest, path: Path) -> None:
    with path.open("rb") as stream:
        target.put(name, stream, manifest.sealed_bytes)
    if not _is_at(target, name, manifest, path):
        raise ReadBackError(
            f"{name} read back from {target.name} is not what was written",
            hint="The medium or the connection damages data. Check it, then repair it again.",
            permanent=True,
        )


def _is_at(target: Target, name: str, manifest: Manifest, path: Path) -> bool:
    try:
        with path.open("rb") as local:
            return verify(target, name, manifest.sealed_bytes, manifest.sealed_sha256, local=local)
    except (ObjectMissing, ObjectFrozen):
        return False  # of what is in cold storage its digest tells; another one is not this


def _holds(target: Target, name: str, data: bytes) -> bool:
    try:
        return content(target, name) == data
    except TargetError:
        return False


def _clear_trials(target: Target) -> None:
    """Remove what repairs that were cut off had tried out."""
    for stat in target.list():
        if stat.name.endswith(SEALED_SUFFIX + _TRIAL):
            with suppress(ObjectMissing):
                target.delete(stat.name)
