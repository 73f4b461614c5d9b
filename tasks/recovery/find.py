"""Find what to bring back: where backups are read from, what is known about that place, and which one it is.

With a plan a person names a target and a backup (``choose``). On a bare machine every place at hand is listed
by source (``shelves``), and of each source the newest backup is taken that the keys open (``choose_each``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo

from tasks.age.keys import Identity
from tasks.backup.condition import Witness, known_at
from tasks.context import PlanContext
from tasks.errors import NoBackup, NoMatchingIdentity
from tasks.health.trend import accepted_through
from tasks.keys.identities import recipients_of
from tasks.manifests.entries import NOTHING_KNOWN, Known
from tasks.manifests.newer import newer_than, other_sources
from tasks.manifests.shelf import find, newest_verified, read_shelf
from tasks.options import UserCheck
from tasks.records import BackupEntry, Finding, Manifest
from tasks.sources.base import Source
from tasks.sources.registry import source_for_copies
from tasks.targets.base import Target

LATEST = "latest"
GONE = "it was delivered there and is not there any more"
PASSED_OVER = "newer ones passed over"


@dataclass(frozen=True)
class Origin:
    """A place that backups are read from, and what is known about what lies there.

    ``trusted`` are the public keys of machines whose signatures count, None for any that signed what is
    whole. ``source`` is a full name, None for any. ``adapter`` is the plan's, which knows where the engine's
    programs are. A backup's date is a day in ``timezone``. Marks up to number ``accepted`` don't count.
    ``slots`` as in read_shelf.
    ``strict``: what could not be checked isn't restored either.
    ``slots`` as in read_shelf. ``known`` are the names of all of the plan's sources,
    ``memory`` what this machine remembers of what lies there; ``witness`` is told what is seen of it.
    """

    target: Target
    trusted: frozenset[str] | None = None
    source: str | None = None
    checks: tuple[UserCheck, ...] = ()
    adapter: Source | None = None
    timezone: tzinfo = UTC
    accepted: int = 0
    slots: frozenset[str] | None = None
    strict: bool = False
    known: tuple[str, ...] = ()
    memory: Known = NOTHING_KNOWN
    witness: Witness | None = None

    def shelf(self) -> list[BackupEntry]:
        """The backups there, oldest first. Raises TargetError where the place cannot be read."""
        return read_shelf(
            self.target,
            trusted=self.trusted,
            now=datetime.now(UTC),
            source=self.source,
            accepted=self.accepted,
            slots=self.slots,
            known=self.memory,
        )


def origin_of(context: PlanContext, target: Target, source_name: str, found_by: str = "restore") -> Origin:
    """An open target with what the plan knows about one of its sources; ``found_by`` names who reads it."""
    slots = context.slots(target.name)
    return Origin(
        target=target,
        trusted=context.trusted(),
        source=context.full_name(source_name),
        checks=context.checks(source_name),
        adapter=context.source(source_name),
        timezone=context.timezone,
        accepted=accepted_through(context, source_name),
        slots=slots,
        strict=context.plan.strict,
        known=context.full_names,
        memory=known_at(context, target),
        witness=Witness(context, target, found_by) if slots is not None else None,
    )


@dataclass(frozen=True)
class Choice:
    """A backup to bring back, and from where; ``warnings`` say what a person should know about it."""

    origin: Origin
    backup: BackupEntry
    manifest: Manifest
    warnings: tuple[str, ...] = ()

    @property
    def adapter(self) -> Source:
        """What reads the copy: the plan's adapter, or one that looks for the engine in the usual places."""
        known = self.origin.adapter
        return known if known and known.kind == self.manifest.kind else source_for_copies(self.manifest.kind)


@dataclass(frozen=True)
class FoundShelf:
    """The backups of one source in one place, oldest first; ``source`` is "" for those of no known one."""

    origin: Origin
    backups: tuple[BackupEntry, ...]

    @property
    def source(self) -> str:
        """Full name of the source."""
        return self.origin.source or ""


def choose(origin: Origin, wanted: str) -> Choice:
    """The verified backup that ``wanted`` names: a number, a date, a name, or ``latest``.

    Raises NoBackup, saying what there is, and TargetError.
    """
    shelf = origin.shelf()
    if not shelf and (others := _others(origin, None)):
        raise NoBackup(f"there are no backups of {origin.source} in {origin.target.name}", hint=_told(others))
    backup = find(shelf, wanted, timezone=origin.timezone)
    manifest = backup.manifest
    if manifest is None:
        raise NoBackup(f"the backup {backup.name} has no manifest")
    known = [*shelf, *_gone(shelf, origin.memory.delivered)]
    warnings = (
        *newer_than(known, manifest, wanted.strip(), origin.timezone),
        *(_others(origin, manifest) if wanted.strip() == LATEST else ()),
        *_about_marks(shelf, backup, manifest),
    )
    return Choice(origin, backup, manifest, warnings)


def _gone(shelf: Sequence[BackupEntry], delivered: Iterable[str]) -> Iterator[BackupEntry]:
    """What was delivered to the place and is on its shelf in no shape."""
    seen = {backup.name for backup in shelf if not backup.elsewhere}
    for name in delivered:
        slot, _, file = name.rpartition("/")
        if file not in seen:
            yield BackupEntry(name=file, slot=slot, manifest_name="", manifest=None, defect=GONE, bytes=0)


def passed_over(choice: Choice) -> tuple[Finding, ...]:
    """What a certificate or a report says of what was passed over; nothing where the newest was taken."""
    if not choice.warnings:
        return ()
    return (Finding(check=PASSED_OVER, passed=True, detail=_told(choice.warnings)),)


