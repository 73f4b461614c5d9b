"""Rescue: the data back on a bare machine, with an identity file and access to one place with backups."""

from __future__ import annotations

import getpass
import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from deployments.cli.options import (
    DEFAULT_PLAN,
    AcceptDamageOption,
    BackupOption,
    PassphraseOption,
    WaitOption,
)
from deployments.cli.passphrases import unlock
from deployments.cli.recovery import bring_back, caution, room_beside, tell, title_of
from deployments.cli.screen import findings_table, good, rescue_table, say, warning
from deployments.cli.signers import SignerOption, vouched
from tasks.age.keys import Identity
from tasks.backup.copy import refuse_occupied
from tasks.errors import PlanError
from tasks.notices.wording import duration_text
from tasks.platform.secrets import REFERENCE, typed
from tasks.recovery.find import Choice, FoundShelf, Origin, choose_each, may_open, shelves
from tasks.recovery.recover import put_into_place
from tasks.recovery.signers import signers_of
from tasks.recovery.told import note_restored
from tasks.targets.base import Target
from tasks.targets.registry import needs_password, open_place
from tasks.targets.shared.addresses import Access
from tasks.targets.shared.media import usual_places
from tasks.targets.shared.unmarked import plugged_in_places

BY_ADDRESS = Access()


@dataclass(frozen=True)
class RescueOptions:
    """What to bring back, and what to do with it."""

    to: Annotated[
        Path, Parameter(help="A new or empty folder for the restored data; a folder in it for each source.")
    ] = Path("rescued")
    backup: BackupOption = "latest"
    source: Annotated[str | None, Parameter(help="Only this source, by its full name.")] = None
    list: Annotated[bool, Parameter(negative=(), help="Only show what is there; needs no key.")] = False
    drill: Annotated[
        bool, Parameter(negative=(), help="Only prove that it can be brought back; keep nothing.")
    ] = False
    wait: WaitOption = 0.0
    accept_damage: AcceptDamageOption = False


def rescue(
    place: Annotated[
        str | None, Parameter(help="Where the backups are; without it, on plugged-in drives.")
    ] = None,
    /,
    *,
    identity: Annotated[
        list[Path] | None,
        Parameter(name=["--identity", "-i"], negative=(), help="Identity file of a holder."),
    ] = None,
    passphrase_from: PassphraseOption = None,
    signer: SignerOption = None,
    mounts: Annotated[
        list[str] | None,
        Parameter(
            negative=(), help="Where drives turn up here, as '/media/*'; without it, the usual places."
        ),
    ] = None,
    access: Annotated[Access, Parameter(name="*")] = BY_ADDRESS,
    wanted: Annotated[RescueOptions, Parameter(name="*")] = RescueOptions(),
) -> int:
    """Bring everything back on a bare machine: no plan, no server, only a key and a place with backups.

    The place is a folder or a drive, s3://bucket/prefix, sftp://user@host/path or
    smb://user@server/share/path. Takes the newest verified backup of each source there, opens it, repeats
    the checks, and puts it into a new folder. Whose machine made them is compared before anything is opened:
    with --signer, with what the key file says, or at the terminal. Keys of S3 are found where Amazon's own
    tools look for them (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws).

    **Examples:**

        datasave rescue --identity owner.key.txt

        datasave rescue /media/usb --list

        datasave rescue /media/usb -i owner.key.txt --signer academic-acid-acne-acquire-acrobat-activity-…

        datasave rescue s3://office/front-office --region us-east-1 -i owner.key.txt --drill

        datasave rescue sftp://keeper@nas.office/datasave --key id_ed25519 --host-key nas.pub -i owner.key.txt

        datasave rescue smb://keeper@nas.office/backups/datasave -i owner.key.txt --to D:/rescued --backup 417
    """
    if not identity and not wanted.list:
        raise PlanError(
            "rescue needs a key",
            hint="Give a holder's identity file: --identity FILE. Or --list what is there.",
        )
    identities = unlock(identity, passphrase_from) if identity else []
    destination = wanted.to.absolute()
    if not (wanted.list or wanted.drill):
        refuse_occupied(destination)
    with ExitStack() as stack:
        places = [stack.enter_context(one) for one in places_at(place, access, mounts)]
        origins = [Origin(one, source=wanted.source) for one in places]
        if wanted.list and not signer:
            return _list(shelves(origins), places, identities)
        trusted = vouched(origins, signer, identity or (), DEFAULT_PLAN)
        found = shelves([replace(one, trusted=trusted) for one in origins])
        if wanted.list:
            return _list(found, places, identities)
        choices = choose_each(found, wanted.backup, identities)
        several = len(choices) > 1
        return max(
            _one(one, identities, wanted, destination / one.manifest.source if several else destination)
            for one in choices
        )


