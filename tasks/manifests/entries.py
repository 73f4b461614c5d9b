"""One backup as a listing and its manifest show it: verified, or with what keeps it from counting."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from tasks.errors import ManifestError, ObjectMissing, TargetError, TargetMissing
from tasks.manifests.contents import Contents
from tasks.manifests.manifest import (
    MANIFEST_SUFFIX,
    SEALED_SUFFIX,
    SIGNATURE_SUFFIX,
    manifest_name,
    parse_name,
    read_manifest,
    sealed_name,
)
from tasks.manifests.remembered import Remembered
from tasks.manifests.signing import signature_defect
from tasks.manifests.strays import (
    Found,
    ReadableTarget,
    readable_manifests,
    renamed_archive,
    renamed_manifests,
)
from tasks.records import BackupEntry, Manifest

NO_MANIFEST = "no manifest (unfinished delivery)"
LOST = "its manifest is gone: the archive was delivered whole"
NEVER_DELIVERED = "signed by a key that has ended, and never delivered while it was in use"
FUTURE = "dated in the future"


@dataclass(frozen=True)
class EndedKeys:
    """What a machine remembers of keys that have ended: whoever has one now forges backups of before.

    ``sealed``: names and digests of all archives that were delivered; ``first``: by source, the number with
    which that memory begins.
    """

    keys: Collection[str] = ()
    sealed: Collection[str] = ()
    first: Mapping[str, int] = field(default_factory=dict)

    def deny(self, manifest: Manifest) -> bool:
        """Whether a backup that such a key signed would have been delivered here, and was not."""
        remembered = manifest.sequence >= self.first.get(manifest.source, manifest.sequence + 1)
        known = manifest.sealed_sha256 in self.sealed or manifest.sealed_name in self.sealed
        return manifest.machine in self.keys and remembered and not known


@dataclass(frozen=True)
class Known:
    """What a machine remembers of a target's backups, by their full names.

    ``damaged``: why they don't count, though they look sound; ``delivered``: which were, whole; ``manifests``
    need not be fetched again; ``ended``: keys of this machine that are used no more.
    """

    damaged: Mapping[str, str] = field(default_factory=dict)
    delivered: Collection[str] = ()
    manifests: Remembered | None = None
    ended: EndedKeys = field(default_factory=EndedKeys)


NOTHING_KNOWN = Known()


@dataclass(frozen=True)
class Listing:
    """A listing, and what its manifests are judged by."""

    place: ReadableTarget
    sizes: Mapping[str, int]
    certificates: Mapping[str, tuple[str, ...]]
    trusted: Collection[str] | None
    latest: datetime
    accepted: int
    slots: Collection[str] | None
    known: Known
    contents: Contents

    def backup(self, slot: str, stem: str) -> BackupEntry | None:
        """One backup, None if it vanished since the listing was made."""
        path = f"{slot}/{stem}" if slot else stem
        if not self._is_slot(slot):
            return self._elsewhere(slot, stem, path)
        if path + MANIFEST_SUFFIX not in self.sizes:
            return self._without_manifest(slot, stem, path)
        manifest: Manifest | None = None
        try:
            manifest = read_manifest(self.contents.of(path + MANIFEST_SUFFIX))
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
            signature=self._signature(path),
            marks=manifest.marks if manifest and manifest.sequence > self.accepted else (),
        )

    def manifests(self, stems: Iterable[tuple[str, str]]) -> list[str]:
        """Full names of the manifests that are read for these backups."""
        paths = (f"{slot}/{stem}".lstrip("/") for slot, stem in stems if self._is_slot(slot))
        return [path + MANIFEST_SUFFIX for path in paths if path + MANIFEST_SUFFIX in self.sizes]

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
            signature=self._signature(path),
        )

    def _signature(self, path: str) -> str:
        return path + SIGNATURE_SUFFIX if path + SIGNATURE_SUFFIX in self.sizes else ""

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
        if self.known.ended.deny(manifest):
            return NEVER_DELIVERED
        if manifest.sealed_name != sealed_name(stem):
            return self._belongs_to(manifest.sealed_name)
        if manifest.taken > self.latest:
            return FUTURE
        if size is None and (renamed := renamed_archive(self.sizes, manifest.sealed_bytes)):
            return f"archive missing: {renamed} has its size; rename it to {manifest.sealed_name}"
        return _archive_defect(manifest, size)


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
