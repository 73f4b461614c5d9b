"""What this machine knows of backups at rest: delivered and not removed, found damaged, whole again.

It is a view of the journal. A target that was damaged once looks sound again to whoever only lists it, and
one that lost a backup does not show that it ever had it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tasks.context import PlanContext
from tasks.errors import AgeError, ArchiveError, MismatchError, NoMatchingIdentity, TargetError
from tasks.journal.kinds import Kind
from tasks.journal.lines import Entry
from tasks.manifests.entries import EndedKeys, Known
from tasks.manifests.remembered import Remembered
from tasks.options import Json
from tasks.platform.files import HashingReader
from tasks.records import BackupEntry, Manifest, key_of
from tasks.targets.base import Target
from tasks.targets.capabilities import SupportsMedia

DIFFERS = "its sha256 is not the one that its manifest states"
WAY_OUT = "`datasave repair` puts a good copy there"
MISSING = "it is not there any more, and Datasave did not remove it"


@dataclass(frozen=True)
class Resting:
    """A backup that was delivered; ``medium`` and ``medium_id`` tell which one it lies on, if any.

    ``damage`` says since when and why it does not count, "" where nothing is known against it. ``leaving``:
    its removal was begun, and of its end nothing is known.
    """

    target: str
    medium: str
    source: str
    sequence: int
    name: str
    medium_id: str = ""
    damage: str = ""
    missing: bool = False
    leaving: bool = False


@dataclass
class _View:
    """The entries of a journal, read one after the other."""

    resting: dict[tuple[str, str, str], Resting] = field(default_factory=dict)

    def take(self, entry: Entry) -> None:
        facts = entry.facts
        place = (facts["target"], facts.get("medium", ""))
        key = (*place, facts["name"])
        known = self.resting.get(key)
        if entry.kind == Kind.REMOVED:
            self.resting.pop(key, None)
        elif entry.kind == Kind.REWRAPPED:
            self._rewrapped(place, facts)
        elif entry.kind == Kind.DAMAGED:
            missing = facts["detail"] == MISSING
            if missing and known is None:
                return  # a memory that was old then missed it; it was removed, as is known again
            self.resting[key] = replace(known or _of(facts), damage=_damage(entry), missing=missing)
        elif entry.kind in (Kind.DELIVERED, Kind.REPAIRED):
            self.resting[key] = _of(facts)
        elif known is not None:
            self.resting[key] = _changed(entry, known)

    def _rewrapped(self, place: tuple[str, str], facts: Json) -> None:
        self.resting.pop((*place, facts["old_name"]), None)
        self.resting[(*place, facts["name"])] = _of(facts)


_KINDS = (
    *(Kind.DELIVERED, Kind.REWRAPPED, Kind.REMOVING, Kind.REMOVED, Kind.SPARED),
    *(Kind.DAMAGED, Kind.SOUND, Kind.REPAIRED),
)


# What each journal came to when it was read last: it is asked often, and seldom grows.
_views: dict[Path, tuple[object, tuple[Resting, ...]]] = {}


def resting(context: PlanContext, target: str = "", source: str = "") -> tuple[Resting, ...]:
    """What was delivered and not removed by us: at one target or all, of one source (full name) or all."""
    journal = context.journal
    version = journal.version()
    read, known = _views.get(journal.path, (None, ()))
    if read != version:
        view = _View()
        for entry in journal.entries(*_KINDS):
            view.take(entry)
        known = tuple(view.resting.values())
        _views[journal.path] = version, known
    return tuple(one for one in known if target in ("", one.target) and source in ("", one.source))


def damaged(context: PlanContext, target: str = "", source: str = "") -> tuple[Resting, ...]:
    """Those of them that were found damaged or missing, and are not whole again."""
    return tuple(one for one in resting(context, target, source) if one.damage)


def known_at(context: PlanContext, target: Target) -> Known:
    """What is known of the backups on an open target, for whoever reads its shelf."""
    here = list(_here(context, target))
    return Known(
        damaged={one.name: one.damage for one in here if one.damage},
        delivered=frozenset(one.name for one in here if not one.leaving),
        manifests=Remembered(context.state, target.name),
        ended=_ended_keys(context),
    )


def _ended_keys(context: PlanContext) -> EndedKeys:
    """What is remembered of this machine's keys that have ended; nothing where none has."""
    keys = {key_of(signer) for signer in context.journal.ended()}
    if not keys:
        return EndedKeys()
    sealed, first = set(), dict[str, int]()
    for facts in (entry.facts for entry in context.journal.entries(Kind.DELIVERED, Kind.REWRAPPED)):
        first.setdefault(facts["source"], facts["sequence"])
        # What was sealed anew has another digest, which is not noted.
        sealed.add(facts.get("sha256") or facts["name"].rpartition("/")[2])
    return EndedKeys(keys, sealed, first)


def missing_at(
    context: PlanContext, target: Target, source: str, shelf: Iterable[BackupEntry]
) -> tuple[Resting, ...]:
    """What should lie on an open target by what was delivered, and is on its shelf in no shape."""
    seen = {backup.full_name for backup in shelf if not backup.elsewhere}
    # Of a slot that was renamed, or one of another case: it counts where it lies now.
    moved = {backup.name for backup in shelf if backup.verified}
    here = [one for one in _here(context, target) if one.source == source and not one.leaving]
    return tuple(one for one in here if one.name not in seen and one.name.rpartition("/")[2] not in moved)


def note_delivered(context: PlanContext, target: Target, name: str, manifest: Manifest) -> None:
    """Note that a backup lies on a target, read back whole, with its manifest. Raises StateError."""
    facts = {"bytes": manifest.sealed_bytes, "sha256": manifest.sealed_sha256}
    context.journal.append(Kind.DELIVERED, **_facts(target, name, manifest), **facts)


