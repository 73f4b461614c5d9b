"""What a key opens: the sealed part of a manifest; every backup that names it, of past holders too."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import NamedTuple

from pydantic import ValidationError

from tasks.age.file import decrypt
from tasks.age.keys import Identity
from tasks.backup.workspace import Workspace, spools
from tasks.context import PlanContext
from tasks.errors import AgeError, DatasaveError, ManifestError, NoMatchingIdentity
from tasks.manifests.manifest import MANIFEST_SUFFIX, read_manifest
from tasks.manifests.shelf import read_shelf
from tasks.notices.wording import count_text
from tasks.records import BackupEntry, Contents, Holder, Manifest
from tasks.targets.base import Target


class Opens(NamedTuple):
    """What a key opens at one target, for its recovery sheet: whose backups, since when, how many."""

    source: str
    target: str
    detail: str


class Openable(NamedTuple):
    """One backup that a key opens, under which name the manifest knows the key, and what holds it there."""

    backup: BackupEntry
    manifest: Manifest
    holder: Holder
    bound: str


def open_contents(manifest: Manifest, identities: Sequence[Identity]) -> Contents:
    """The encrypted part of a manifest. Raises NoMatchingIdentity naming the holders, or ManifestError."""
    plain = BytesIO()
    try:
        decrypt(BytesIO(manifest.contents.encode("ascii")), plain, identities)
    except NoMatchingIdentity as error:
        names = ", ".join(holder.name for holder in manifest.recipients)
        raise NoMatchingIdentity(
            f"this key does not open {manifest.sealed_name}", hint=f"It was sealed for: {names}."
        ) from error
    except (AgeError, UnicodeEncodeError) as error:
        raise ManifestError(f"the contents of the manifest of {manifest.sealed_name} are damaged") from error
    try:
        return Contents.model_validate_json(plain.getvalue())
    except ValidationError as error:
        raise ManifestError(
            f"the contents of the manifest of {manifest.sealed_name} cannot be read"
        ) from error


def openable(context: PlanContext, target: Target, who: str) -> list[Openable]:
    """The backups on a target, of any source, that were sealed for ``who``: a recipient or a holder's name.

    Also those that do not count as verified: their key opens them all the same.
    """
    shelf = read_shelf(target, trusted=context.trusted(), now=datetime.now(UTC))
    bound = bound_by(target)
    return [
        Openable(backup, backup.manifest, holder, bound)
        for backup in shelf
        if backup.manifest
        for holder in backup.manifest.recipients
        if is_meant(holder, who)
    ]


def waiting(context: PlanContext, who: str) -> list[Openable]:
    """The same of the sealed archives in staging, which a later delivery will send as they are."""
    found = []
    for folder in spools(context.staging):
        for path in sorted(Workspace(folder).sealed.glob(f"*{MANIFEST_SUFFIX}")):
            manifest = read_manifest(path.read_bytes())
            backup = BackupEntry(
                name=manifest.sealed_name,
                slot="",
                manifest_name=path.name,
                manifest=manifest,
                defect="",
                bytes=manifest.sealed_bytes,
            )
            found += [
                Openable(backup, manifest, holder, "waits to be delivered")
                for holder in manifest.recipients
                if is_meant(holder, who)
            ]
    return found


def is_meant(holder: Holder, who: str) -> bool:
    """Whether ``who``, a recipient or a name, is that holder."""
    return who == holder.recipient or who.casefold() == holder.name.casefold()


def bound_by(target: Target) -> str:
    """Why what lies on a target cannot be exchanged now, in words; "" where it can."""
    properties = target.properties
    if properties.immutable_until and properties.immutable_until > datetime.now(UTC):
        return "locked: nobody can remove or replace it before its time is up"
    return "in cold storage" if properties.thaw_seconds else ""


def opens_where(context: PlanContext, recipient: str) -> Sequence[Opens]:
    """What a key opens on each target of the plan, for its recovery sheet."""
    rows: list[Opens] = []
    for entry in context.plan.targets:
        try:
            with context.target(entry.name) as target:
                found = openable(context, target, recipient)
        except DatasaveError:
            names = ", ".join(context.full_names)
            rows.append(Opens(names, entry.name, "could not be reached when this was printed"))
            continue
        for source in dict.fromkeys(one.manifest.source for one in found) or [context.plan.name]:
            taken = [one.manifest.taken for one in found if one.manifest.source == source]
            since = f"{min(taken):%d %b %Y}, {count_text(len(taken), 'backup')}" if taken else "none so far"
            rows.append(Opens(source, entry.name, since))
    return rows
