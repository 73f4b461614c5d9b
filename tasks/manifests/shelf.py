"""What a target holds: every backup, each either verified or with the defect that keeps it from counting.

There is no catalogue: the listing and the manifests are all there is. Nothing on a target is believed
that a trusted machine did not sign, because whoever can write there could otherwise put a forged
newer backup on the shelf and let retention delete the real ones.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cached_property

from tasks.errors import ManifestError, NoBackup, ObjectMissing, TargetError, TargetMissing
from tasks.manifests.manifest import (
    MANIFEST_SUFFIX,
    SEALED_SUFFIX,
    begun_name,
    manifest_name,
    parse_name,
    read_manifest,
    sealed_name,
)
from tasks.manifests.signing import ANOTHER_MACHINE, signature_defect
from tasks.manifests.strays import (
    Found,
    ReadableTarget,
    content,
    readable_manifests,
    renamed_archive,
    renamed_manifests,
)
from tasks.records import BackupEntry, Manifest

CLOCK_TOLERANCE = timedelta(hours=1)
NO_MANIFEST = "no manifest (unfinished delivery)"
LOST = "its manifest is gone: the archive was delivered whole"
FUTURE = "dated in the future"
SEALED_ANEW = "it was sealed anew for other holders"
LISTED = 10
ON_A_NEW_MACHINE = (
    "If this machine replaces the one that took them, put that one's public key under `signers:` in the "
    "plan; `datasave restore --folder` needs no plan and shows the key."
)


@dataclass(frozen=True)
class Known:
    """What a machine remembers of a target's backups, by their full names: why they don't count, though they
    look sound; which were delivered whole."""

    damaged: Mapping[str, str] = field(default_factory=dict)
    delivered: Collection[str] = ()


NOTHING_KNOWN = Known()


@dataclass(frozen=True)
class _Shelf:
    """A listing, and what its manifests are judged by."""

    place: ReadableTarget
    sizes: Mapping[str, int]
    certificates: Mapping[str, tuple[str, ...]]
    trusted: Collection[str] | None
    latest: datetime
    accepted: int
    slots: Collection[str] | None
    known: Known

    def backup(self, slot: str, stem: str) -> BackupEntry | None:
        """One backup, None if it vanished since the listing was made."""
        path = f"{slot}/{stem}" if slot else stem
        if not self._is_slot(slot):
            return self._elsewhere(slot, stem, path)
        if path + MANIFEST_SUFFIX not in self.sizes:
            return self._without_manifest(slot, stem, path)
        manifest: Manifest | None = None
        try:
            manifest = read_manifest(content(self.place, path + MANIFEST_SUFFIX))
        except ObjectMissing:
            return None
        except TargetMissing:
            raise  # the medium itself is gone: that is no defect of a single manifest
        except (ManifestError, TargetError) as error:
            cause = error.message.removeprefix("cannot read the manifest: ")
            defect = self._unreadable(stem, cause)
        except OSError as error:
            defect = f"manifest unreadable: {error.strerror or 'the medium failed'}"
        size = self.sizes.get(path + SEALED_SUFFIX)
        damage = self.known.damaged.get(path + SEALED_SUFFIX, "")
        defect = self._defect(manifest, stem, size) if manifest else defect
        return BackupEntry(
            name=sealed_name(stem),
            slot=slot,
            manifest_name=path + MANIFEST_SUFFIX,
            manifest=manifest,
            defect=defect or damage,
            bytes=size or 0,
            standing="damaged" if damage and not defect else "",
            certificates=self.certificates.get(path, ()),
            marks=manifest.marks if manifest and manifest.sequence > self.accepted else (),
        )

    def _is_slot(self, folder: str) -> bool:
        return not folder or self.slots is None or folder.upper() in self.slots

    def _elsewhere(self, slot: str, stem: str, path: str) -> BackupEntry:
        """A backup in a folder that people or a NAS made. It is not read: there may be any number of them."""
        listed = path + MANIFEST_SUFFIX in self.sizes
        return BackupEntry(
            name=sealed_name(stem),
            slot=slot,
            manifest_name=path + MANIFEST_SUFFIX if listed else "",
            manifest=None,
            defect=f"in the folder {slot}, which is no slot",
            bytes=self.sizes.get(path + SEALED_SUFFIX, 0),
            standing="elsewhere",
        )

    def _without_manifest(self, slot: str, stem: str, path: str) -> BackupEntry:
        """An archive alone: cut off, unless it was delivered or a manifest of another name tells of it."""
        size = self.sizes[path + SEALED_SUFFIX]
        manifest = self._telling_of(stem, size)
        delivered = not manifest and path + SEALED_SUFFIX in self.known.delivered
        return BackupEntry(
            name=sealed_name(stem),
            slot=slot,
            manifest_name=manifest.name if manifest else "",
            manifest=None,
            defect=self._renamed(stem, manifest) if manifest else LOST if delivered else NO_MANIFEST,
            bytes=size,
            standing="delivered" if delivered else "",
            certificates=self.certificates.get(path, ()),
        )

    def _telling_of(self, stem: str, size: int) -> Found | None:
        """A manifest of another name that states an archive's size; the archive's own, if it is there."""
        found = [*self._apart, *self._of_originals(stem, size)]
        alike = [one for one in found if one.manifest.sealed_bytes == size]
        own = [one for one in alike if one.manifest.sealed_name == sealed_name(stem)]
        return next(iter((*own, *alike)), None)

    @cached_property
    def _apart(self) -> tuple[Found, ...]:
        """The manifests that don't lie beside their archive under its name."""
        alone = (
            stem + MANIFEST_SUFFIX for stem in self._manifest_stems if stem + SEALED_SUFFIX not in self.sizes
        )
        return (
            *renamed_manifests(self.place, self.sizes),
            *readable_manifests(self.place, self.sizes, alone),
        )

    def _of_originals(self, stem: str, size: int) -> Iterable[Found]:
        """The manifests of the archives that one under a name of people's may be a copy of."""
        if parse_name(sealed_name(stem)):
            return ()
        alike = (
            one + MANIFEST_SUFFIX
            for one in self._manifest_stems
            if self.sizes.get(one + SEALED_SUFFIX) == size
        )
        return readable_manifests(self.place, self.sizes, alike)

    @property
    def _manifest_stems(self) -> list[str]:
        return [name.removesuffix(MANIFEST_SUFFIX) for name in self.sizes if name.endswith(MANIFEST_SUFFIX)]

    def _belongs_to(self, own: str) -> str:
        told = f"the manifest belongs to {own}"
        own_manifest = manifest_name(own.removesuffix(SEALED_SUFFIX))
        listed = any(name.rpartition("/")[2] == own_manifest for name in self.sizes)
        return told if listed else f"{told}, which is missing: name both files so again"

    def _renamed(self, stem: str, manifest: Found) -> str:
        """What is wrong with an archive whose manifest has another name, and how it is put right."""
        own = manifest.manifest.sealed_name
        if own == sealed_name(stem):
            return f"its manifest is {manifest.name}: name that {manifest_name(stem)} again, beside it"
        if manifest.name.removesuffix(MANIFEST_SUFFIX) + SEALED_SUFFIX in self.sizes:
            return f"as large as {own}, of which it seems to be a copy"
        return f"as large as {own}, which is missing: if it is that, name it so again"

    def _unreadable(self, stem: str, cause: str) -> str:
        """The defect of a manifest that cannot be read; where its content lies under another name, where."""
        renamed = (found for found in self._apart if found.manifest.sealed_name == sealed_name(stem))
        whole = next(renamed, None)
        instead = f"; a whole one is called {whole.name}: rename it to {manifest_name(stem)}" if whole else ""
        return f"manifest unreadable: {cause}{instead}"

    def _defect(self, manifest: Manifest, stem: str, size: int | None) -> str:
        """The first thing wrong with a manifest; the signature is judged before any fact it states."""
        if defect := signature_defect(manifest, self.trusted):
            return defect
        if manifest.sealed_name != sealed_name(stem):
            return self._belongs_to(manifest.sealed_name)
        if manifest.taken > self.latest:
            return FUTURE
        if size is None and (renamed := renamed_archive(self.sizes, manifest.sealed_bytes)):
            return f"archive missing: {renamed} has its size; rename it to {manifest.sealed_name}"
        return _archive_defect(manifest, size)


