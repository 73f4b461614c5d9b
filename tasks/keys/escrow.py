"""A holder's key on paper, in shares and under a passphrase: the files and printable pages made of it.

A page holds a secret in the clear: it fetches nothing and runs nothing, and is meant for paper and a
sealed envelope. Every text in it is escaped by jinja2.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import segno
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from tasks.age.keys import KeyPair, key_pairs_of, protect, secret_bytes
from tasks.errors import KeyFormatError, ShareError, StateError
from tasks.keys.identities import KeyFile, read_key_file
from tasks.keys.machines import note_of, noted, words_of
from tasks.keys.opens import Opens
from tasks.keys.shares import Share, fingerprint, join, parse_share, share_text, split
from tasks.manifests.signing import allowed_signer
from tasks.notices.pages import command_html
from tasks.plan.model import Plan
from tasks.platform.files import private_folder, write_atomic, write_new_secret

GROUP = 4
LINES_TO_FILL = 2
LONG_RECIPIENT = 100
UNNAMED = "a holder"


class Sheet(NamedTuple):
    """The facts of a recovery sheet. ``secret`` is the identity itself, one line of capital letters.

    ``machines``: the public keys of those that sign the backups, as far as they are known.
    """

    holder: str
    secret: str
    recipient: str
    made: datetime
    opens: Sequence[Opens] = ()
    contacts: Sequence[str] = ()
    machines: Sequence[str] = ()


def key_text(identity: KeyPair, holder: str, machines: Sequence[str] = ()) -> str:
    """The text of an identity file, as age-keygen writes it, with whose it is and whose backups it opens."""
    made = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = [f"# holder: {' '.join(holder.split())}", f"# created: {made}"]
    noted = note_of(machines).splitlines()
    return "\n".join([*lines, *noted, f"# public key: {identity.recipient()}", identity.secret_text(), ""])


def file_stem(holder: str) -> str:
    """A holder's name as the beginning of a file name."""
    slug = "".join(letter if letter.isalnum() else "-" for letter in holder.lower()).strip("-")
    return slug or "holder"


def write_key(path: Path, text: str, passphrase: str | None) -> None:
    """Write a new identity file, under a passphrase where there is one. Raises StateError."""
    write_new_secret(path, protect(text, passphrase).decode("ascii") if passphrase else text)


def rewrite_key(path: Path, text: str, passphrase: str | None) -> None:
    """Give an existing identity file a passphrase, another one, or none; the old file stays until then."""
    data = protect(text, passphrase) if passphrase else text.encode("utf-8")
    try:
        write_atomic(path, data)
    except OSError as error:
        raise StateError(
            f"cannot write {path}: {error.strerror}",
            hint="It is as it was. Look at the disk and your rights.",
        ) from error


def note_machines(path: Path, machines: Sequence[str]) -> None:
    """Write into a key file who makes the backups. Raises PlanError, KeyFormatError, StateError."""
    key = read_key_file(path)
    if key.protected:
        raise KeyFormatError(
            f"cannot write into {path}: a passphrase protects it",
            hint="Take it away with `datasave keys protect --remove`, note it, and protect it again. "
            "The key's sheet names the machine too.",
        )
    missing = [machine for machine in machines if machine not in noted(key.text)]
    if missing:
        rewrite_key(path, note_of(missing) + key.text, None)


def holder_of_key(key: KeyFile, plan: Plan | None) -> str:
    """Whose key it is: by the plan, else by the note in its file."""
    named = [holder.name for holder in plan.holders if holder.recipient == key.recipient] if plan else []
    return named[0] if named else key.holder or UNNAMED


def write_sheet(
    key: KeyFile,
    holder: str,
    out: Path,
    opens: Sequence[Opens],
    contacts: Sequence[str],
    machines: Sequence[str] = (),
) -> None:
    """Write a key's recovery sheet as a new private file. Raises StateError."""
    secret, now = key.identity.secret_text(), datetime.now(UTC)
    sheet = Sheet(holder, secret, key.recipient, now, opens, contacts, machines or noted(key.text))
    write_new_secret(out, sheet_html(sheet))


