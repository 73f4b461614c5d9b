"""What the restoring commands share: where the backup comes from, progress, a private folder, the result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from deployments.cli.options import DEFAULT_PLAN, BackupOption, PassphraseOption, PlanOption, WaitOption
from deployments.cli.passphrases import unlock
from deployments.cli.screen import findings_table, good, path_line, say, steps, warning
from deployments.cli.signers import SignerOption
from tasks.age.keys import Identity
from tasks.backup.workspace import scratch_room, sweep
from tasks.context import PlanContext
from tasks.errors import PlanError
from tasks.keys.machines import words_of
from tasks.notices.wording import duration_text, when_text
from tasks.platform.trees import remove_tree
from tasks.records import Manifest, unchecked_in
from tasks.recovery.find import Choice, Origin, choose, origin_of
from tasks.recovery.recover import Opened, Recovered, open_backup, recover, thaw
from tasks.recovery.thaw import Patience
from tasks.targets.shared.unmarked import UnmarkedFolder


@Parameter(name="*")
@dataclass(frozen=True)
class Wanted:
    """Options that say which backup to restore, from where, and with which keys."""

    identity: Annotated[
        list[Path] | None,
        Parameter(name=["--identity", "-i"], negative=(), help="Identity file of a holder."),
    ] = None
    folder: Annotated[
        Path | None, Parameter(help="A folder with backups, read without any plan (bare machine).")
    ] = None
    plan: PlanOption = DEFAULT_PLAN
    target: Annotated[
        str | None,
        Parameter(
            name=["--target", "-t"],
            help="Which target; without it, `drill.target` of the plan, or its first.",
        ),
    ] = None
    backup: BackupOption = "latest"
    source: Annotated[
        str | None,
        Parameter(help="Which source, where a plan has several; with --folder its full name."),
    ] = None
    signer: SignerOption = None
    passphrase_from: PassphraseOption = None
    wait: WaitOption = 0.0

    def identities(self) -> list[Identity]:
        """The keys; asks for the passphrase of a protected one. Raises PlanError where none was given."""
        if not self.identity:
            raise PlanError("no key was given", hint="Give --identity FILE, the key of one holder.")
        return unlock(self.identity, self.passphrase_from)

    def context(self, hint: str) -> PlanContext:
        """The plan. Raises PlanError with ``hint`` where there is none."""
        if not self.plan.exists():
            raise PlanError(f"there is no plan {self.plan}", hint=hint)
        return PlanContext(self.plan)


AS_USUAL = Wanted()


@contextmanager
def origin_in(context: PlanContext, source_name: str, wanted: Wanted) -> Iterator[Origin]:
    """The folder that was named, else the target, with what the plan knows about the source."""
    if wanted.folder is not None:
        yield origin_of(context, UnmarkedFolder(wanted.folder), source_name)
        return
    with context.target(context.entry(wanted.target or context.drill_target()).name) as target:
        yield origin_of(context, target, source_name)


def chosen(origin: Origin, backup: str) -> Choice:
    """The backup that a person named; what they should know about it is shown."""
    choice = choose(origin, backup)
    caution(choice)
    return choice


def caution(choice: Choice) -> None:
    """Show what a person should know about a backup: before it is brought back, and once more after."""
    for text in choice.warnings:
        warning(text)


def thawed(opened: Opened, hours: float) -> Opened:
    """The backup out of cold storage, which is waited for that long, with progress shown."""
    with steps() as progress:
        name = f"out of cold storage {opened.choice.backup.name}"
        return thaw(opened, Patience(hours * 3600, lambda done, total: progress(name, done, total)))


def recovered(opened: Opened, room: Path) -> Recovered:
    """The backup fetched into ``room`` and judged, with progress shown."""
    with steps() as progress:
        name = f"restore {opened.choice.backup.name}"
        return recover(opened, room, lambda done, total: progress(name, done, total))


def bring_back(choice: Choice, identities: Sequence[Identity], room: Path, hours: float) -> Recovered:
    """Try the keys on a backup, wait for cold storage, fetch and judge it, with progress shown."""
    return recovered(thawed(open_backup(choice, identities), hours), room)


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


def tell(restored: Recovered, path: Path) -> int:
    """Say what was found and where the data is; the exit status."""
    manifest = restored.manifest
    findings_table(title_of(manifest), restored.findings)
    say(f"Signed by {manifest.machine} ({words_of(manifest.machine)}).")
    if not restored.passed:
        path_line("Kept although checks did not pass:", path)
        return 1
    if unchecked := unchecked_in(restored.findings):
        warning(f"could not be checked, here or when it was taken: {', '.join(unchecked)}")
    good(f"restored with the key of {restored.holder} in {duration_text(restored.seconds)}")
    path_line("Open:", path)
    caution(restored.choice)
    return 0


def title_of(manifest: Manifest) -> str:
    """A backup as a person speaks of it."""
    return f"{manifest.source} #{manifest.sequence} of {when_text(manifest.taken)}"