def read_shelf(
    place: ReadableTarget,
    *,
    trusted: Collection[str] | None,
    now: datetime,
    source: str | None = None,
    accepted: int = 0,
    slots: Collection[str] | None = None,
    known: Known = NOTHING_KNOWN,
) -> list[BackupEntry]:
    """Every backup on ``place``, oldest first by sequence number, those without a readable manifest first.

    ``trusted`` as in signing.signature_defect; ``now`` with a zone; ``source`` leaves out other
    sources' backups; marks up to number ``accepted`` are not shown. ``slots`` are the folders, in capitals,
    whose backups count beside those in the root, None for any folder. ``known`` is what this machine
    remembers of these backups. ``manifest_name`` is empty where
    there is no manifest. Files of other kinds are ignored, manifests that vanish meanwhile are left out.
    Raises TargetError where the listing fails or the medium is gone; a single manifest that cannot be
    read is a defect, not an error.
    """
    sizes = {stat.name: stat.bytes for stat in place.list("")}
    shelf = _Shelf(place, sizes, _certificates(sizes), trusted, now + CLOCK_TOLERANCE, accepted, slots, known)
    found = (shelf.backup(slot, stem) for slot, stem in _stems(sizes, source))
    return sorted(_without_copies(backup for backup in found if backup), key=_order)


