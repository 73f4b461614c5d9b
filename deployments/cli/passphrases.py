"""Passphrases of identity files: asked for on the terminal, or found where a script says."""

from __future__ import annotations

import getpass
import os
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tasks.age.keys import Identity
from tasks.errors import KeyFormatError, SecretError
from tasks.keys.identities import (
    PASSPHRASE_VARIABLE,
    KeyFile,
    ask_by,
    from_environment,
    read_identities,
    read_key_file,
)
from tasks.platform.secrets import REFERENCE, resolve


def unlock(paths: Sequence[Path], passphrase_from: str | None) -> list[Identity]:
    """All identities of these files; asks for the passphrase of a protected one."""
    ask_by(partial(_passphrase, passphrase_from))
    return read_identities(paths)


def unlock_key(path: Path, passphrase_from: str | None) -> KeyFile:
    """One holder's key file; asks for its passphrase if it has one."""
    ask_by(partial(_passphrase, passphrase_from))
    return read_key_file(path)


def new_passphrase(passphrase_from: str | None) -> str:
    """A passphrase for a key: found where the reference says, or typed twice. Raises SecretError."""
    if passphrase_from:
        return _found(passphrase_from)
    if not sys.stdin.isatty():
        return from_environment("to be made")
    first = getpass.getpass("Passphrase for the key (several words; it is not shown): ")
    if not first:
        raise KeyFormatError("cannot use an empty passphrase", hint="Choose a passphrase of several words.")
    if getpass.getpass("The same again: ") != first:
        raise SecretError("the two passphrases differ", hint="Nothing was written. Run the command again.")
    return first


def _passphrase(reference: str | None, name: str) -> str:
    if reference:
        return _found(reference)
    if os.environ.get(PASSPHRASE_VARIABLE) or not sys.stdin.isatty():
        return from_environment(name)
    return getpass.getpass(f"Passphrase for {name}: ")


def _found(reference: str) -> str:
    if not re.fullmatch(REFERENCE, reference):
        raise SecretError(
            "--passphrase-from takes the place of a passphrase, never the passphrase itself",
            hint="Write env:NAME or file:PATH: what stands in a command's arguments can be seen by others.",
        )
    return resolve(reference, Path.cwd())
