"""``datasave keys …``: one holder's key (new, protect, sheet, split, join), what keys open (opens, rewrap),
whether they still do (prove, status).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape
from rich.table import Table

from deployments.cli.options import (
    DEFAULT_PLAN,
    IdentityOption,
    MaybePlanOption,
    PassphraseOption,
    PlanOption,
    TargetsOption,
)
from deployments.cli.passphrases import new_passphrase, unlock, unlock_key
from deployments.cli.screen import bad, findings_table, good, out, path_line, say, steps
from deployments.cli.signers import machines_of
from tasks.age.hybrid import HybridIdentity
from tasks.age.keys import Identity
from tasks.age.x25519 import X25519Identity
from tasks.backup.media import is_removable
from tasks.backup.workspace import exclusively
from tasks.context import PlanContext
from tasks.errors import DatasaveError, PlanError, TargetMissing
from tasks.keys.escrow import (
    file_stem,
    holder_of_key,
    joined,
    key_text,
    note_machines,
    rewrite_key,
    write_key,
    write_shares,
    write_sheet,
)
from tasks.keys.identities import recipients_of
from tasks.keys.machines import words_of
from tasks.keys.opens import Openable, is_meant, openable, opens_where, waiting
from tasks.keys.proofs import Proofs, findings, learn, note, prove_key
from tasks.keys.renewal import renew_key
from tasks.keys.rewrap import Intent, intents, seal_anew
from tasks.keys.shares import fingerprint
from tasks.manifests.signing import allowed_signer
from tasks.notices.wording import count_text, place_text, size_text, when_text
from tasks.records import UNTIL, Holder
from tasks.targets.base import Target

KEEPS = (
    "Who had a key and a copy of a backup keeps both: `datasave keys rewrap` seals anew what lies on the "
    "targets, and can take nothing back."
)
IdentitiesOption = Annotated[
    list[Path], Parameter(name=["--identity", "-i"], negative=(), help="Identity file of a holder.")
]


def new_key(
    *,
    holder: Annotated[str, Parameter(help="Name of the person or safe.")],
    out: Annotated[Path | None, Parameter(help="File for the identity; default: made from the name.")] = None,
    post_quantum: Annotated[
        bool,
        Parameter(negative=(), help="Safe against quantum computers; stock `age` 1.3 or later opens it."),
    ] = False,
    passphrase: Annotated[
        bool, Parameter(negative=(), help="Protect the file with a passphrase, which is asked for twice.")
    ] = False,
    plan: MaybePlanOption = None,
    passphrase_from: PassphraseOption = None,
) -> int:
    """Make a holder's key: the identity into a private file, its public recipient onto the screen.

    Whoever has the file can open every backup sealed for it; without any holder's file nobody can.
    Keep it away from the backup machine, and keep a second copy. Where there is a plan already, the file says
    which machine makes the backups; `datasave keys fingerprint --note` writes that into it later.

    **Examples:**

        datasave keys new --holder Owner

        datasave keys new --holder Owner --passphrase

        datasave keys new --holder "Bank safe" --post-quantum --out /media/usb/bank-safe.key.txt
    """
    identity = HybridIdentity.generate() if post_quantum else X25519Identity.generate()
    path = out or Path(f"{file_stem(holder)}.key.txt")
    wanted = passphrase or passphrase_from is not None
    context = _context(plan)
    text = key_text(identity, holder, machines_of(context) if context else ())
    write_key(path, text, new_passphrase(passphrase_from) if wanted else None)
    good(f"made a key for {holder}")
    path_line("Identity (private, keep it off this machine):", path)
    say(f"Recipient (public, for the plan): {identity.recipient()}")
    if wanted:
        say("Without its passphrase the file opens nothing: `datasave keys sheet` prints the key for a safe.")
    return 0


def protect(
    *,
    identity: IdentityOption,
    remove: Annotated[bool, Parameter(negative=(), help="Take the passphrase away.")] = False,
    passphrase_from: PassphraseOption = None,
    new_passphrase_from: Annotated[
        str | None,
        Parameter(help="Where the new passphrase is found, env:NAME or file:PATH; else it is asked for."),
    ] = None,
) -> int:
    """Give an identity file a passphrase, another one, or (--remove) none. The key itself stays the same.

    The file is then as `age -p` makes it: stock `age -d -i FILE` asks for the passphrase too.

    **Examples:**

        datasave keys protect --identity owner.key.txt

        datasave keys protect --identity owner.key.txt --remove
    """
    key = unlock_key(identity, passphrase_from)
    if remove and not key.protected:
        good(f"{identity} has no passphrase")
        return 0
    rewrite_key(identity, key.text, None if remove else new_passphrase(new_passphrase_from))
    read_back = unlock_key(identity, new_passphrase_from) if remove else None
    if read_back and read_back.recipient != key.recipient:
        raise PlanError(f"{identity} read back is not the key it was")
    good(f"{identity} " + ("has no passphrase any more" if remove else "opens with the new passphrase alone"))
    if not remove:
        say("Copies made earlier still open without it, or with the old one.")
    return 0


def sheet(
    *,
    identity: IdentityOption,
    out: Annotated[Path, Parameter(help="File for the page.")],
    plan: MaybePlanOption = None,
    passphrase_from: PassphraseOption = None,
) -> int:
    """Write a holder's recovery sheet: the key as text and QR code, what it opens, how, and whom to call.

    A page to print on A4 or Letter for a sealed envelope. With a plan it says which backups the key opens on
    the targets that can be reached now. The key is on it in the clear, without any passphrase.

    **Examples:**

        datasave keys sheet --identity owner.key.txt --out owner-sheet.html

        datasave keys sheet --identity owner.key.txt --plan clinic.yaml --out owner-sheet.html
    """
    key = unlock_key(identity, passphrase_from)
    context = _context(plan)
    opens = opens_where(context, key.recipient) if context else ()
    contacts = context.plan.keys.contacts if context else ()
    holder = holder_of_key(key, context.plan if context else None)
    write_sheet(key, holder, out, opens, contacts, machines_of(context) if context else ())
    good(f"wrote the recovery sheet of {holder}")
    path_line("Print it, then delete it:", out)
    if key.protected:
        say("On the sheet the key needs no passphrase.")
    return 0


def split(
    *,
    identity: IdentityOption,
    out: Annotated[Path, Parameter(help="A folder for the shares.")],
    shares: Annotated[int, Parameter(help="How many shares to make.")] = 3,
    needed: Annotated[int, Parameter(help="How many of them put the key together.")] = 2,
    plan: MaybePlanOption = None,
    passphrase_from: PassphraseOption = None,
) -> int:
    """Split a holder's key into shares: some of them together are the key, fewer open nothing.

    Writes a text file and a sheet to print for each share (SLIP-39 words and a QR code).

    **Examples:**

        datasave keys split --identity owner.key.txt --out shares

        datasave keys split --identity owner.key.txt --shares 5 --needed 3 --out shares
    """
    key = unlock_key(identity, passphrase_from)
    context = _context(plan)
    contacts = context.plan.keys.contacts if context else ()
    holder = holder_of_key(key, context.plan if context else None)
    machines = machines_of(context) if context else ()
    paths = write_shares(key, holder, out, shares, needed, contacts, machines)
    good(f"made {len(paths)} shares of the key of {holder}; any {needed} of them put it together")
    for path in paths:
        path_line("Share, with its sheet beside it:", path)
    say("Give each to another person or place, then delete this folder. The key file itself still opens all.")
    return 0


def join(
    *shares: Annotated[Path, Parameter(help="Files of shares.")],
    out: Annotated[Path, Parameter(help="File for the identity.")],
    passphrase: Annotated[
        bool, Parameter(negative=(), help="Protect the file with a passphrase, which is asked for twice.")
    ] = False,
    passphrase_from: PassphraseOption = None,
) -> int:
    """Put a key together from its shares, and see that it is the one that they were made of.

    **Examples:**

        datasave keys join owner.share-1-of-3.txt owner.share-3-of-3.txt --out owner.key.txt
    """
    identity, holder, machines = joined(shares)
    wanted = passphrase or passphrase_from is not None
    write_key(out, key_text(identity, holder, machines), new_passphrase(passphrase_from) if wanted else None)
    good(f"put the key of {holder} together; its fingerprint is {fingerprint(str(identity.recipient()))}")
    path_line("Identity (private):", out)
    return 0


def show_fingerprint(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    note: Annotated[
        list[Path] | None,
        Parameter(negative=(), help="Write it into this key file, too; may be given several times."),
    ] = None,
) -> int:
    """Show the machine that signs the backups, in ten words that people can read to each other.

    On paper (key sheets, the disaster plan) and in key files they tell the office's backups from those that
    somebody else put there. The line below them is for `ssh-keygen -Y verify`, as RECOVER.md shows.

    **Examples:**

        datasave keys fingerprint --plan clinic.yaml

        datasave keys fingerprint --note /media/usb/owner.key.txt
    """
    machines = machines_of(PlanContext(plan))
    for number, machine in enumerate(machines):
        say(f"{'An earlier or another machine' if number else 'This machine'}: {words_of(machine)}")
        say(f"  {machine}")
        say(f"  {allowed_signer(machine)}")
    for path in note or ():
        note_machines(path, machines)
        good(f"{path} names {'it' if len(machines) == 1 else 'them'}")
    return 0


def machine(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    renew: Annotated[bool, Parameter(negative=(), help="Sign with a new key from now on.")] = False,
) -> int:
    """Show until when the keys of the backup machine count; with --renew, sign with a new one from now on.

    For the day when somebody may have taken the machine's key, and once in a while before. What the old key
    signed goes on counting, but nothing newer, and nothing of before that this machine did not deliver.

    **Examples:**

        datasave keys machine

        datasave keys machine --renew
    """
    context = PlanContext(plan)
    if renew:
        renewed = renew_key(context)
        good(f"{words_of(renewed.old)} ended with backup #{renewed.until}; this machine signs with a new key")
        ended = f"{{key: '{renewed.old}', until: {renewed.until}}}"
        say(f"Other machines' plans: signers: [{ended}, '{renewed.new}']")
        say("Print the keys' sheets and the disaster plan again, and note the machine in the key files.")
        context = PlanContext(plan)
    say(f"Signs now: {words_of(machines_of(context)[0])}")
    for signer in machines_of(context)[1:]:
        key, _, until = signer.partition(UNTIL)
        say(f"{'Counts until backup #' + until if until else 'Counts too'}: {words_of(key)}")
    return 0


def _context(plan: Path | None) -> PlanContext | None:
    """The plan that is named, or the usual one where there is one."""
    if plan is None and not DEFAULT_PLAN.exists():
        return None
    return PlanContext(plan or DEFAULT_PLAN)


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
    if not any(is_meant(holder, who) for holder in context.plan.holders):
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
        _tell_intent(place.name, intent)
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


def _tell_intent(target: str, intent: Intent) -> None:
    told = f"{target}: {intent.backup.full_name}"
    if intent.skipped:
        say(f"{told} is left as it is: {intent.skipped}")
    else:
        say(
            f"{told} "
            + ("is an old file to be removed" if intent.leftover else f"would be {_change(intent)}")
        )


def _change(intent: Intent) -> str:
    told_of = [
        f"opened to {', '.join(intent.gained)}" if intent.gained else "",
        f"closed to {', '.join(intent.lost)}" if intent.lost else "",
    ]
    return f"sealed anew, {' and '.join(filter(None, told_of))}"


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
    _proofs_table(context, note(context, ()), holders)
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
    _proofs_table(context, note(context, ()), context.plan.holders)
    findings_table(f"each key proven in the last {context.plan.keys.prove_days} days?", found)
    return 0 if all(finding.passed for finding in found) else 1


def _proofs_table(context: PlanContext, proofs: Proofs, holders: Sequence[Holder]) -> None:
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