def places_at(address: str | None, access: Access, mounts: list[str] | None) -> Sequence[Target]:
    """The places at an address, or on the drives that are plugged in, for reading only.

    Raises PlanError for an address that leads nowhere, TargetMissing where no drive holds backups.
    """
    if address is None:
        return plugged_in_places(mounts or usual_places())
    access = replace(access, host_key=_key_text(access.host_key), password=_reference(access.password))
    if needs_password(address, access):
        access = replace(access, password=_ask(address))
    return [open_place(address, access)]


def _key_text(given: str | None) -> str | None:
    """The server's key, also where the file was named that holds it."""
    if given is None or " " in given.strip():
        return given
    try:
        return Path(given).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(
            f"--host-key: {given} is neither a public key nor a file with one",
            hint="Give the line of the server's .pub file in quotes, 'ssh-ed25519 AAAA…', or that file.",
        ) from error


def _reference(given: str | None) -> str | None:
    if given is None or (re.fullmatch(REFERENCE, given) and not given.startswith("prefect:")):
        return given
    # Not quoted: it may be the password itself.
    raise PlanError(
        "--password says where the password is, and is never the password itself: others can see arguments",
        hint="Write env:NAME or file:PATH, or leave it out and type the password when asked.",
    )


def _ask(address: str) -> str:
    if not sys.stdin.isatty():
        raise PlanError(
            f"{address} needs a password or a key, and there is no terminal to ask at",
            hint="Give --password env:NAME or file:PATH, or for sftp --key FILE.",
        )
    return typed("DATASAVE_TYPED_PASSWORD", getpass.getpass(f"Password for {address}: "))


def _list(found: list[FoundShelf], places: Sequence[Target], identities: list[Identity]) -> int:
    for shelf in found:
        opened = {one.full_name for one in shelf.backups if may_open(one.manifest, identities)}
        title = f"{shelf.source or 'of no known source'} in {shelf.origin.target.name}"
        rescue_table(title, shelf.backups, opened)
    signers = signers_of(found)
    for signer in signers:
        (warning if len(signers) > 1 else say)(f"signed there by {signer}: {signer.machine}")
    if not found:
        say(f"No backups in {', '.join(place.name for place in places)}.")
    return 0 if any(one.verified for shelf in found for one in shelf.backups) else 1


def _one(choice: Choice, identities: list[Identity], wanted: RescueOptions, destination: Path) -> int:
    """Bring one source back, or only prove that it could be; the exit status."""
    caution(choice)
    with room_beside(destination) as room:
        restored = bring_back(choice, identities, room, wanted.wait)
        if not wanted.drill:
            path = put_into_place(restored, destination, accept_damage=wanted.accept_damage)
            if not note_restored(DEFAULT_PLAN, restored.choice, destination, "rescue"):
                warning("no journal here: write down who opened this data, when, where and why")
            return tell(restored, path)
    findings_table(title_of(choice.manifest), restored.findings)
    title = f"{choice.backup.full_name} in {choice.origin.target.name}"
    restored.require(f"{title} did not pass", "Try another backup or another place.")
    good(
        f"{title} can be brought back with the key of {restored.holder}, in "
        f"{duration_text(restored.seconds)}; nothing was kept"
    )
    caution(choice)
    return 0
