"""Files of a backup that someone renamed or moved apart, as sync clients and people do.

Such a backup counts again once its files are named back. Until then it must not pass for what an
interrupted delivery left: that is an archive which no manifest on the target tells of, whatever its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import BinaryIO, NamedTuple, Protocol

from tasks.errors import ManifestError, TargetError, TargetMissing
from tasks.manifests.manifest import (
    MANIFEST_SUFFIX,
    MAX_BYTES,
    SEALED_SUFFIX,
    SIGNATURE_SUFFIX,
    manifest_name,
    parse_name,
    read_manifest,
)
from tasks.platform.files import HashingReader
from tasks.records import Manifest, Properties, Stat


class ReadableTarget(Protocol):
    """The part of a target that reading its shelf needs."""

    properties: Properties

    def list(self, prefix: str = "") -> Iterable[Stat]: ...
    def open(self, name: str) -> AbstractContextManager[BinaryIO]: ...


class Found(NamedTuple):
    """A manifest and the full name under which it lies."""

    name: str
    manifest: Manifest


def content(place: ReadableTarget, name: str) -> bytes:
    """What a manifest of that name holds; of a giant file no more than a reader needs to refuse it."""
    blocks = []
    missing = MAX_BYTES + 1
    with place.open(name) as stream:
        while missing and (block := stream.read(missing)):
            blocks.append(block)
            missing -= len(block)
    return b"".join(blocks)


def readable_manifests(
    place: ReadableTarget, sizes: Mapping[str, int], names: Iterable[str]
) -> Iterator[Found]:
    """Those of the listed files ``names`` that hold a manifest, whoever signed it."""
    for name in names:
        if not 0 < sizes[name] <= MAX_BYTES or not _begins_as_json(place, name):
            continue
        try:
            yield Found(name, read_manifest(content(place, name)))
        except TargetMissing:
            raise
        except (ManifestError, TargetError, OSError):
            continue  # none, or none that can be read


def renamed_manifests(place: ReadableTarget, sizes: Mapping[str, int]) -> Iterator[Found]:
    """The manifests among the listed files that bear no manifest's name, by what they hold.

    Only files whose names have something of a manifest's are looked at: a target may hold others' files.
    """
    likely = (name for name in sizes if "manifest" in name.casefold() or ".json" in name.casefold())
    return readable_manifests(place, sizes, (name for name in likely if not _is_record(name)))


def renamed_archive(sizes: Mapping[str, int], size: int) -> str:
    """Full name of a file that has an archive's size and no manifest beside it; "" if none has."""
    alike = (name for name, found in sizes.items() if found == size and not _is_record(name))
    return next((name for name in alike if _manifest_beside(name) not in sizes), "")


def told_of(place: ReadableTarget, archive: str) -> str:
    """Full name of a manifest, wherever it lies and whatever it is called, that states an archive's size and
    digest; "" where none does.

    Every file that may be a manifest is looked at, and the archive read where one states its size: to be
    asked before an archive is removed. One that cannot be read now passes for the one that is stated. Raises
    TargetError where the listing fails or the medium is gone.
    """
    sizes = {stat.name: stat.bytes for stat in place.list("")}
    files = [name for name in sizes if not name.endswith((SEALED_SUFFIX, SIGNATURE_SUFFIX))]
    alike = [
        one
        for one in readable_manifests(place, sizes, files)
        if one.manifest.sealed_bytes == sizes.get(archive)
    ]
    if not alike:
        return ""
    try:
        with place.open(archive) as stream:
            reader = HashingReader(stream)
            reader.drain()
    except TargetMissing:
        raise
    except TargetError:
        return alike[0].name
    return next((one.name for one in alike if one.manifest.sealed_sha256 == reader.hexdigest()), "")


def _begins_as_json(place: ReadableTarget, name: str) -> bool:
    try:
        with place.open(name) as stream:
            return stream.read(1) == b"{"
    except TargetMissing:
        raise
    except (TargetError, OSError):
        return False


def _is_record(name: str) -> bool:
    """Whether a file is named as a manifest, its signature, or a certificate."""
    file = name.rpartition("/")[2]
    parts = parse_name(file)
    return file.endswith((MANIFEST_SUFFIX, SIGNATURE_SUFFIX)) or (
        parts is not None and parts.kind == "certificate"
    )


def _manifest_beside(name: str) -> str:
    return manifest_name(name.removesuffix(SEALED_SUFFIX))