def elsewhere_text(shelf: Iterable[BackupEntry]) -> str:
    """The copies in folders that are no slots, in one sentence; "" where there are none."""
    copies = [backup for backup in shelf if backup.elsewhere]
    if not copies:
        return ""
    folders = ", ".join(sorted({f"{backup.slot}/" for backup in copies}))
    return f"copies elsewhere on this target: {len(copies)} in {folders}; they don't count and are left alone"


def newest_verified(shelf: Sequence[BackupEntry]) -> BackupEntry | None:
    """The verified backup with the highest sequence number, None where nothing is verified.

    Numbers of different sources say nothing about each other: hand it one source's shelf.
    """
    return max((backup for backup in shelf if backup.verified), key=_order, default=None)


def find(shelf: Sequence[BackupEntry], text: str, *, timezone: tzinfo = UTC) -> BackupEntry:
    """The verified backup that ``text`` asks for.

    ``text`` is "latest" (the newest that is not marked, if there is one), a sequence number ("417"), the
    date it was taken in ``timezone`` ("2026-11-23": the newest of that day), or the name of archive or
    manifest, with its slot or without. Raises NoBackup, saying what there is, also where two different
    backups fit equally.
    """
    matches = [backup for backup in shelf if fits(backup, text.strip(), timezone)]
    verified = [backup for backup in matches if backup.verified]
    unmarked = [backup for backup in verified if backup.good]
    newest = newest_verified(unmarked if unmarked and text.strip() == "latest" else verified)
    if newest is None:
        cause = f": {matches[-1].defect}" if matches else ""
        raise NoBackup(f"no verified backup fits {text!r}{cause}", hint=_offer(shelf))
    rivals = [b for b in verified if _source(b) != _source(newest) or _sequence(b) == _sequence(newest)]
    if len(rivals) > 1:
        raise NoBackup(f"more than one backup fits {text!r}", hint="Give its name. " + _offer(verified))
    return newest


def _archive_defect(manifest: Manifest, size: int | None) -> str:
    """What a trusted manifest and the listing say of the archive; ``size`` is None where it is not there."""
    if size is None:
        return "archive missing"
    if size != manifest.sealed_bytes:
        return f"archive has {size} bytes, the manifest says {manifest.sealed_bytes}"
    if not manifest.checks:
        return "no checks recorded"
    failed = any(check.failed for check in manifest.checks)
    return "checks had failed" if failed else ""


def _stems(names: Iterable[str], source: str | None) -> list[tuple[str, str]]:
    """(slot, stem) of every backup: whatever has a manifest or a sealed archive, once."""
    found: dict[tuple[str, str], None] = {}
    for name in names:
        slot, _, file = name.rpartition("/")
        for suffix in (MANIFEST_SUFFIX, SEALED_SUFFIX):
            stem = file.removesuffix(suffix)
            if stem != file and _concerns(stem, source):
                found[slot, stem] = None
    return list(found)


