"""Rescue: the data back on a bare machine, with an identity file and access to one place with backups."""

from __future__ import annotations

import getpass
import re
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from deployments.cli.options import AcceptDamageOption, BackupOption, PassphraseOption, WaitOption
from deployments.cli.passphrases import unlock
from deployments.cli.restore import Found, bring_back, room_beside, tell, title_of
from deployments.cli.screen import findings_table, good, rescue_table, say, warning
from tasks.age.recipients import Identity
from tasks.backup.copy import refuse_occupied
from tasks.backup.validate import require
from tasks.errors import MismatchError, PlanError
from tasks.notices.wording import duration_text
from tasks.platform.secrets import REFERENCE, typed
from tasks.recovery import recover as recovering
from tasks.recovery import rescue as rescuing
from tasks.recovery.rescue import Choice, FoundShelf
from tasks.targets.base import Target
from tasks.targets.shared.addresses import Access, needs_password, open_place
from tasks.targets.shared.media import usual_places
from tasks.targets.shared.unmarked import plugged_in_places


@dataclass(frozen=True)
class Way:
    """How to reach the place, where its address alone does not say it."""

    endpoint: Annotated[str | None, Parameter(help="s3: the service's address; without it, Amazon.")] = None
    region: Annotated[str | None, Parameter(help="s3: the bucket's region.")] = None
    ca_bundle: Annotated[Path | None, Parameter(help="s3: certificates to trust.")] = None
    host_key: Annotated[
        str | None, Parameter(help="sftp: the server's public key, 'ssh-ed25519 AAAA…', or a file with it.")
    ] = None
    known_hosts: Annotated[
        Path | None, Parameter(help="sftp: a known_hosts file; without it, ~/.ssh/known_hosts.")
    ] = None
    key: Annotated[Path | None, Parameter(help="sftp: the file with the private SSH key.")] = None
    password: Annotated[
        str | None,
        Parameter(help="sftp, smb: where the password is, env:NAME or file:PATH; without it, it is asked."),
    ] = None
    domain: Annotated[str | None, Parameter(help="smb: the account's Windows domain.")] = None


@dataclass(frozen=True)
class Wanted:
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
    signer: Annotated[
        list[str] | None,
        Parameter(negative=(), help="Trust only backups signed by this machine (ed25519:…)."),
    ] = None,
    mounts: Annotated[
        list[str] | None,
        Parameter(
            negative=(), help="Where drives turn up here, as '/media/*'; without it, the usual places."
        ),
    ] = None,
    way: Annotated[Way, Parameter(name="*")] = Way(),
    wanted: Annotated[Wanted, Parameter(name="*")] = Wanted(),
) -> int:
    """Bring everything back on a bare machine: no plan, no server, only a key and a place with backups.

    The place is a folder or a drive, s3://bucket/prefix, sftp://user@host/path or
    smb://user@server/share/path. Takes the newest verified backup of each source there, opens it, repeats
    the checks, and puts it into a new folder. Keys of S3 are found where Amazon's own tools look for them
    (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws).

    **Examples:**

        datasave rescue --identity owner.key.txt

        datasave rescue /media/usb --list

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
    trusted = frozenset(signer) if signer else None
    with ExitStack() as stack:
        places = _places(place, way, mounts)
        for one in places:
            stack.enter_context(one)
        found = rescuing.shelves(places, trusted, wanted.source)
        if wanted.list:
            return _list(found, places, identities)
        choices = rescuing.pick(found, wanted.backup, identities)
        results = [
            _one(choice, identities, wanted, destination, len(choices) > 1, trusted) for choice in choices
        ]
    return max(results)


def _places(address: str | None, way: Way, mounts: list[str] | None) -> list[Target]:
    if address is None:
        patterns = mounts or list(usual_places())
        places: list[Target] = [*plugged_in_places(patterns)]
        return list(rescuing.some_place(places, patterns))
    access = Access(
        endpoint=way.endpoint,
        region=way.region,
        ca_bundle=way.ca_bundle,
        host_key=_key_text(way.host_key),
        known_hosts=way.known_hosts,
        key=way.key,
        password=_reference(way.password),
        domain=way.domain,
    )
    if needs_password(address, access):
        access = access._replace(password=_ask(address))
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
        "--password takes no password but says where it is: anyone could read it in the list of processes",
        hint="Write env:NAME or file:PATH, or leave it out and type the password when asked.",
    )


def _ask(address: str) -> str:
    if not sys.stdin.isatty():
        raise PlanError(
            f"{address} needs a password or a key, and there is no terminal to ask at",
            hint="Give --password env:NAME or file:PATH, or for sftp --key FILE.",
        )
    return typed("DATASAVE_TYPED_PASSWORD", getpass.getpass(f"Password for {address}: "))


def _list(found: list[FoundShelf], places: list[Target], identities: list[Identity]) -> int:
    for shelf in found:
        opened = {one.full_name for one in shelf.backups if rescuing.opens(one.manifest, identities)}
        rescue_table(f"{shelf.source or 'of no known source'} in {shelf.place.name}", shelf.backups, opened)
    if not found:
        say(f"No backups in {', '.join(place.name for place in places)}.")
    return 0 if any(one.verified for shelf in found for one in shelf.backups) else 1


def _one(
    choice: Choice,
    identities: list[Identity],
    wanted: Wanted,
    destination: Path,
    several: bool,
    trusted: frozenset[str] | None,
) -> int:
    """Bring one source back, or only prove that it could be; the exit status."""
    for text in choice.warnings:
        warning(text)
    goal = destination / choice.manifest.source if several else destination
    with room_beside(destination) as room:
        found = Found(choice.place, trusted, choice.manifest.source)
        recovered = bring_back(found, choice.backup, choice.manifest, identities, room, wanted.wait)
        if not wanted.drill:
            path = recovering.restore(recovered, goal, accept_damage=wanted.accept_damage)
            return tell(recovered, path, known=trusted is not None)
    findings_table(title_of(choice.manifest), recovered.findings)
    title = f"{choice.backup.full_name} in {choice.place.name}"
    require(
        recovered.findings, f"{title} did not pass", MismatchError, "Try another backup or another place."
    )
    good(
        f"{title} can be brought back with the key of {recovered.holder}, in "
        f"{duration_text(recovered.seconds)}; nothing was kept"
    )
    return 0
