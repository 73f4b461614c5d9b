"""Who signed what lies in a place, and whether that is the office's machine: before anything is opened."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from tasks.errors import UnknownSigner
from tasks.keys.machines import means, words_of
from tasks.manifests.signing import signature_defect, without_contradiction
from tasks.notices.wording import count_text
from tasks.records import key_of
from tasks.recovery.find import FoundShelf

COMPARE = (
    "Compare the words with a key's sheet or the disaster plan, on paper, and give them: "
    "--signer WORDS. Whoever can write there can leave a backup of their own."
)


class Signer(NamedTuple):
    """A machine, and the backups that it signed in the places looked at. ``sources``: full names."""

    machine: str
    sources: tuple[str, ...]
    backups: int
    newest: int

    def __str__(self) -> str:
        backups = count_text(self.backups, "backup")
        return f"{words_of(self.machine)} ({backups} of {', '.join(self.sources)}, up to #{self.newest})"


def signers_of(found: Sequence[FoundShelf]) -> list[Signer]:
    """Who signed what is there, whether it counts or not, by the highest number, that one first."""
    signed: dict[str, list[tuple[str, int]]] = {}
    for manifest in (one.manifest for shelf in found for one in shelf.backups):
        if manifest is not None and not signature_defect(manifest, None):
            signed.setdefault(manifest.machine, []).append((manifest.source, manifest.sequence))
    signers = [
        Signer(machine, tuple(sorted({source for source, _ in mine})), len(mine), max(n for _, n in mine))
        for machine, mine in signed.items()
    ]
    return sorted(signers, key=lambda signer: -signer.newest)


def named_by(given: Sequence[str], signers: Sequence[Signer]) -> frozenset[str]:
    """The machines among ``signers`` that a person named. Raises UnknownSigner where it is none of them."""
    named = frozenset(one.machine for one in signers if any(means(text, one.machine) for text in given))
    if not named:
        raise UnknownSigner(f"no backup there was signed by the machine given; {told(signers)}", hint=COMPARE)
    return named


def known_among(known: Collection[str], signers: Sequence[Signer]) -> frozenset[str]:
    """Those that a key or a plan knows. Raises UnknownSigner where it knows some, and none of these."""
    keys = {key_of(one): one for one in without_contradiction(known)}
    trusted = frozenset(keys[signer.machine] for signer in signers if signer.machine in keys)
    if known and not trusted:
        raise UnknownSigner(
            f"none of the machines that the key or the plan names signed what lies there; {told(signers)}",
            hint=COMPARE,
        )
    return trusted


def told(signers: Sequence[Signer]) -> str:
    """Who signed, in one sentence."""
    return "signed there by " + "; ".join(str(signer) for signer in signers)
