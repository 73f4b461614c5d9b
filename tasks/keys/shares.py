"""A key in several shares, of which some are needed to put it together (SLIP-39).

SLIP-39 is an open format with implementations of its own in several languages and devices: its words give
the key's 32 bytes back without this program too. The format leaves no trace of whose key it was, so each
share says that in lines beside its words. Errors never quote a share's words.
"""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from shamir_mnemonic import MnemonicError, combine_mnemonics, generate_mnemonics
from shamir_mnemonic.share import Share as Words
from shamir_mnemonic.wordlist import WORD_INDEX_MAP

from tasks.errors import ShareError
from tasks.keys.machines import note_of
from tasks.keys.machines import noted as machines_noted

MOST = 16  # SLIP-39 numbers the shares of a set in four bits
WORD_COUNT = 33  # of a 32-byte secret
_WIDTH = 76
_HEAD = "A share of a key. Alone it opens nothing. Whoever holds enough of them opens every backup."
_TYPE_AGAIN = "Compare it with its printed sheet, word by word."


class Share(NamedTuple):
    """One share: whose key, which of how many, how many are needed, and the words themselves.

    ``recipient`` is the public key; on paper, where it may be too long, its ``fingerprint`` stands alone.
    ``machines``: the public keys of those that sign the backups, as far as they are known.
    """

    holder: str
    number: int
    total: int
    needed: int
    recipient: str
    fingerprint: str
    words: tuple[str, ...]
    machines: tuple[str, ...] = ()


def fingerprint(recipient: str) -> str:
    """A public key in short, to compare by eye: 16 bytes of its sha256, in groups of four hex digits."""
    digest = hashlib.sha256(recipient.encode("ascii")).hexdigest()[:32].upper()
    return " ".join(textwrap.wrap(digest, 4))


def split(
    secret: bytes, holder: str, recipient: str, count: int, needed: int, machines: Sequence[str] = ()
) -> list[Share]:
    """``count`` shares of a secret of 32 bytes, any ``needed`` of which give it back. Raises ShareError."""
    if not 2 <= needed <= count <= MOST:
        raise ShareError(
            f"cannot make {count} shares of which {needed} are needed",
            hint=f"At least 2 must be needed, at most as many as there are, and there can be {MOST}. "
            "Usual are 3 shares, 2 needed.",
        )
    # Without a passphrase there is nothing for the format's slow key stretching to protect.
    texts = generate_mnemonics(1, [(needed, count)], secret, iteration_exponent=0)[0]
    mark = fingerprint(recipient)
    return [
        Share(holder, number, count, needed, recipient, mark, tuple(text.split()), tuple(machines))
        for number, text in enumerate(texts, 1)
    ]


def share_text(share: Share, *, on_paper: bool = False) -> str:
    """A share as it lies in its file; ``on_paper`` without the public key, which may be very long."""
    lines = [
        f"# {_HEAD}",
        f"# holder: {share.holder}",
        f"# share: {share.number} of {share.total}, needed: {share.needed}",
        f"# fingerprint: {share.fingerprint}",
        *note_of(share.machines).splitlines(),
    ]
    if not on_paper:
        lines.append(f"# public key: {share.recipient}")
    return "\n".join([*lines, *textwrap.wrap(" ".join(share.words), _WIDTH), ""])


def parse_share(text: str, name: str) -> Share:
    """A share from its file, its scanned code, or as somebody typed it in. Raises ShareError, naming it."""
    noted: dict[str, str] = {}
    words: list[str] = []
    for line in text.removeprefix("\ufeff").splitlines():
        if line.lstrip().startswith("#"):
            label, _, value = line.lstrip("# ").partition(":")
            noted[label.strip().lower()] = value.strip()
        else:
            words += line.lower().split()
    parsed = _parsed(words, name)
    mark = " ".join(noted.get("fingerprint", "").upper().split())
    return Share(
        holder=noted.get("holder", ""),
        number=parsed.index + 1,
        total=0,
        needed=parsed.member_threshold,
        recipient=noted.get("public key", ""),
        fingerprint=mark or (fingerprint(noted["public key"]) if noted.get("public key") else ""),
        words=tuple(words),
        machines=machines_noted(text),
    )


def _parsed(words: Sequence[str], name: str) -> Words:
    if len(words) != WORD_COUNT:
        raise ShareError(f"{name} has {len(words)} words, a share has {WORD_COUNT}", hint=_TYPE_AGAIN)
    for place, word in enumerate(words, 1):
        if word not in WORD_INDEX_MAP:
            raise ShareError(f"word {place} of {name} is not a word of the list", hint=_TYPE_AGAIN)
    try:
        return Words.from_mnemonic(" ".join(words))
    except MnemonicError:
        # Not chained: that error quotes the first words.
        raise ShareError(
            f"the words of {name} do not fit together: one was mistyped, or two stand in each other's place",
            hint=_TYPE_AGAIN,
        ) from None


def join(shares: Sequence[tuple[str, Share]]) -> bytes:
    """The secret that the shares, each with the name errors call it by, give together. Raises ShareError."""
    _refuse_strangers(shares)
    needed = shares[0][1].needed
    if len(shares) < needed:
        raise ShareError(
            f"{needed} shares are needed, there {'is' if len(shares) == 1 else 'are'} {len(shares)}",
            hint="Give the files of as many shares as are needed in one command.",
        )
    try:
        return bytes(combine_mnemonics(" ".join(share.words) for _, share in shares[:needed]))
    except MnemonicError:
        raise ShareError("the shares do not fit together", hint=_TYPE_AGAIN) from None


def _refuse_strangers(shares: Sequence[tuple[str, Share]]) -> None:
    if not shares:
        raise ShareError("there is no share to put together", hint="Give the share files.")
    first_name, first = shares[0]
    common = _parsed(first.words, first_name).group_parameters()
    seen: dict[int, str] = {}
    for name, share in shares:
        if _parsed(share.words, name).group_parameters() != common:
            raise ShareError(
                f"{name} and {first_name} are of different sets of shares",
                hint="Shares fit only with those that were made in the same moment. Look at the holder "
                "and the fingerprint that each one states.",
            )
        if share.number in seen:
            raise ShareError(
                f"{name} and {seen[share.number]} are the same share", hint="Give a different share."
            )
        seen[share.number] = name
