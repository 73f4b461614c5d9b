"""Secrets by reference: the plan says where a secret is, never what it is.

``env:NAME`` an environment variable, ``file:path`` a private file, ``prefect:name`` a secret block of
the Prefect server. No message of this module holds a secret, nor a text that might be one.
"""

from __future__ import annotations

import base64
import os
import re
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo, WithJsonSchema

from tasks.errors import SecretError
from tasks.options import problem
from tasks.platform.ownership import foreign

REFERENCE = r"(env:[A-Za-z_][A-Za-z0-9_]*|file:[^\x00-\x1f]+|prefect:[A-Za-z0-9][A-Za-z0-9_.-]*)"
REFERENCE_PATTERN = re.compile(REFERENCE)
LARGEST = 64 * 1024
BARE = "is not a reference to a secret"
SAVE_AS_UTF8 = (
    "Save it again as UTF-8: in Notepad by Save as, Encoding; in PowerShell by `Set-Content -Encoding utf8`, "
    "since there > writes UTF-16."
)
BARE_HINT = "Write secrets as env:, file: or prefect: references, never in the plan."


def anchored(path: Path, base: Path) -> Path:
    """``path`` with ``~`` expanded, relative to ``base``. Raises ValueError if it cannot be one.

    YAML reads "C:\\new" in double quotes as C:, a line break, ew: caught here.
    """
    if any(ord(letter) < 32 for letter in str(path)):
        raise ValueError("a path cannot hold control characters; put it in single quotes, not in double ones")
    try:
        return base / path.expanduser()
    except RuntimeError as error:
        raise ValueError("the home folder that ~ stands for is not known") from error


def _check(value: str, info: ValidationInfo) -> str:
    """Refuse what is no reference; make a file: reference absolute where the plan's folder is known."""
    if not re.fullmatch(REFERENCE, value):
        raise problem(BARE, hint=BARE_HINT)
    return anchored_reference(value, info)


def anchored_reference(value: str, info: ValidationInfo) -> str:
    """A ``file:`` reference made absolute where the plan's folder is known; any other text as it is."""
    scheme, _, rest = value.partition(":")
    if scheme == "file" and info.context:
        return f"file:{anchored(Path(rest), info.context['folder'])}"
    return value


SecretReference = Annotated[
    str, AfterValidator(_check), WithJsonSchema({"type": "string", "pattern": f"^{REFERENCE}$"})
]


_lookups: list[Callable[[str], str]] = []


def look_up_by(lookup: Callable[[str], str]) -> None:
    """Find ``prefect:`` references by ``lookup`` from now on, wherever none is given.

    Said once in each process that runs steps; adapters resolve their own passwords and know no Prefect.
    """
    _lookups[:] = [lookup]


_typed: dict[str, str] = {}


def typed(name: str, secret: str) -> str:
    """A reference to a secret that a person just typed. It stays in this process: programs that are
    started do not see it, as they would an environment variable."""
    _typed[name] = secret
    return f"env:{name}"


def secret_of(reference: str) -> str:
    """The secret behind a reference of a loaded plan, whose paths are absolute. Raises SecretError."""
    return resolve(reference, Path.cwd(), _lookups[0] if _lookups else None)


def resolve(reference: str, base: Path, prefect_lookup: Callable[[str], str] | None = None) -> str:
    """The secret that ``reference`` leads to.

    ``base`` is the folder that a relative ``file:`` path starts from. ``prefect_lookup`` takes the
    name of a secret block and returns its value, or raises SecretError. Raises SecretError.
    """
    if not re.fullmatch(REFERENCE, reference):
        raise SecretError("what stands for a secret is not a reference to one", hint=BARE_HINT)
    scheme, _, name = reference.partition(":")
    if scheme == "env":
        secret = _typed.get(name) or os.environ.get(name, "")
    elif scheme == "file":
        secret = _from_file(name, base)
    else:
        secret = _from_prefect(name, prefect_lookup)
    if not secret:
        raise SecretError(f"the secret {reference} is empty or not set", hint=_where_to_set(scheme))
    return secret


def masked(text: str, secrets: Iterable[str]) -> str:
    """``text`` without the secrets, bare or as base64: what a server answers may hold what it was sent."""
    for secret in filter(None, secrets):
        for shape in (secret, base64.b64encode(secret.encode()).decode("ascii")):
            text = text.replace(shape, "•••")
    return text


def _where_to_set(scheme: str) -> str:
    return {
        "env": "Set the environment variable for the account that runs Datasave.",
        "file": "Write the secret into the file.",
        "prefect": "Fill the secret block in the Prefect server.",
    }[scheme]


def _from_prefect(name: str, lookup: Callable[[str], str] | None) -> str:
    if lookup is None:
        raise SecretError(
            f"the secret prefect:{name} needs a Prefect server, and this command runs without one",
            hint="Use an env: or file: reference where no Prefect server is at hand.",
        )
    return lookup(name)


def _from_file(name: str, base: Path) -> str:
    try:
        path = anchored(Path(name), base)
        with path.open("rb") as stream:
            _refuse_open_to_others(stream.fileno(), path)
            data = stream.read(LARGEST + 1)
    except OSError as error:
        raise SecretError(f"cannot read the secret file {name}: {error.strerror or 'not usable'}") from error
    except ValueError as error:
        raise SecretError(f"cannot read the secret file {name}: {error}") from error
    if len(data) > LARGEST:
        raise SecretError(f"the secret file {name} is larger than {LARGEST} bytes")
    return _text(data, name)


def _text(data: bytes, name: str) -> str:
    # Not `strict`: its error would carry the whole secret. Windows editors may begin with a BOM.
    text = data.decode("utf-8-sig", "replace")
    if "\ufffd" in text:
        raise SecretError(f"the secret file {name} is not UTF-8 text", hint=SAVE_AS_UTF8)
    return text.removesuffix("\n").removesuffix("\r")


def _refuse_open_to_others(descriptor: int, path: Path) -> None:
    """Asked of the open file, not of its name, so that it cannot be exchanged in between.

    Windows has no such mode bits: a file there has the rights of its folder.
    """
    info = os.fstat(descriptor)
    if whose := foreign(info):
        raise SecretError(
            f"refused the secret file {path}: {whose}",
            hint="Give it to the account that runs Datasave (`chown`), mode 0600.",
        )
    if os.name == "posix" and stat.S_IMODE(info.st_mode) & 0o077:
        raise SecretError(f"others can read the secret file {path}", hint=f'Run: chmod 600 "{path}"')
