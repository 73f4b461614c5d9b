"""Marked backups, in words, for who is about to bring one back."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.records import BackupEntry, Manifest


def no_warning(_text: str) -> None:
    """For callers that look at marks themselves."""


def warnings_about(shelf: Sequence[BackupEntry], backup: BackupEntry, manifest: Manifest) -> list[str]:
    """What to know before ``backup`` is brought back: it is marked, or newer ones are."""
    source = manifest.source
    mine = [b for b in shelf if b.verified and b.manifest and b.manifest.source == source]
    warnings = []
    if backup.marks:
        older = [b for b in mine if b.good]
        instead = f"; the newest that is not marked is {older[-1].name}" if older else ""
        marks = ", ".join(backup.marks)
        warnings.append(f"{backup.name} is marked: it did not look like those before it ({marks}){instead}")
    newer = [b for b in mine if b.marks and b.manifest and b.manifest.sequence > manifest.sequence]
    if newer and not backup.marks:
        number = newer[-1].manifest.sequence if newer[-1].manifest else 0
        warnings.append(
            f"{len(newer)} newer here are marked and were passed over ({', '.join(newer[-1].marks)}); "
            f"to have the newest all the same: --backup {number}"
        )
    return warnings
