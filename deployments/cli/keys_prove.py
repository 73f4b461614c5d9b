"""Commands about whether the keys still open: keys prove, status."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape
from rich.table import Table

from deployments.cli.keys_opens import IdentitiesOption
from deployments.cli.options import DEFAULT_PLAN, PassphraseOption, PlanOption, TargetsOption
from deployments.cli.passphrases import unlock
from deployments.cli.screen import bad, findings_table, good, out, say, steps
from tasks.age.keys import Identity
from tasks.backup.media import is_removable
from tasks.context import PlanContext
from tasks.errors import DatasaveError, PlanError, TargetMissing
from tasks.keys.identities import recipients_of
from tasks.keys.proofs import Proofs, findings, learn, note
from tasks.keys.proofs import prove as prove_key
from tasks.notices.wording import place_text, when_text
from tasks.records import Holder
from tasks.targets.base import Target


def prove(
    *,
    identity: IdentitiesOption,
    plan: PlanOption = DEFAULT_PLAN,
    target: TargetsOption = None,
    whole: Annotated[
        bool, Parameter(negative=(), help="Decrypt and compare the whole archive, not only its beginning.")
    ] = False,
    passphrase_from: PassphraseOption = None,
) -> int:
    """Prove that a key still opens the newest backup on each target, and note that.

    Header, manifest and the first part of the archive are opened; nothing is restored (`datasave drill`
    does that, and counts as well). Cold storage is left out.

    **Examples:**

        datasave keys prove --identity /media/usb/bank-safe.key.txt

        datasave keys prove --identity owner.key.txt --target nas --whole
    """
    context = PlanContext(plan)
    identities = unlock(identity, passphrase_from)
    holders = [_holder(context, one) for one in identities]
    proven = True
    for name in context.chosen(target):
        try:
            with context.target(name) as place:
                if place.properties.thaw_seconds:
                    say(f"{name} is cold storage and was not read; a drill with --wait proves a key there")
                    continue
                for holder, one in zip(holders, identities, strict=True):
                    proven &= all(
                        [
                            _prove(context, place, source_name, holder, one, whole)
                            for source_name in context.source_names
                        ]
                    )
        except DatasaveError as error:
            if isinstance(error, TargetMissing) and is_removable(context.entry(name)):
                say(f"{name}: no medium is plugged in, nothing was proven there")
                continue
            bad(error)
            proven = False
    _table(context, note(context, ()), holders)
    return 0 if proven else 1


def _prove(
    context: PlanContext, place: Target, source_name: str, holder: Holder, identity: Identity, whole: bool
) -> bool:
    shown = place_text(place.name, source_name)
    try:
        with steps() as progress:
            watch = partial(progress, f"prove {shown}")
            proof = prove_key(context, place, source_name, identity, whole=whole, progress=watch)
    except DatasaveError as error:
        bad(error)
        return False
    good(f"{shown}: the key of {holder.name} opens {proof.sealed_name} ({proof.how} was read)")
    return True


def _holder(context: PlanContext, identity: Identity) -> Holder:
    mine = recipients_of([identity])
    for holder in context.plan.holders:
        if holder.recipient in mine:
            return holder
    raise PlanError(
        "the key is not that of any holder in the plan",
        hint="Name a present holder's identity file. What others open: `datasave keys opens RECIPIENT`.",
    )


def key_status(*, plan: PlanOption = DEFAULT_PLAN) -> int:
    """Show for each holder when and where their key last opened a backup, by proof or drill.

    Exit status 1 where that is longer ago than the plan allows (`keys: {prove_days: 100}`).

    **Examples:**

        datasave keys status

        datasave keys status --plan clinic.yaml
    """
    context = PlanContext(plan)
    for entry in context.plan.targets:
        try:
            with context.target(entry.name) as place:
                learn(context, place)
        except DatasaveError as error:
            say(f"{entry.name} could not be looked at for drills: {error.message}")
    found = findings(context)
    _table(context, note(context, ()), context.plan.holders)
    findings_table(f"each key proven in the last {context.plan.keys.prove_days} days?", found)
    return 0 if all(finding.passed for finding in found) else 1


def _table(context: PlanContext, proofs: Proofs, holders: Sequence[Holder]) -> None:
    names = [entry.name for entry in context.plan.targets]
    when = {(proof.recipient, proof.target): proof for proof in proofs.proofs}
    table = Table(title="when each key last opened a backup", title_justify="left", show_edge=False)
    for column in ("holder", *names):
        table.add_column(column, overflow="fold")
    for holder in holders:
        cells = [when.get((holder.recipient, name)) for name in names]
        shown = [f"{when_text(one.at, context.timezone)} ({one.how})" if one else "never" for one in cells]
        table.add_row(escape(holder.name), *map(escape, shown))
    out.print(table)
