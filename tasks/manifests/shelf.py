"""What a target holds: every backup, each either verified or with the defect that keeps it from counting.

There is no catalogue: the listing and the manifests are all there is. Nothing on a target is believed
that a trusted machine did not sign, because whoever can write there could otherwise put a forged
newer backup on the shelf and let retention delete the real ones.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo

from tasks.errors import NoBackup
from tasks.manifests.contents import Contents
from tasks.manifests.entries import NOTHING_KNOWN, Known, Listing
from tasks.manifests.manifest import (
    MANIFEST_SUFFIX,
    SEALED_SUFFIX,
    begun_name,
    manifest_name,
    parse_name,
)
from tasks.manifests.signing import ANOTHER_MACHINE
from tasks.manifests.strays import ReadableTarget
from tasks.records import BackupEntry, Manifest

CLOCK_TOLERANCE = timedelta(hours=1)
SEALED_ANEW = "it was sealed anew for other holders"
LISTED = 10
ON_A_NEW_MACHINE = (
    "If this machine replaces the one that took them, put that one's public key under `signers:` in the "
    "plan; `datasave restore --folder` needs no plan and shows the key."
)


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
    stats = {stat.name: stat for stat in place.list("")}
    sizes = {name: stat.bytes for name, stat in stats.items()}
    contents = Contents(place, stats, known.manifests)
    shelf = Listing(
        place, sizes, _certificates(sizes), trusted, now + CLOCK_TOLERANCE, accepted, slots, known, contents
    )
    stems = _stems(sizes, source)
    contents.fetch(shelf.manifests(stems))
    found = (shelf.backup(slot, stem) for slot, stem in stems)
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
    parts = begun_name(stem)
    # A name that someone changed ("… copy", "Copy of …") still says whose backup it was.
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