def write_shares(
    key: KeyFile,
    holder: str,
    folder: Path,
    count: int,
    needed: int,
    contacts: Sequence[str],
    machines: Sequence[str] = (),
) -> list[Path]:
    """Write a key's shares, as texts and as sheets; the texts' paths. Raises ShareError, StateError."""
    shares = split(
        secret_bytes(key.identity), holder, key.recipient, count, needed, machines or noted(key.text)
    )
    paths = [folder / f"{file_stem(holder)}.share-{share.number}-of-{share.total}.txt" for share in shares]
    taken = [path for text in paths for path in (text, text.with_suffix(".html")) if path.exists()]
    if taken:
        raise StateError(
            f"{taken[0]} exists already", hint="Shares are never overwritten: name a new folder."
        )
    private_folder(folder)
    for path, share in zip(paths, shares, strict=True):
        write_new_secret(path, share_text(share))
        write_new_secret(path.with_suffix(".html"), share_html(share, datetime.now(UTC), contacts))
    return paths


def joined(paths: Sequence[Path]) -> tuple[KeyPair, str, tuple[str, ...]]:
    """The key that these share files give, the recorded one, its holder's name, and the machines they note.

    Raises ShareError.
    """
    named = [(str(path), _read_share(path)) for path in paths]
    marks = {share.fingerprint for _, share in named if share.fingerprint}
    secret = join(named)
    if not marks:
        raise ShareError(
            "no share says which key it belongs to",
            hint="Type the line `# fingerprint: …` of a share's sheet above its words.",
        )
    for identity in key_pairs_of(secret):
        if marks == {fingerprint(str(identity.recipient()))}:
            holder = next((share.holder for _, share in named if share.holder), UNNAMED)
            return identity, holder, tuple(dict.fromkeys(m for _, share in named for m in share.machines))
    raise ShareError(
        "the shares give a key that is not the recorded one",
        hint="Compare the fingerprint that each share states with its printed sheet.",
    )


def _read_share(path: Path) -> Share:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
        raise ShareError(
            f"cannot read the share {path}: {reason}", hint="Give the share's text file."
        ) from None
    return parse_share(text, str(path))


def sheet_html(sheet: Sheet) -> str:
    """A key's recovery sheet."""
    return _template("sheet.html").render(
        sheet=sheet,
        groups=grouped(sheet.secret),
        qr=qr_svg(note_of(sheet.machines) + sheet.secret),
        machines=[(words_of(machine), allowed_signer(machine)) for machine in sheet.machines],
        fingerprint=fingerprint(sheet.recipient),
        long=len(sheet.recipient) > LONG_RECIPIENT,
        blanks=range(max(0, LINES_TO_FILL - len(sheet.contacts))),
        date=f"{sheet.made.day} {sheet.made:%B %Y}",
        style=_style(),
    )


def share_html(share: Share, made: datetime, contacts: Sequence[str] = ()) -> str:
    """The sheet of one share of a key."""
    return _template("share.html").render(
        share=share,
        qr=qr_svg(share_text(share, on_paper=True)),
        machines=[(words_of(machine), allowed_signer(machine)) for machine in share.machines],
        blanks=range(max(0, LINES_TO_FILL - len(contacts))),
        contacts=contacts,
        date=f"{made.day} {made:%B %Y}",
        style=_style(),
    )


def grouped(secret: str) -> list[str]:
    """A secret in groups that can be read aloud and typed back; without the spaces it is the secret again."""
    head, separator, rest = secret.rpartition("1")
    return [head + separator, *textwrap.wrap(rest, GROUP)]


def qr_svg(text: str) -> Markup:
    """``text`` as a QR code: inline SVG with its quiet zone, black on white whatever the page's colours."""
    out = BytesIO()
    segno.make_qr(text, error="m").save(
        out,
        kind="svg",
        border=4,
        dark="#000",
        light="#fff",
        xmldecl=False,
        svgns=True,
        omitsize=True,
        nl=False,
    )
    return Markup(out.getvalue().decode("utf-8"))  # noqa: S704 - made by segno, from numbers alone


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=PackageLoader("tasks.keys", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["command"] = command_html
    return environment.get_template(name)


@cache
def _style() -> Markup:
    return Markup(files("tasks.keys").joinpath("style.css").read_text("utf-8"))  # noqa: S704 - our own
