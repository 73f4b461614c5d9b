"""Fetch: backups from a place where they lie, kept in a folder that the machine which made them can't reach.

Whoever takes over that machine can delete what it can delete. A second machine that fetches needs no more
than to read there, and what it has fetched goes by no retention but its own. Only what a trusted machine
signed is taken; what was fetched is never replaced, since a later copy may be the damaged one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from tasks.backup.deliver import check_room, discard, publish
from tasks.errors import ObjectFrozen, ObjectMissing, PlanError, ReadBackError
from tasks.manifests.manifest import SEALED_SUFFIX, SIGNATURE_SUFFIX
from tasks.manifests.recover_page import RestoreText, recover_text
from tasks.manifests.signing import allowed_signer
from tasks.manifests.strays import content
from tasks.platform.files import HashingReader
from tasks.records import Finding, Progress, no_progress
from tasks.recovery.find import Choice, FoundShelf, Origin
from tasks.targets.base import Target
from tasks.targets.capabilities import prepare, verify
from tasks.targets.registry import make_target, open_place, option_models
from tasks.targets.shared.addresses import Access
from tasks.targets.shared.marker import MARKER

NAME = "fetched"
"""The name in the marker of a folder that backups are fetched to."""


def folder_for(path: Path) -> Target:
    """The folder that backups are fetched to, made ready where it is new or empty.

    Raises PlanError where it holds other things, TargetError where it is marked as a target of a plan.
    """
    if path.exists() and not (path / MARKER).exists() and any(path.iterdir()):
        raise PlanError(
            f"{path} holds other things than fetched backups",
            hint="Give a new or empty folder, or the one that was given before.",
        )
    path.mkdir(parents=True, exist_ok=True)
    folder = make_target(NAME, option_models()["folder"].model_validate({"kind": "folder", "path": path}))
    prepare(folder)
    return folder


def fetched_to(path: Path) -> list[Origin]:
    """The folder as a place to read from; nothing where it is new."""
    return [Origin(open_place(str(path), Access()))] if (path / MARKER).exists() else []


def lacking(found: Sequence[FoundShelf], kept: Sequence[FoundShelf]) -> list[Choice]:
    """The verified backups of the shelves that the folder, with what it ``kept``, has not, oldest first."""
    there = {one.backup.name for one in _verified(kept)}
    wanted = {one.backup.name: one for one in _verified(found) if one.backup.name not in there}
    return sorted(wanted.values(), key=lambda one: (one.manifest.sequence, one.backup.name))


def doubts(found: Sequence[FoundShelf], kept: Sequence[FoundShelf]) -> Iterator[Finding]:
    """What a person should know of the place: what is not verified there, and that newer ones are gone.

    A place whose newest backup is older than what was fetched from it was emptied or put back.
    """
    for shelf in found:
        for one in shelf.backups:
            if not one.verified and not one.elsewhere:
                yield Finding(check=one.full_name, passed=False, detail=one.defect)
    newest = _newest(found)
    for source, number in _newest(kept).items():
        if newest.get(source, -1) < number:
            seen = f"#{newest[source]}" if source in newest else "none"
            detail = (
                f"the newest backup of {source} there is {seen}, and #{number} was fetched before: someone "
                "emptied the place, or put an older state of it back"
            )
            yield Finding(check=source, passed=False, detail=detail)


def fetch_one(choice: Choice, folder: Target, progress: Progress = no_progress) -> Finding:
    """Copy one verified backup: archive, signature, and last the manifest. The finding says how it went.

    Raises TargetError where the place or the folder fails as a whole, such as TargetFull.
    """
    place, backup = choice.origin.target, choice.backup
    check_room(folder, choice.manifest.sealed_bytes)
    try:
        data = content(place, backup.manifest_name)
        _copy_archive(choice, folder, progress)
        if backup.signature:
            signature = content(place, backup.signature)
            name = backup.name.removesuffix(SEALED_SUFFIX) + SIGNATURE_SUFFIX
            folder.put(name, BytesIO(signature), len(signature))
    except (ObjectMissing, ObjectFrozen, ReadBackError) as error:
        return Finding(check=backup.full_name, passed=False, detail=error.message)
    publish(folder, data, backup.name)
    return Finding(check=backup.full_name, passed=True, detail="every byte as its signed manifest states")


def write_recover(found: Sequence[FoundShelf], folder: Target, trusted: frozenset[str]) -> None:
    """RECOVER.md for the folder, from what the signed manifests say. Raises TargetError."""
    choices = [*_verified(found)]
    if not choices:
        return
    sources = {
        one.manifest.source: RestoreText(one.manifest.kind, one.adapter.after_restore) for one in choices
    }
    holders = dict.fromkeys(holder.name for one in choices for holder in one.manifest.recipients)
    text = recover_text(sources, [*holders], [allowed_signer(one) for one in sorted(trusted)]).encode("utf-8")
    if not _is_there(folder, text):
        folder.put("RECOVER.md", BytesIO(text), len(text))


def _is_there(folder: Target, text: bytes) -> bool:
    try:
        return verify(folder, "RECOVER.md", len(text), sha256(text).hexdigest(), local=BytesIO(text))
    except ObjectMissing:
        return False


def _copy_archive(choice: Choice, folder: Target, progress: Progress) -> None:
    name, stated = choice.backup.name, choice.manifest
    with choice.origin.target.open(choice.backup.full_name) as stream:
        reader = HashingReader(stream, progress, stated.sealed_bytes)
        folder.put(name, reader.stream, stated.sealed_bytes)
    whole = reader.hexdigest() == stated.sealed_sha256
    if not whole or not verify(folder, name, stated.sealed_bytes, stated.sealed_sha256):
        discard(folder, name)
        where = "as read back from the folder here" if whole else "there"
        raise ReadBackError(f"it is damaged {where}: not what its signed manifest states")


def _verified(found: Sequence[FoundShelf]) -> Iterator[Choice]:
    for shelf in found:
        for backup in shelf.backups:
            if backup.verified and backup.manifest:
                yield Choice(shelf.origin, backup, backup.manifest)


def _newest(found: Sequence[FoundShelf]) -> dict[str, int]:
    """The highest number of each source among the verified ones."""
    newest: dict[str, int] = {}
    for choice in _verified(found):
        source, number = choice.manifest.source, choice.manifest.sequence
        newest[source] = max(newest.get(source, 0), number)
    return newest
