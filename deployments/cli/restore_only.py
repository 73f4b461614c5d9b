"""The part of ``datasave restore`` that takes a single file or table out of a backup."""

from __future__ import annotations

from pathlib import Path

from deployments.cli.restore import Found, bring_back, room_beside, title_of
from deployments.cli.screen import good, path_line, steps
from tasks.age.keys import Identity
from tasks.backup.copy import refuse_occupied
from tasks.backup.validate import require
from tasks.errors import MismatchError
from tasks.notices.wording import count_text
from tasks.platform.files import private_folder
from tasks.records import BackupEntry, CopiedFile, Manifest
from tasks.recovery import pick as picking
from tasks.recovery import recover as recovering
from tasks.recovery.thaw import Patience, awake
from tasks.sources.capabilities import SupportsFiles
from tasks.sources.registry import source_for_copies


def pick(
    found: Found,
    backup: BackupEntry,
    manifest: Manifest,
    identities: list[Identity],
    only: str,
    destination: Path,
    hours: float,
) -> int:
    """Take ``only`` out of one backup into the new folder ``destination``; the exit status."""
    refuse_occupied(destination)
    adapter = found.adapter if found.adapter and found.adapter.kind == manifest.kind else None
    source = adapter or source_for_copies(manifest.kind)
    if isinstance(source, SupportsFiles):
        contents = recovering.open_contents(manifest, identities)
        chosen = picking.chosen_files(source, backup, contents, only)
        return _files(found, backup, manifest, identities, chosen, destination, hours)
    with room_beside(destination) as room:
        recovered = bring_back(found, backup, manifest, identities, room, hours)
        require(
            recovered.findings,
            f"{manifest.sealed_name} did not pass its checks",
            MismatchError,
            "Nothing was taken out. Take another backup or another target.",
        )
        scratch = private_folder(room / "engine")
        path = picking.pick_table(source, recovered, scratch, only, destination)
    good(f"one table of {title_of(manifest)}, its rows counted as recorded")
    path_line("Open:", path)
    return 0


def _files(
    found: Found,
    backup: BackupEntry,
    manifest: Manifest,
    identities: list[Identity],
    chosen: list[CopiedFile],
    destination: Path,
    hours: float,
) -> int:
    with steps() as progress:
        awake(found.place, backup.full_name, Patience(seconds=hours * 3600))
        paths = picking.pick_files(
            found.place,
            backup,
            manifest,
            identities,
            chosen,
            destination,
            lambda done, total: progress(f"look through {backup.name}", done, total),
        )
    good(f"{count_text(len(paths), 'file')} of {title_of(manifest)}, with the contents that were recorded")
    for path in paths[:20]:
        path_line("Open:", path)
    if len(paths) > 20:
        path_line(f"and {len(paths) - 20} more in", destination)
    return 0