def note_rewrapped(context: PlanContext, target: Target, name: str, manifest: Manifest, old: str) -> None:
    """Note that a backup was sealed anew: it lies under another name than ``old``. Raises StateError."""
    context.journal.append(Kind.REWRAPPED, **_facts(target, name, manifest), old_name=old)


def note_removed(context: PlanContext, target: Target, name: str, manifest: Manifest, reason: str) -> None:
    """Note that something was removed from a target. Raises StateError."""
    context.journal.append(Kind.REMOVED, **_facts(target, name, manifest), reason=reason)


def note_repairing(context: PlanContext, target: Target, name: str, manifest: Manifest, place: str) -> None:
    """Note that a copy from ``place`` is about to be put where a backup is broken. Raises StateError."""
    context.journal.append(Kind.REPAIRING, **_facts(target, name, manifest), from_target=place)


def note_repaired(context: PlanContext, target: Target, name: str, manifest: Manifest, place: str) -> None:
    """Note that it is there, and was read back. Raises StateError."""
    context.journal.append(Kind.REPAIRED, **_facts(target, name, manifest), from_target=place)


def note_gone(context: PlanContext, gone: Resting, reason: str) -> None:
    """Note that a backup which is gone is not expected any more, and why. Raises StateError."""
    context.journal.append(Kind.REMOVED, **facts_of(gone), reason=reason)


@dataclass(frozen=True)
class Witness:
    """Notes what ``found_by`` sees of the backups on an open target, where it is news."""

    context: PlanContext
    target: Target
    found_by: str

    def damaged(self, name: str, manifest: Manifest, detail: str) -> None:
        """A backup's bytes are not those that were delivered. Raises StateError."""
        self._note_damage(_facts(self.target, name, manifest), detail)

    def missing(self, lost: Resting) -> None:
        """A backup is gone. Raises StateError."""
        self._note_damage(facts_of(lost), MISSING)

    def sound(self, name: str, manifest: Manifest) -> None:
        """A backup was read whole and is right. Raises StateError."""
        if self._known(name):
            self.context.journal.append(Kind.SOUND, **_facts(self.target, name, manifest))

    def read(self, name: str, manifest: Manifest, digest: str) -> None:
        """A backup was read whole, and this is the sha256 of what was read. Raises StateError."""
        if digest == manifest.sealed_sha256:
            self.sound(name, manifest)
        else:
            self.damaged(name, manifest, DIFFERS)

    @contextmanager
    def reading(self, reader: HashingReader, name: str, manifest: Manifest) -> Iterator[None]:
        """Note what a backup is that the block reads whole through ``reader``.

        Also where it doesn't open: what is damaged is told from what was sealed wrongly.
        """
        try:
            yield
        except NoMatchingIdentity:
            raise  # a wrong key says nothing of the backup
        except (AgeError, ArchiveError, MismatchError):
            with suppress(TargetError):  # then it was not read whole
                self.read(name, manifest, reader.drain())
            raise
        self.read(name, manifest, reader.drain())

    def _note_damage(self, facts: Json, detail: str) -> None:
        known = self._known(facts["name"])
        if known is None or known.missing != (detail == MISSING):
            self.context.journal.append(Kind.DAMAGED, **facts, found_by=self.found_by, detail=detail)

    def _known(self, name: str) -> Resting | None:
        here = _here(self.context, self.target)
        return next((one for one in here if one.name == name and one.damage), None)


def facts_of(one: Resting) -> Json:
    """How a backup at rest is told in an entry of the journal."""
    facts = {"target": one.target, "source": one.source, "sequence": one.sequence, "name": one.name}
    medium = {"medium": one.medium, "medium_id": one.medium_id}
    return facts | {name: value for name, value in medium.items() if value}


def facts_at(target: Target, name: str, source: str, sequence: int) -> Json:
    """How a backup on an open target is told in an entry: on media also which one. Raises TargetMissing."""
    label, identity = medium_of(target)
    return facts_of(Resting(target.name, label, source, sequence, name, identity))


def medium_of(target: Target) -> tuple[str, str]:
    """Label and id of the medium that is in use; "" for places that are no media. Raises TargetMissing."""
    if not isinstance(target, SupportsMedia):
        return "", ""
    marker = target.medium(f"cannot use {target.name}")
    return marker.label, marker.id


def _here(context: PlanContext, target: Target) -> Iterator[Resting]:
    known = resting(context, target.name)
    if known:
        # A medium that was made ready anew, or a new one of that label, has not what the old one had.
        label, identity = medium_of(target)
        yield from (one for one in known if one.medium == label and one.medium_id in ("", identity))


def _facts(target: Target, name: str, manifest: Manifest) -> Json:
    return facts_at(target, name, manifest.source, manifest.sequence)


def _damage(entry: Entry) -> str:
    facts = entry.facts
    seen = "missing" if facts["detail"] == MISSING else "damaged"
    return f"found {seen} on {entry.time:%Y-%m-%d} ({facts['found_by']}): {facts['detail']}"


def _changed(entry: Entry, known: Resting) -> Resting:
    if entry.kind == Kind.REMOVING:
        return replace(known, leaving=True)
    if entry.kind == Kind.SPARED:
        return replace(known, leaving=False)
    return replace(known, damage="", missing=False)


def _of(facts: Json) -> Resting:
    return Resting(
        target=facts["target"],
        medium=facts.get("medium", ""),
        source=facts["source"],
        sequence=int(facts["sequence"]),
        name=facts["name"],
        medium_id=facts.get("medium_id", ""),
    )