def _others(origin: Origin, used: Manifest | None) -> tuple[str, ...]:
    """What lies there under names that the plan doesn't know; nothing where there is no plan."""
    if not origin.known:
        return ()
    return other_sources((stat.name for stat in origin.target.list()), origin.known, used)


def _told(lines: Sequence[str]) -> str:
    return " ".join(f"{line.rstrip('.')}." for line in lines)


def shelves(origins: Sequence[Origin]) -> list[FoundShelf]:
    """What lies in each of the places, by source. Raises TargetError where one cannot be read."""
    found = []
    for origin in origins:
        backups = origin.shelf()
        names = {backup.manifest.source for backup in backups if backup.manifest}
        for name in sorted(names):
            own = (one for one in backups if one.manifest and one.manifest.source == name)
            found.append(FoundShelf(replace(origin, source=name), tuple(own)))
        if strays := tuple(one for one in backups if one.manifest is None):
            found.append(FoundShelf(replace(origin, source=""), strays))
    return found


def may_open(manifest: Manifest | None, identities: Sequence[Identity]) -> bool:
    """Whether one of the keys opens a backup, as far as its manifest says."""
    if manifest is None:
        return False
    # A passphrase shows no recipient: only trying it tells.
    unknown = any(not hasattr(identity, "recipient") for identity in identities)
    return unknown or not recipients_of(identities).isdisjoint(one.recipient for one in manifest.recipients)


def choose_each(found: Sequence[FoundShelf], wanted: str, identities: Sequence[Identity]) -> list[Choice]:
    """The backup of each source that ``wanted`` names, as in ``choose``; of the newest, that the keys open.

    Raises NoBackup where there is none, NoMatchingIdentity where these keys open nothing here.
    """
    sources = sorted({shelf.source for shelf in found if shelf.source})
    choices = [one for name in sources for one in _best(found, name, wanted, identities)]
    if choices:
        return choices
    everything = [one for shelf in found for one in shelf.backups]
    verified = [one for one in everything if one.verified]
    if verified and not any(may_open(one.manifest, identities) for one in verified):
        holders = {holder.name for one in verified if one.manifest for holder in one.manifest.recipients}
        raise NoMatchingIdentity(
            "this key opens none of the backups there",
            hint=f"They were sealed for: {', '.join(sorted(holders))}. Ask one of them.",
        )
    places = ", ".join(dict.fromkeys(shelf.origin.target.name for shelf in found)) or "the place"
    if not everything:
        raise NoBackup(f"there are no backups in {places}", hint="Name another place, or a folder in it.")
    find(everything, wanted)  # raises, saying what there is instead
    raise NoBackup(f"no backup in {places} fits {wanted!r}")


def _best(
    found: Sequence[FoundShelf], source: str, wanted: str, identities: Sequence[Identity]
) -> Iterator[Choice]:
    """The fitting backup of a source with the highest number, of all places; nothing where none fits."""
    mine = [shelf for shelf in found if shelf.source == source]
    fitting: list[Choice] = []
    for shelf in mine:
        openable = [one for one in shelf.backups if may_open(one.manifest, identities)]
        try:
            one = find(openable, wanted, timezone=shelf.origin.timezone)
        except NoBackup:
            continue
        if one.manifest:
            fitting.append(Choice(shelf.origin, one, one.manifest))
    if fitting:
        best = max(fitting, key=lambda choice: choice.manifest.sequence)
        everything = [one for shelf in found if shelf.source in (source, "") for one in shelf.backups]
        sealed = _sealed_for_others(everything, best.manifest) if wanted == LATEST else ()
        newer = newer_than(everything, best.manifest, wanted, best.origin.timezone)
        marks = _about_marks(everything, best.backup, best.manifest)
        yield replace(best, warnings=(*sealed, *newer, *marks))


def _sealed_for_others(everything: Sequence[BackupEntry], taken: Manifest) -> Iterator[str]:
    """A warning where there is a newer backup, which these keys do not open."""
    newest = newest_verified(
        [one for one in everything if one.manifest and one.manifest.source == taken.source]
    )
    if newest and newest.manifest and newest.manifest.sequence > taken.sequence:
        names = ", ".join(holder.name for holder in newest.manifest.recipients)
        yield (
            f"the newest backup of {taken.source}, #{newest.manifest.sequence}, is not sealed for this key, "
            f"but for {names}; #{taken.sequence} is the newest that it opens"
        )


def _about_marks(shelf: Sequence[BackupEntry], backup: BackupEntry, manifest: Manifest) -> tuple[str, ...]:
    """Warnings before ``backup`` is brought back: it is marked, or newer ones are."""
    mine = [b for b in shelf if b.verified and b.manifest and b.manifest.source == manifest.source]
    if backup.marks:
        older = [b for b in mine if b.good]
        instead = f"; the newest that is not marked is {older[-1].name}" if older else ""
        marks = ", ".join(backup.marks)
        return (f"{backup.name} is marked: it did not look like those before it ({marks}){instead}",)
    newer = [b for b in mine if b.marks and b.manifest and b.manifest.sequence > manifest.sequence]
    if not newer:
        return ()
    number = newer[-1].manifest.sequence if newer[-1].manifest else 0
    return (
        f"{len(newer)} newer here are marked and were passed over ({', '.join(newer[-1].marks)}); "
        f"to have the newest all the same: --backup {number}",
    )
