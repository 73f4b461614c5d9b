"""Restore: the command of the worst day. It needs this program, a key and a place with backups."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from deployments.cli.options import (
    DEFAULT_PLAN,
    NOT_IN_PLACE,
    AcceptDamageOption,
    BackupOption,
    InPlace,
    OnlyOption,
    PassphraseOption,
    PlanOption,
    UntilOption,
    WaitOption,
)
from deployments.cli.passphrases import unlock
from deployments.cli.screen import findings_table, good, path_line, say, steps, warning
from tasks.age.recipients import Identity
from tasks.backup.copy import refuse_occupied
from tasks.backup.workspace import remove_tree, scratch_room, sweep
from tasks.context import PlanContext
from tasks.errors import PlanError
from tasks.health.trend import accepted_through
from tasks.notices.wording import duration_text, when_text
from tasks.options import UserCheck
from tasks.records import BackupEntry, Manifest
from tasks.recovery import recover as recovering
from tasks.recovery.thaw import Patience, awake
from tasks.sources.base import Source
from tasks.targets.base import Target
from tasks.targets.shared.unmarked import UnmarkedFolder


def restore(  # noqa: PLR0913 - what a person can say about it
    *,
    to: Annotated[Path | None, Parameter(help="A new or empty folder for the restored data.")] = None,
    identity: Annotated[
        list[Path] | None,
        Parameter(name=["--identity", "-i"], negative=(), help="Identity file of a holder."),
    ] = None,
    folder: Annotated[
        Path | None, Parameter(help="A folder with backups, read without any plan (bare machine).")
    ] = None,
    plan: PlanOption = DEFAULT_PLAN,
    target: Annotated[
        str | None,
        Parameter(
            name=["--target", "-t"],
            help="Which target; without it, `drill.target` of the plan, or its first.",
        ),
    ] = None,
    backup: BackupOption = "latest",
    source: Annotated[
        str | None,
        Parameter(help="Which source, where a plan has several; with --folder its full name."),
    ] = None,
    logs: Annotated[
        Path | None, Parameter(help="A folder of log backups: what followed the backup is applied too.")
    ] = None,
    until: UntilOption = None,
    passphrase_from: PassphraseOption = None,
    accept_damage: AcceptDamageOption = False,
    wait: WaitOption = 0.0,
    only: OnlyOption = None,
    live: InPlace = NOT_IN_PLACE,
) -> int:
    """Bring a backup back, to a new place or to where the live data is; needs no Prefect server.

    With --folder it needs no plan either. What was restored is opened and compared with what was recorded
    before it is put into place. With --in-place the live data is put aside beside it, never overwritten;
    whatever fails or is cut off ends with the old data or the new one, whole.

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
        from deployments.cli import restore_in_place as inplace  # which uses what stands here

        asked = inplace.Wanted(plan, target, folder, backup, source, identity or [], passphrase_from, wait)
        return inplace.run(live, asked)
    if to is None or not identity:
        raise PlanError(
            "the restore needs to know where to, and with which key",
            hint="Give --to FOLDER (or --in-place) and --identity FILE.",
        )
    if until and logs is None:
        raise PlanError("--until needs --logs", hint="Give the folder of log backups with --logs.")
    destination = to.absolute()
    refuse_occupied(destination)
    identities = unlock(identity, passphrase_from)
    if only is not None:
        _refuse_beside("--only", {"--logs": logs, "--accept-damage": accept_damage})
        from deployments.cli import restore_only as picking  # which uses what stands here

        with _place(folder, plan, target, source) as found:
            return picking.pick(found, *_chosen(found, backup), identities, only, destination, wait)
    with _place(folder, plan, target, source) as found, room_beside(destination) as room:
        wanted = _chosen(found, backup)
        recovered = bring_back(found, *wanted, identities, room, wait)
        path = recovering.restore(
            recovered,
            destination,
            accept_damage=accept_damage,
            logs=logs,
            until=moment(until, found.timezone) if until else None,
            source=found.adapter,
        )
    return tell(recovered, path, known=found.trusted is not None)


