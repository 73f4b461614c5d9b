"""A holder's key on paper and in shares, and under a passphrase: the files that are made of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tasks.age.keys import KeyPair, key_pairs_of, protect, secret_bytes
from tasks.context import write_new_secret
from tasks.errors import ShareError, StateError
from tasks.keys.identities import KeyFile
from tasks.keys.shares import Share, fingerprint, join, parse_share, share_text, split
from tasks.keys.sheet import Opens, Sheet, share_html, sheet_html
from tasks.plan.model import Plan
from tasks.platform.files import private_folder, write_atomic

UNNAMED = "a holder"


def key_text(identity: KeyPair, holder: str) -> str:
    """The text of an identity file, as age-keygen writes it and with the holder's name."""
    made = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = [f"# holder: {' '.join(holder.split())}", f"# created: {made}"]
    return "\n".join([*lines, f"# public key: {identity.recipient()}", identity.secret_text(), ""])


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


def holder_of_key(key: KeyFile, plan: Plan | None) -> str:
    """Whose key it is: by the plan, else by the note in its file."""
    named = [holder.name for holder in plan.holders if holder.recipient == key.recipient] if plan else []
    return named[0] if named else key.holder or UNNAMED


def write_sheet(
    key: KeyFile, holder: str, out: Path, opens: Sequence[Opens], contacts: Sequence[str]
) -> None:
    """Write a key's recovery sheet as a new private file. Raises StateError."""
    sheet = Sheet(holder, key.identity.secret_text(), key.recipient, datetime.now(UTC), opens, contacts)
    write_new_secret(out, sheet_html(sheet))


def write_shares(
    key: KeyFile, holder: str, folder: Path, count: int, needed: int, contacts: Sequence[str]
) -> list[Path]:
    """Write a key's shares, as texts and as sheets; the texts' paths. Raises ShareError, StateError."""
    shares = split(secret_bytes(key.identity), holder, key.recipient, count, needed)
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


def joined(paths: Sequence[Path]) -> tuple[KeyPair, str]:
    """The key that these share files give, the recorded one, and its holder's name. Raises ShareError."""
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
            return identity, next((share.holder for _, share in named if share.holder), UNNAMED)
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
