"""Identity files: read them, under a passphrase or not.

A passphrase is asked for where somebody sits (``ask_by``, set by the command line), or comes from the
environment variable DATASAVE_PASSPHRASE. It is kept nowhere; what it opened is remembered for the length
of the process, so that a command may open a key before its progress is shown and use it in a step.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tasks.age.keys import MAX_KEY_FILE_BYTES, Identity, KeyPair, is_protected, parse_identity_file, unprotect
from tasks.context import PlanContext
from tasks.errors import KeyFormatError, NoMatchingIdentity, PlanError, SecretError
from tasks.keys.machines import noted
from tasks.platform.secrets import SAVE_AS_UTF8, secret_of

PASSPHRASE_VARIABLE = "DATASAVE_PASSPHRASE"  # noqa: S105 - a name
Asker = Callable[[str], str]
"""Called with a key file's name; returns its passphrase. Raises SecretError where nobody can be asked."""

_askers: list[Asker] = []
_opened: dict[bytes, str] = {}


class KeyFile(NamedTuple):
    """A key file with one identity: its text in the clear, whose it is, whether a passphrase protects it."""

    identity: KeyPair
    text: str
    holder: str
    protected: bool

    @property
    def recipient(self) -> str:
        """The public half."""
        return str(self.identity.recipient())


def ask_by(asker: Asker) -> None:
    """Ask for passphrases by ``asker`` from now on."""
    _askers[:] = [asker]


def read_identities(paths: Iterable[Path]) -> list[Identity]:
    """All identities of the given identity files.

    Raises PlanError, SecretError, KeyFormatError, or NoMatchingIdentity for a wrong passphrase; each names
    the file.
    """
    return [identity for path in paths for identity in opened_identities(_content(path), str(path))]


def drill_identities(context: PlanContext, holder: str = "") -> Sequence[Identity]:
    """The identities that the plan names for drills, or for drills with that holder's key.

    Raises PlanError where it names none.
    """
    drill = context.plan.drill
    reference = drill.identities.get(holder) or drill.identity or next(iter(drill.identities.values()), None)
    if reference is None:
        raise PlanError(
            "no identity for the drill",
            hint="Give --identity FILE, or set drill: {identity: file:PATH} in the plan.",
        )
    passphrase = drill.passphrase
    asker = (lambda _: secret_of(passphrase)) if passphrase else from_environment
    return opened_identities(secret_of(reference).encode("utf-8"), reference, asker)


def opened_identities(data: bytes, name: str, asker: Asker | None = None) -> list[KeyPair]:
    """The identities of a key file's content; ``name`` is what errors and questions call it."""
    text = _text(data, name, asker)
    try:
        return parse_identity_file(text)
    except KeyFormatError as error:
        raise KeyFormatError(f"{name}: {error.message}", hint=error.hint) from error


def read_key_file(path: Path) -> KeyFile:
    """A file with the identity of one holder. Raises as ``read_identities``, and for more than one."""
    data = _content(path)
    identities = opened_identities(data, str(path))
    if len(identities) > 1:
        raise KeyFormatError(
            f"{path} holds {len(identities)} keys, one is needed",
            hint="Give each holder a file of their own.",
        )
    text = _text(data, str(path), None)
    return KeyFile(identities[0], text, _holder_noted(text), is_protected(data))


def machines_noted(paths: Iterable[Path]) -> tuple[str, ...]:
    """The machines that these identity files name. Raises as ``read_identities``."""
    texts = (_text(_content(path), str(path), None) for path in paths)
    return tuple(dict.fromkeys(machine for text in texts for machine in noted(text)))


def recipients_of(identities: Sequence[Identity]) -> set[str]:
    """The public texts of identities; a passphrase has none."""
    return {str(identity.recipient()) for identity in identities if hasattr(identity, "recipient")}


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_KEY_FILE_BYTES)
    except OSError as error:
        raise _unreadable(path, error.strerror or "the medium failed") from error


def _unreadable(path: Path | str, reason: str) -> PlanError:
    return PlanError(
        f"cannot read the identity file {path}: {reason}",
        hint="Give the file that `datasave keys new` made for a holder (it begins with a # line).",
    )


def _text(data: bytes, name: str, asker: Asker | None) -> str:
    digest = hashlib.sha256(data).digest()
    if digest in _opened:
        return _opened[digest]
    protected = is_protected(data)
    plain = _unlocked(data, name, asker) if protected else data
    try:
        text = plain.decode("utf-8")
    except UnicodeDecodeError:
        # Not chained: that error carries the bytes, which may be a key's.
        if plain.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise PlanError(
                f"cannot read the identity file {name}: it is UTF-16 text", hint=SAVE_AS_UTF8
            ) from None
        raise _unreadable(name, "it is not a text file") from None
    if protected:
        _opened[digest] = text
    return text


def _unlocked(data: bytes, name: str, asker: Asker | None) -> bytes:
    ask = asker or (_askers[0] if _askers else from_environment)
    try:
        return unprotect(data, ask(name))
    except NoMatchingIdentity:
        raise NoMatchingIdentity(
            f"the passphrase does not open {name}",
            hint="Look at the keyboard's language and at Caps Lock, then try again. Without its passphrase "
            "this file is of no use: take another holder's key, or this one's recovery sheet or shares.",
        ) from None


def from_environment(name: str) -> str:
    """The passphrase from DATASAVE_PASSPHRASE. Raises SecretError where it is not set."""
    passphrase = os.environ.get(PASSPHRASE_VARIABLE, "")
    if not passphrase:
        raise SecretError(
            f"the key file {name} is protected by a passphrase, and nobody can be asked for it here",
            hint="Run the command in a terminal, say where the passphrase is with --passphrase-from env:NAME "
            f"or file:PATH, or set {PASSPHRASE_VARIABLE}. Scheduled drills: drill.passphrase in the plan.",
        )
    return passphrase


def _holder_noted(text: str) -> str:
    for line in text.splitlines():
        label, colon, name = line.partition(":")
        if colon and label.removeprefix("#").strip() == "holder":
            return name.strip()
    return ""
