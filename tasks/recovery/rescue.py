"""Find the way back with nothing but a key and one place with backups: no plan, no state, no memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from tasks.age.keys import Identity
from tasks.errors import NoBackup, NoMatchingIdentity, TargetMissing
from tasks.keys.identities import recipients_of
from tasks.manifests.shelf import find, newest_verified, read_shelf
from tasks.records import BackupEntry, Manifest
from tasks.recovery.marks import warnings_about
from tasks.targets.base import Target


@dataclass(frozen=True)
class FoundShelf:
    """The backups of one source in one place, oldest first."""

    place: Target
    source: str
    backups: tuple[BackupEntry, ...]


@dataclass(frozen=True)
class Choice:
    """What to bring back of one source, and from where; ``warnings`` tell what one should know about it."""

    place: Target
    backup: BackupEntry
    manifest: Manifest
    warnings: tuple[str, ...] = ()


def shelves(
    places: Sequence[Target], trusted: frozenset[str] | None, source: str | None = None
) -> list[FoundShelf]:
    """What lies in the places, by source. ``trusted`` are the machines whose signatures count, None for any
    that signed what is whole. Raises TargetError where a place cannot be read.
    """
    found = []
    for place in places:
        backups = read_shelf(place, trusted=trusted, now=datetime.now(UTC), source=source)
        names = dict.fromkeys(backup.manifest.source for backup in backups if backup.manifest)
        for name in sorted(names):
            own = (one for one in backups if one.manifest and one.manifest.source == name)
            found.append(FoundShelf(place, name, tuple(own)))
        if strays := tuple(one for one in backups if one.manifest is None):
            found.append(FoundShelf(place, "", strays))
    return found


def opens(manifest: Manifest | None, identities: Sequence[Identity]) -> bool:
    """Whether one of the keys opens a backup, as far as its manifest says."""
    if manifest is None:
        return False
    # A passphrase shows no recipient: only trying it tells.
    unknown = any(not hasattr(identity, "recipient") for identity in identities)
    return unknown or not recipients_of(identities).isdisjoint(one.recipient for one in manifest.recipients)


def pick(
    found: Sequence[FoundShelf], wanted: str, identities: Sequence[Identity], timezone: tzinfo = UTC
) -> list[Choice]:
    """The backup of each source that ``wanted`` names, as in shelf.find; of the newest, that the keys open.

    Raises NoBackup where there is none, NoMatchingIdentity where these keys open nothing here.
    """
    sources = sorted({shelf.source for shelf in found if shelf.source})
    choices = [one for name in sources for one in _best(found, name, wanted, identities, timezone)]
    if choices:
        return choices
    verified = [one for shelf in found for one in shelf.backups if one.verified]
    if verified and not any(opens(one.manifest, identities) for one in verified):
        holders = {holder.name for one in verified if one.manifest for holder in one.manifest.recipients}
        raise NoMatchingIdentity(
            "this key opens none of the backups there",
            hint=f"They were sealed for: {', '.join(sorted(holders))}. Ask one of them.",
        )
    places = ", ".join(dict.fromkeys(shelf.place.name for shelf in found)) or "the place"
    everything = [one for shelf in found for one in shelf.backups]
    if not everything:
        raise NoBackup(f"there are no backups in {places}", hint="Name another place, or a folder in it.")
    find(everything, wanted, timezone=timezone)  # raises, saying what there is instead
    raise NoBackup(f"no backup in {places} fits {wanted!r}")


def _best(
    found: Sequence[FoundShelf],
    source: str,
    wanted: str,
    identities: Sequence[Identity],
    timezone: tzinfo,
) -> Iterator[Choice]:
    """The fitting backup of a source with the highest number, of all places; nothing where none fits."""
    fitting: list[tuple[Target, BackupEntry, Manifest]] = []
    for shelf in (one for one in found if one.source == source):
        openable = [one for one in shelf.backups if opens(one.manifest, identities)]
        try:
            one = find(openable, wanted, timezone=timezone)
        except NoBackup:
            continue
        if one.manifest:
            fitting.append((shelf.place, one, one.manifest))
    if fitting:
        place, backup, manifest = max(fitting, key=lambda item: item[2].sequence)
        everything = [one for shelf in found if shelf.source == source for one in shelf.backups]
        passed_over = _passed_over(everything, manifest) if wanted == "latest" else []
        yield Choice(place, backup, manifest, (*passed_over, *warnings_about(everything, backup, manifest)))


def _passed_over(everything: Sequence[BackupEntry], taken: Manifest) -> list[str]:
    """That there is a newer one, which these keys do not open: not to be passed over in silence."""
    newest = newest_verified(everything)
    if newest is None or newest.manifest is None or newest.manifest.sequence <= taken.sequence:
        return []
    names = ", ".join(holder.name for holder in newest.manifest.recipients)
    return [
        f"the newest backup of {taken.source}, #{newest.manifest.sequence}, is not sealed for this key, but "
        f"for {names}; #{taken.sequence} is the newest that it opens"
    ]


def some_place(places: Sequence[Target], looked: Sequence[str]) -> Sequence[Target]:
    """The places, of which there must be one. Raises TargetMissing, saying where was looked."""
    if places:
        return places
    raise TargetMissing(
        f"no drive with backups is plugged in: looked at {', '.join(looked)}",
        hint="Plug one in and mount it, or say where the backups are: a folder, s3://…, sftp://… or smb://….",
    )
