"""The machines that sign backups, as people compare them: ten words, a line in a key file, a scanned code.

Whoever can write to a target can seal a forgery for the holders, whose public keys are no secret, and sign it
with a key of their own. What tells it apart is the office's machine, known from somewhere else: paper, a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256

from shamir_mnemonic.wordlist import WORDLIST

from tasks.manifests.signing import allowed_signer
from tasks.records import key_of

WORD_COUNT = 10
"""Of ten bits each: 100 bits, far more than keys can be tried for."""
_BITS = 10
# No two words of the list begin with the same four letters.
_TELLING = 4
_NOTE = re.compile(r"^[#\s]*machine:\s*(ed25519:[A-Za-z0-9+/]{43}=)\s*$", re.MULTILINE)


def words_of(machine: str) -> str:
    """A machine's public key (``ed25519:…``) as ten words of SLIP-39's list, joined by hyphens."""
    digest = sha256(f"datasave machine v1\n{key_of(machine)}".encode()).digest()
    number = int.from_bytes(digest, "big") >> (8 * len(digest) - _BITS * WORD_COUNT)
    places = reversed(range(WORD_COUNT))
    return "-".join(WORDLIST[number >> _BITS * place & (1 << _BITS) - 1] for place in places)


def note_of(machines: Iterable[str]) -> str:
    """The lines of a key file, a share or a code that name machines."""
    return "".join(f"# machine: {key_of(machine)}\n" for machine in machines)


def noted(text: str) -> tuple[str, ...]:
    """The machines that a key file, a share or a scanned code names."""
    return tuple(dict.fromkeys(_NOTE.findall(text)))


def means(given: str, machine: str) -> bool:
    """Whether a person means this machine: by its key, words, line for ssh-keygen, or a scanned note."""
    text = given.strip()
    if text == machine or machine in noted(text) or text == allowed_signer(machine):
        return True
    typed = [word[:_TELLING] for word in re.split(r"[\s-]+", text.lower()) if word]
    return typed == [word[:_TELLING] for word in words_of(machine).split("-")]
