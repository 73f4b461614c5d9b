"""Whose backups these are: compared before anything is opened, and asked where nothing tells."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from deployments.cli.screen import say, warning
from tasks.context import PlanContext
from tasks.errors import UnknownSigner
from tasks.keys.identities import machines_noted
from tasks.keys.machines import means, words_of
from tasks.manifests.signing import public_text
from tasks.recovery.find import Origin, shelves
from tasks.recovery.signers import COMPARE, Signer, known_among, named_by, signers_of, told

SignerOption = Annotated[
    list[str] | None,
    Parameter(
        negative=(),
        help="The machine that made the backups: its ten words as they stand on a key's sheet, its key "
        "(ed25519:…), or a file with the scanned code. May be given several times.",
    ),
]
UNCOMPARED = "uncompared"


def vouched(
    origins: Sequence[Origin], given: Sequence[str] | None, identity: Sequence[Path], plan: Path
) -> frozenset[str]:
    """The machines whose backups in those places may be opened.

    Named by the person, by a key file, by the plan, or compared at the terminal. Raises UnknownSigner where
    nobody can be asked, or what is known fits none of them; TargetError.
    """
    signers = signers_of(shelves(origins))
    if not signers:
        return frozenset()  # nothing to open: what is missing is told where a backup is looked for
    if len(signers) > 1:
        warning(f"{len(signers)} machines signed backups there, not one:")
        for signer in signers:
            warning(str(signer))
    if given:
        return named_by([_text(one) for one in given], signers)
    known = {*machines_noted(identity), *_planned(plan)}
    if trusted := known_among(known, signers):
        return trusted
    return _compared(signers)


def _text(given: str) -> str:
    """What was given, or what the file holds that was named."""
    path = Path(given)
    try:
        return path.read_text("utf-8") if path.is_file() else given
    except (OSError, UnicodeDecodeError):
        return given


def _planned(plan: Path) -> frozenset[str]:
    """The machines whose signatures count by the plan on this machine, if there is one; nothing is made."""
    if not plan.exists():
        return frozenset()
    context = PlanContext(plan)
    if (context.state / "machine.key").exists():
        return context.trusted()
    return frozenset(context.plan.signers)


def _compared(signers: Sequence[Signer]) -> frozenset[str]:
    """The machine whose words a person types from paper. One alone may be gone on with uncompared."""
    if not sys.stdin.isatty():
        raise UnknownSigner(
            f"nothing here tells whether the office's machine made these backups, and nobody can be asked; "
            f"{told(signers)}",
            hint=COMPARE,
        )
    say(f"These backups were {told(signers)}.")
    say(
        "Whoever can write there can leave one of their own. The words of the office's machine stand on a "
        "key's sheet and in the disaster plan, on paper."
    )
    alone = f", or `{UNCOMPARED}` to go on without paper" if len(signers) == 1 else ""
    typed = input(f"Type its words as they stand on paper{alone}: ").strip()
    if alone and typed.lower() == UNCOMPARED:
        warning(f"nobody compared whose machine {words_of(signers[0].machine)} is")
        return frozenset({signers[0].machine})
    trusted = frozenset(one.machine for one in signers if means(typed, one.machine))
    if not trusted:
        raise UnknownSigner("those are the words of none of the machines that signed there", hint=COMPARE)
    return trusted


def machines_of(context: PlanContext) -> tuple[str, ...]:
    """The machines whose signatures count for a plan, this one first."""
    own = public_text(context.machine_key().public_key())
    return own, *sorted(context.trusted() - {own})
