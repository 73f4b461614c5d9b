"""Commands about who can open what: keys opens, rewrap."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape
from rich.table import Table

from deployments.cli.options import DEFAULT_PLAN, PassphraseOption, PlanOption, TargetsOption
from deployments.cli.passphrases import unlock
from deployments.cli.screen import bad, good, out, say, steps
from tasks.age.keys import Identity
from tasks.backup.workspace import exclusively
from tasks.context import PlanContext
from tasks.errors import DatasaveError
from tasks.keys.opens import Openable, openable, waiting
from tasks.keys.rewrap import Intent, intents
from tasks.keys.rewrap import rewrap as seal_anew
from tasks.notices.wording import count_text, size_text, when_text
from tasks.targets.base import Target

KEEPS = (
    "Who had a key and a copy of a backup keeps both: `datasave keys rewrap` seals anew what lies on the "
    "targets, and can take nothing back."
)
IdentitiesOption = Annotated[
    list[Path], Parameter(name=["--identity", "-i"], negative=(), help="Identity file of a holder.")
]


def opens(
    who: Annotated[str, Parameter(help="A holder's name, or a recipient (age1…); also of a past holder.")],
    /,
    *,
    plan: PlanOption = DEFAULT_PLAN,
    target: TargetsOption = None,
) -> int:
    """List every backup that a key opens, on every target, also those locked or in cold storage.

    Manifests record whom each backup was sealed for, so this is known of removed holders too. Exit status
    1 where a target can't be reached.

    **Examples:**

        datasave keys opens "Bank safe"

        datasave keys opens age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p --target nas
    """
    context = PlanContext(plan)
    found: list[tuple[str, Openable]] = [("waiting on this machine", one) for one in waiting(context, who)]
    missed = False
    for name in context.chosen(target):
        try:
            with context.target(name) as place:
                found += [(name, one) for one in openable(context, place, who)]
        except DatasaveError as error:
            bad(error)
            missed = True
    _show_openable(context, who, found)
    return 1 if missed else 0


def _show_openable(context: PlanContext, who: str, found: list[tuple[str, Openable]]) -> None:
    if not found:
        say(f"No backup that was looked at is sealed for {who}.")
        return
    table = Table(title=f"what {escape(who)} opens", title_justify="left", show_edge=False)
    for column in ("target", "source", "number", "slot", "taken", "size", "state"):
        table.add_column(column, justify="right" if column in ("number", "size") else "left")
    for name, (backup, manifest, _, bound) in found:
        table.add_row(
            escape(name),
            manifest.source,
            f"#{manifest.sequence}",
            backup.slot or "–",
            when_text(manifest.taken, context.timezone),
            size_text(backup.bytes),
            escape("; ".join(filter(None, (bound, backup.defect))) or "can be sealed anew"),
        )
    out.print(table)
    say(f"{count_text(len(found), 'backup')}. {KEEPS}")
    if not any(who == h.recipient or who.casefold() == h.name.casefold() for h in context.plan.holders):
        say(f"{who} is not a holder in the plan: backups from now on are closed to that key.")


def rewrap(
    *,
    identity: IdentitiesOption,
    plan: PlanOption = DEFAULT_PLAN,
    target: TargetsOption = None,
    apply: Annotated[bool, Parameter(negative=(), help="Seal anew what the list shows.")] = False,
    passphrase_from: PassphraseOption = None,
) -> int:
    """Seal the backups on the targets anew for the plan's present holders, with the key of one they name now.

    New backups are for the present holders by themselves; this is for the older ones. Only the header of each
    archive is made anew, its encrypted data is copied as it is, read back whole, and the old file removed
    last. Locked objects and those in cold storage are left out. Without --apply it only shows.

    **Examples:**

        datasave keys rewrap --identity owner.key.txt

        datasave keys rewrap --identity owner.key.txt --target nas --apply
    """
    context = PlanContext(plan)
    identities = unlock(identity, passphrase_from)
    names = context.chosen(target)
    if apply:
        with exclusively(context.staging):
            whole = all([_rewrap_target(context, name, identities, apply=True) for name in names])
    else:
        whole = all([_rewrap_target(context, name, identities, apply=False) for name in names])
        say("Nothing was changed. Add --apply to seal these anew.")
    say(KEEPS)
    return 0 if whole else 1


def _rewrap_target(context: PlanContext, name: str, identities: list[Identity], *, apply: bool) -> bool:
    try:
        with context.target(name) as place:
            found = intents(context, place, identities)
            if not found:
                say(f"{name}: every backup is sealed for the present holders")
            return all([_rewrap_one(context, place, intent, identities, apply=apply) for intent in found])
    except DatasaveError as error:
        bad(error)
        return False


def _rewrap_one(
    context: PlanContext, place: Target, intent: Intent, identities: list[Identity], *, apply: bool
) -> bool:
    if intent.skipped or not apply:
        _tell(place.name, intent)
        return True
    try:
        with steps() as progress:
            name = seal_anew(
                context, place, intent, identities, partial(progress, f"rewrap {intent.backup.name}")
            )
    except DatasaveError as error:
        bad(error)
        return False
    good(f"{place.name}: {name} {'removed, the old file' if intent.leftover else _change(intent)}")
    return True


def _tell(target: str, intent: Intent) -> None:
    told = f"{target}: {intent.backup.full_name}"
    if intent.skipped:
        say(f"{told} is left as it is: {intent.skipped}")
    else:
        say(f"{told} " + ("is an old file that goes" if intent.leftover else f"would be {_change(intent)}"))


def _change(intent: Intent) -> str:
    told_of = [
        f"opened to {', '.join(intent.gained)}" if intent.gained else "",
        f"closed to {', '.join(intent.lost)}" if intent.lost else "",
    ]
    return f"sealed anew, {' and '.join(filter(None, told_of))}"
