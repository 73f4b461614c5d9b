"""What each run saw of each source, kept in the state folder: the yardstick for the next run.

The manifests' own counts are encrypted for the holders, and this machine has no key of theirs. The file is
private and holds counts only. Where it is missing (a new machine) nothing is suspicious at first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from tasks.errors import StateError
from tasks.files import private_folder, write_atomic
from tasks.policy.trend import Snapshot, suspicions
from tasks.records import Archived, Run, Validated
from tasks.steps.listing import Copied
from tasks.steps.office import Office

KEPT = 400
_SNAPSHOTS = TypeAdapter(tuple[Snapshot, ...])


def history(office: Office, part: str) -> tuple[Snapshot, ...]:
    """The source's snapshots, oldest first. Raises StateError where the file is damaged."""
    path = _path(office, part)
    try:
        return _SNAPSHOTS.validate_json(path.read_bytes())
    except FileNotFoundError:
        return ()
    except ValidationError as error:
        raise StateError(
            f"the record of earlier runs {path} is damaged",
            hint="Look at the newest backups with `datasave drill`. If they are good, delete that file.",
        ) from error


def note(office: Office, run: Run, copy: Copied, archived: Archived, validated: Validated) -> Snapshot:
    """Add what a run saw, judged by the last run that was trusted."""
    seen = history(office, run.part)
    snapshot = Snapshot(
        sequence=run.sequence,
        taken=run.started,
        copy_bytes=copy.bytes,
        archive_bytes=archived.bytes,
        tables=validated.profile.tables,
    )
    trusted = [old for old in seen if not old.trouble and old.sequence != run.sequence]
    if trusted:
        trouble = suspicions(trusted[-1], snapshot, office.plan.alarm)
        snapshot = snapshot.model_copy(update={"trouble": trouble})
    _write(office, run.part, [*(old for old in seen if old.sequence != run.sequence), snapshot])
    return snapshot


def suspicion(office: Office, part: str) -> str:
    """Why nothing may be removed at present, "" where the newest run looks like those before it."""
    seen = history(office, part)
    if not seen or not seen[-1].trouble:
        return ""
    return f"pruning suspended: {'; '.join(seen[-1].trouble)}"


def accept(office: Office, part: str) -> tuple[str, ...]:
    """Trust the newest run on the user's word; returns what had spoken against it."""
    seen = history(office, part)
    if not seen or not seen[-1].trouble:
        return ()
    _write(office, part, [*seen[:-1], seen[-1].model_copy(update={"trouble": ()})])
    return seen[-1].trouble


def _path(office: Office, part: str) -> Path:
    return private_folder(office.state / "trend") / f"{office.full_name(part)}.json"


def _write(office: Office, part: str, snapshots: Sequence[Snapshot]) -> None:
    # The last trusted one stays however many follow: it is what they are judged by.
    trusted = [old for old in snapshots if not old.trouble][-1:]
    kept = list(snapshots[-KEPT:])
    kept = [*(old for old in trusted if old not in kept), *kept]
    write_atomic(_path(office, part), _SNAPSHOTS.dump_json(tuple(kept)))