def _refuse_beside(what: str, options: dict[str, object]) -> None:
    """Raise PlanError where an option was given that could only be ignored: someone counts on it."""
    for name, value in options.items():
        if value:
            raise PlanError(
                f"{name} cannot be combined with {what}",
                hint="Nothing was done. A whole restore to a new folder (--to FOLDER) knows --logs, --until "
                "and --accept-damage.",
            )


def moment(text: str, timezone: tzinfo) -> datetime:
    """The moment that a person means, in the plan's zone where they name none. Raises PlanError."""
    try:
        said = datetime.fromisoformat(text)
    except ValueError:
        raise PlanError(f"{text!r} is no time", hint="Write it as '2026-11-23 14:30'.") from None
    return said if said.tzinfo else said.replace(tzinfo=timezone)


def _chosen(found: Found, backup: str) -> tuple[BackupEntry, Manifest]:
    return recovering.choose(
        found.place, backup, found.trusted, found.source, found.timezone, found.accepted, warning
    )


def bring_back(
    found: Found,
    backup: BackupEntry,
    manifest: Manifest,
    identities: list[Identity],
    room: Path,
    hours: float,
) -> recovering.Recovered:
    """Fetch, open and judge one backup, with its progress shown; cold storage is waited for that long."""
    recovering.open_contents(manifest, identities)
    with steps() as progress:
        patience = Patience(
            seconds=hours * 3600,
            progress=lambda done, total: progress(f"out of cold storage {backup.name}", done, total),
        )
        thawed = awake(found.place, backup.full_name, patience)
        recovered = recovering.recover(
            found.place,
            backup,
            manifest,
            identities,
            room,
            found.checks,
            lambda done, total: progress(f"restore {backup.name}", done, total),
            found.adapter,
        )
    return recovered.after_thaw(thawed)


def tell(recovered: recovering.Recovered, path: Path, *, known: bool) -> int:
    """Say what was found and where the data is; the exit status. ``known``: by machines that are trusted."""
    manifest = recovered.manifest
    findings_table(title_of(manifest), recovered.findings)
    if not known:
        say(f"Signed by {manifest.machine}; with no plan here, whose machine that is was not checked.")
    if not recovered.passed:
        path_line("Kept although checks failed:", path)
        return 1
    good(f"restored with the key of {recovered.holder} in {duration_text(recovered.seconds)}")
    path_line("Open:", path)
    return 0


def title_of(manifest: Manifest) -> str:
    """A backup as a person speaks of it."""
    return f"{manifest.source} #{manifest.sequence} of {when_text(manifest.taken)}"


@dataclass(frozen=True)
class Found:
    """Where to restore from, and what is known about it. Without a plan, days are those of UTC."""

    place: Target
    trusted: frozenset[str] | None = None
    source: str | None = None
    checks: tuple[UserCheck, ...] = ()
    adapter: Source | None = None
    timezone: tzinfo = UTC
    accepted: int = 0


@contextmanager
def _place(folder: Path | None, plan: Path, target: str | None, source: str | None) -> Iterator[Found]:
    if folder is not None:
        yield Found(UnmarkedFolder(folder), None, source)
        return
    if not plan.exists():
        raise PlanError(
            f"there is no plan {plan}",
            hint="Name the plan with --plan, or the folder with the backups with --folder.",
        )
    context = PlanContext(plan)
    name = context.entry(target or context.drill_target()).name
    source_name = context.source_name(source)
    with context.target(name) as opened:
        yield Found(
            opened,
            context.trusted(),
            context.full_name(source_name),
            context.checks(source_name),
            context.source(source_name),
            context.timezone,
            accepted_through(context, source_name),
        )


@contextmanager
def room_beside(destination: Path) -> Iterator[Path]:
    """A private folder for what is readable on the way; gone when the block ends."""
    # Beside the destination: there the restored data will have to fit anyway, and a private folder
    # elsewhere might be on a small or shared disk. What a killed restore left there goes first.
    staging = destination.parent / ".datasave-restore"
    sweep(staging)
    try:
        with scratch_room(staging, "restore") as scratch:
            yield scratch
    finally:
        # Another restore beside this one has its scratch there too.
        if staging.is_dir() and not any(path.is_dir() for path in staging.iterdir()):
            remove_tree(staging)
