"""What each run saw of each source, kept in the state folder: the yardstick for the next run.

The manifests' own counts are encrypted for the holders, and this machine has no key of theirs. The file is
private and holds counts only. Where it is missing (a new machine) nothing is suspicious at first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from tasks.backup.listing import Copied
from tasks.context import Office
from tasks.errors import StateError
from tasks.health.signs import signs_of
from tasks.platform.files import private_folder, write_atomic
from tasks.policy.trend_rules import Snapshot, pause, suspicions
from tasks.records import Archived, Run, Validated

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
    """Add what a run saw, judged by the runs before it that were trusted."""
    snapshot = look(office, run, copy, archived, validated)
    remember(office, run.part, snapshot)
    return snapshot


def look(office: Office, run: Run, copy: Copied, archived: Archived, validated: Validated) -> Snapshot:
    """What a run saw, judged by the runs before it that were trusted. Nothing is remembered yet."""
    snapshot = Snapshot(
        sequence=run.sequence,
        taken=run.started,
        copy_bytes=copy.bytes,
        archive_bytes=archived.bytes,
        tables=validated.profile.tables,
        files=signs_of(copy.folder, copy.files),
    )
    seen = history(office, run.part)
    trusted = [old for old in seen if not old.trouble and old.sequence != run.sequence]
    found = suspicions(trusted, snapshot, office.plan.alarm, accepted_through(office, run.part))
    marks = tuple(dict.fromkeys(one.sign for one in found))
    return snapshot.model_copy(update={"trouble": tuple(one.detail for one in found), "marks": marks})


def remember(office: Office, part: str, snapshot: Snapshot) -> None:
    """Keep what a run saw: from now on it is the newest."""
    seen = history(office, part)
    _write(office, part, [*(old for old in seen if old.sequence != snapshot.sequence), snapshot])


def suspicion(office: Office, part: str) -> str:
    """Why nothing may be removed at present, "" where the newest run looks like those before it."""
    seen = history(office, part)
    doubt = "; ".join(seen[-1].trouble if seen else ()) or pause(seen)
    return f"pruning suspended: {doubt}" if doubt else ""


def accepted_through(office: Office, part: str) -> int:
    """Number of the newest backup whose marks someone on this machine accepted, 0 where none is."""
    path = _path(office, part).with_suffix(".accepted")
    try:
        return int(path.read_text("ascii"))
    except FileNotFoundError:
        return 0
    except ValueError as error:
        raise StateError(
            f"the note of what was accepted {path} is damaged",
            hint="Delete it; `datasave prune --accept-change` writes it anew.",
        ) from error


def accept(office: Office, part: str, through: int = 0) -> tuple[str, ...]:
    """Trust the runs that looked wrong on the user's word; returns what had spoken against the newest.

    ``through`` is the highest number that is marked on a target: this machine may not have taken it.
    """
    seen = history(office, part)
    troubled = [old for old in seen if old.trouble]
    number = max([through, *(old.sequence for old in troubled)])
    if number > accepted_through(office, part):
        write_atomic(_path(office, part).with_suffix(".accepted"), f"{number}\n".encode())
    if not troubled:
        return ()
    trusted = [old.model_copy(update={"trouble": (), "marks": ()}) if old.trouble else old for old in seen]
    _write(office, part, trusted)
    return troubled[-1].trouble


def _path(office: Office, part: str) -> Path:
    return private_folder(office.state / "trend") / f"{office.full_name(part)}.json"


def _write(office: Office, part: str, snapshots: Sequence[Snapshot]) -> None:
    # The last trusted one stays however many follow: it is what they are judged by.
    trusted = [old for old in snapshots if not old.trouble][-1:]
    kept = list(snapshots[-KEPT:])
    kept = [*(old for old in trusted if old not in kept), *kept]
    write_atomic(_path(office, part), _SNAPSHOTS.dump_json(tuple(kept)))