def _concerns(stem: str, source: str | None) -> bool:
    if source is None:
        return True
    parts = parse_name(sealed_name(stem))
    # A name that someone changed ("… copy") still says whose backup it was.
    return parts.source == source if parts else stem.startswith(f"{source}-")


def _certificates(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name in sorted(names):
        slot, slash, file = name.rpartition("/")
        parts = parse_name(file)
        if parts and parts.kind == "certificate":
            path = slot + slash + parts.stem
            found[path] = (*found.get(path, ()), name)
    return found


def _without_copies(backups: Iterable[BackupEntry]) -> list[BackupEntry]:
    """Of one backup lying in several slots, let one count: copies must not add up to the floor.

    The one with the shortest slot name counts: slots are short, folders that people make are not.
    """
    judged = []
    first: dict[tuple[str, int, str], str] = {}
    latest = _latest_seals(backups := list(backups))
    for backup in sorted(backups, key=lambda backup: (len(backup.slot), backup.slot)):
        manifest = backup.manifest
        if manifest is None or not backup.verified:
            judged.append(backup)
            continue
        if _anew(backup) < latest[_copied_by(manifest)]:
            judged.append(backup.model_copy(update={"defect": SEALED_ANEW}))
            continue
        slot = first.setdefault((manifest.source, manifest.sequence, manifest.sealed_sha256), backup.slot)
        defect = "" if slot == backup.slot else f"another copy of the backup in {slot or 'the root'}"
        judged.append(backup.model_copy(update={"defect": defect}))
    return judged


def _latest_seals(backups: Iterable[BackupEntry]) -> dict[tuple[str, int, str], int]:
    """How often each verified backup was sealed anew at the most."""
    latest: dict[tuple[str, int, str], int] = {}
    for backup in backups:
        if backup.manifest and backup.verified:
            key = _copied_by(backup.manifest)
            latest[key] = max(_anew(backup), latest.get(key, 0))
    return latest


def _copied_by(manifest: Manifest) -> tuple[str, int, str]:
    """What all copies of one backup have in common, whoever they are sealed for."""
    return manifest.source, manifest.sequence, manifest.archive_sha256


def _anew(backup: BackupEntry) -> int:
    parts = parse_name(backup.name)
    return parts.anew if parts else 0


def _order(backup: BackupEntry) -> tuple[bool, int, str, str]:
    return backup.manifest is not None, _sequence(backup), backup.name, backup.slot


def _sequence(backup: BackupEntry) -> int:
    if backup.manifest:
        return backup.manifest.sequence
    parts = begun_name(backup.name)
    return parts.sequence if parts else -1


def _source(backup: BackupEntry) -> str:
    return backup.manifest.source if backup.manifest else ""


def fits(backup: BackupEntry, text: str, timezone: tzinfo = UTC) -> bool:
    """Whether ``text`` means this backup, as in ``find``, whether it counts or not."""
    if text == "latest":
        return True
    if re.fullmatch("[0-9]{1,18}", text):
        return _sequence(backup) == int(text)
    stem = backup.name.removesuffix(SEALED_SUFFIX)
    names = {stem, backup.name, manifest_name(stem)}
    if backup.slot:
        names |= {f"{backup.slot}/{name}" for name in names}
    parts = begun_name(backup.name)
    taken = backup.manifest.taken if backup.manifest else parts.taken if parts else None
    day = taken.astimezone(timezone).date().isoformat() if taken else ""
    return bool(text) and text in {*names, day}


def _offer(shelf: Sequence[BackupEntry]) -> str:
    verified = [backup for backup in shelf if backup.verified]
    if not shelf:
        return "There are no backups here at all. Is it the right place?"
    if not verified:
        text = f"There is no verified backup here, and {len(shelf)} that cannot be trusted."
        # On a new machine with the old plan: the one case where what looks like a forgery is the owner's own.
        strange = any(backup.defect.startswith(ANOTHER_MACHINE) for backup in shelf)
        return text + (f" {ON_A_NEW_MACHINE}" if strange else "")
    newest = [f"{b.slot}/{b.name}".lstrip("/") for b in verified[: -LISTED - 1 : -1]]
    older = len(verified) - len(newest)
    return f"There are: {', '.join(newest)}{f', and {older} older' if older else ''}."
