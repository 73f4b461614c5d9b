"""Commands about one holder's key: keys new, protect, sheet, split, join."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from deployments.cli.options import DEFAULT_PLAN, IdentityOption, MaybePlanOption, PassphraseOption
from deployments.cli.passphrases import new_passphrase, unlock_key
from deployments.cli.screen import good, path_line, say
from tasks.age.hybrid import HybridIdentity
from tasks.age.x25519 import X25519Identity
from tasks.context import PlanContext
from tasks.errors import PlanError
from tasks.keys.escrow import (
    file_stem,
    holder_of_key,
    joined,
    key_text,
    rewrite_key,
    write_key,
    write_shares,
    write_sheet,
)
from tasks.keys.opens import opens_where
from tasks.keys.shares import fingerprint


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
    passphrase_from: PassphraseOption = None,
) -> int:
    """Make a holder's key: the identity into a private file, its public recipient onto the screen.

    Whoever has the file can open every backup sealed for it; without any holder's file nobody can.
    Keep it away from the backup machine, and keep a second copy.

    **Examples:**

        datasave keys new --holder Owner

        datasave keys new --holder Owner --passphrase

        datasave keys new --holder "Bank safe" --post-quantum --out /media/usb/bank-safe.key.txt
    """
    identity = HybridIdentity.generate() if post_quantum else X25519Identity.generate()
    path = out or Path(f"{file_stem(holder)}.key.txt")
    wanted = passphrase or passphrase_from is not None
    write_key(path, key_text(identity, holder), new_passphrase(passphrase_from) if wanted else None)
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
    write_sheet(key, holder, out, opens, contacts)
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
    paths = write_shares(key, holder, out, shares, needed, contacts)
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
    identity, holder = joined(shares)
    wanted = passphrase or passphrase_from is not None
    write_key(out, key_text(identity, holder), new_passphrase(passphrase_from) if wanted else None)
    good(f"put the key of {holder} together; its fingerprint is {fingerprint(str(identity.recipient()))}")
    path_line("Identity (private):", out)
    return 0


def _context(plan: Path | None) -> PlanContext | None:
    """The plan that is named, or the usual one where there is one."""
    if plan is None and not DEFAULT_PLAN.exists():
        return None
    return PlanContext(plan or DEFAULT_PLAN)
