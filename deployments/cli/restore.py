"""``datasave restore``: it needs this program, a key and a place with backups, and no Prefect server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from deployments.cli import restore_in_place
from deployments.cli.options import (
    NOT_IN_PLACE,
    AcceptDamageOption,
    CsvSafeOption,
    InPlace,
    OnlyOption,
    UntilOption,
)
from deployments.cli.recovery import (
    AS_USUAL,
    Wanted,
    bring_back,
    caution,
    chosen,
    origin_in,
    recovered,
    room_beside,
    tell,
    thawed,
    title_of,
)
from deployments.cli.screen import good, path_line, steps
from deployments.cli.signers import vouched
from tasks.age.keys import Identity
from tasks.backup.copy import refuse_occupied
from tasks.errors import PlanError
from tasks.notices.wording import count_text
from tasks.platform.files import private_folder
from tasks.records import CopiedFile
from tasks.recovery.find import Choice, Origin
from tasks.recovery.pick import files_that_fit, pick_files, pick_table
from tasks.recovery.recover import Opened, log_backups_of, open_backup, put_into_place
from tasks.recovery.told import note_restored
from tasks.sources.capabilities import SupportsFiles
from tasks.targets.shared.unmarked import UnmarkedFolder

SHOWN_FILES = 20


def restore(  # noqa: PLR0913 - the options of one command
    *,
    to: Annotated[Path | None, Parameter(help="A new or empty folder for the restored data.")] = None,
    wanted: Wanted = AS_USUAL,
    logs: Annotated[
        Path | None, Parameter(help="A folder of log backups: what followed the backup is applied too.")
    ] = None,
    until: UntilOption = None,
    accept_damage: AcceptDamageOption = False,
    only: OnlyOption = None,
    csv_safe: CsvSafeOption = False,
    live: InPlace = NOT_IN_PLACE,
) -> int:
    """Bring a backup back, to a new place or to where the live data is; needs no Prefect server.

    With --folder it needs no plan either; whose machine made the backups is then compared before one is
    opened (--signer, what the key file says, or at the terminal). What was restored is opened and compared
    with what was recorded before it is put into place. With --in-place the live data is put aside beside it,
    never overwritten; whatever fails or is cut off ends with the old data or the new one, whole.

    **Examples:**

        datasave restore --folder /media/usb/datasave --identity owner.key.txt --to /srv/restored

        datasave restore --plan clinic.yaml --target nas --backup 2026-11-20 -i owner.key.txt --to D:/restored

        datasave restore --in-place --identity owner.key.txt

        datasave restore --undo

        datasave restore --only patients -i owner.key.txt --to patients-of-monday --backup 2026-11-23
    """
    if live.dry_run and not live.in_place:
        raise PlanError("--dry-run goes with --in-place only", hint="Nothing was done. Leave it out.")
    if live.asked:
        _refuse_beside(
            "a restore in place",
            {"--to": to, "--logs": logs, "--until": until, "--only": only, "--accept-damage": accept_damage},
        )
        return restore_in_place.run(live, wanted)
    if to is None or not wanted.identity:
        raise PlanError(
            "a restore needs a destination and a key",
            hint="Give --to FOLDER (or --in-place) and --identity FILE.",
        )
    if csv_safe and only is None:
        raise PlanError("--csv-safe goes with --only", hint="Give the table with --only, or leave it out.")
    if until and logs is None:
        raise PlanError("--until needs --logs", hint="Give the folder of log backups with --logs.")
    destination = to.absolute()
    refuse_occupied(destination)
    identities = wanted.identities()
    if only is not None:
        _refuse_beside("--only", {"--logs": logs, "--accept-damage": accept_damage})
        with _origin(wanted) as origin:
            choice = chosen(origin, wanted.backup)
            return _only(only, choice, identities, destination, wanted, csv_safe=csv_safe)
    with _origin(wanted) as origin, room_beside(destination) as room:
        choice = chosen(origin, wanted.backup)
        moment = _moment(until, origin.timezone) if until else None
        if logs:
            log_backups_of(choice, logs)
        restored = bring_back(choice, identities, room, wanted.wait)
        path = put_into_place(restored, destination, accept_damage=accept_damage, logs=logs, until=moment)
        note_restored(wanted.plan, choice, destination, "restore")
    return tell(restored, path)


def _refuse_beside(what: str, options: dict[str, object]) -> None:
    """Raise PlanError where an option was given that could only be ignored: someone counts on it."""
    for name, value in options.items():
        if value:
            raise PlanError(
                f"{name} cannot be combined with {what}",
                hint="Nothing was done. A whole restore to a new folder (--to FOLDER) takes --logs, --until "
                "and --accept-damage.",
            )


def _moment(text: str, timezone: tzinfo) -> datetime:
    """The moment that a person means, in the plan's zone where they name none. Raises PlanError."""
    try:
        said = datetime.fromisoformat(text)
    except ValueError:
        raise PlanError(f"{text!r} is not a time", hint="Write it as '2026-11-23 14:30'.") from None
    return said if said.tzinfo else said.replace(tzinfo=timezone)


@contextmanager
def _origin(wanted: Wanted) -> Iterator[Origin]:
    """Where to restore from. A folder is read without any plan: whose machine signed is compared first."""
    if wanted.folder is not None:
        origin = Origin(UnmarkedFolder(wanted.folder), source=wanted.source)
        yield replace(origin, trusted=vouched([origin], wanted.signer, wanted.identity or (), wanted.plan))
        return
    context = wanted.context("Name the plan with --plan, or the folder with the backups with --folder.")
    with origin_in(context, context.source_name(wanted.source), wanted) as origin:
        yield origin


def _only(
    only: str,
    choice: Choice,
    identities: list[Identity],
    destination: Path,
    wanted: Wanted,
    *,
    csv_safe: bool,
) -> int:
    """Take ``only``, some files or a table, out of a backup into the new folder; the exit status."""
    opened = open_backup(choice, identities)
    source = choice.adapter
    if isinstance(source, SupportsFiles):
        files = files_that_fit(source, opened, only)
        return _files(files, thawed(opened, wanted.wait), destination, wanted.plan)
    with room_beside(destination) as room:
        restored = recovered(thawed(opened, wanted.wait), room)
        path = pick_table(restored, private_folder(room / "engine"), only, destination, inert=csv_safe)
    note_restored(wanted.plan, choice, destination, "table")
    good(f"one table of {title_of(choice.manifest)}, its rows counted as recorded")
    path_line("Open:", path)
    caution(choice)
    return 0


def _files(files: Sequence[CopiedFile], opened: Opened, destination: Path, plan: Path) -> int:
    with steps() as progress:
        name = f"look through {opened.choice.backup.name}"
        paths = pick_files(opened, files, destination, lambda done, total: progress(name, done, total))
    note_restored(plan, opened.choice, destination, "files")
    found = f"{count_text(len(paths), 'file')} of {title_of(opened.choice.manifest)}"
    good(f"{found}, with the contents that were recorded")
    for path in paths[:SHOWN_FILES]:
        path_line("Open:", path)
    if len(paths) > SHOWN_FILES:
        path_line(f"and {len(paths) - SHOWN_FILES} more in", destination)
    caution(opened.choice)
    return 0
