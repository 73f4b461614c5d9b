"""What ``datasave self-check`` looks at: is this the program that was built, with what it was tried with?

The files are compared with the wheel's RECORD (PyPA, Recording installed projects), the packages it uses with
the lock file that lies in the wheel.
"""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import struct
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distributions, version
from pathlib import Path

from packaging.requirements import Requirement

import tasks
from tasks.errors import ProgramError
from tasks.records import Finding

NAME = "datasave"
PACKAGES = ("deployments", "flows", "tasks")
LOCK = "deployments/requirements.lock"
# More are not told one by one.
MOST_TOLD = 5


def program_folder() -> Path:
    """The folder that holds this program's packages."""
    return Path(tasks.__file__).parents[1]


def program_version() -> str:
    """The version of the program that runs, whichever other one comes first on the path."""
    beside = next(iter(distributions(name=NAME, path=[str(program_folder())])), None)
    return beside.version if beside else version(NAME)


def installation(folder: Path) -> list[Finding]:
    """The findings about the program in ``folder``. Raises ProgramError where its own records are gone."""
    bits = struct.calcsize("P") * 8
    python = f"{platform.python_version()} with {bits} bits on {platform.platform()}"
    return [
        Finding(check="Python", passed=True, detail=python),
        _own_files(folder),
        _dependencies(folder),
    ]


def _own_files(folder: Path) -> Finding:
    installed = _installed(folder)
    if installed is None:
        detail = f"{folder} is a development tree: there is no wheel to compare its files with"
        return Finding(check="program", passed=False, unchecked=True, detail=detail)
    wrong = [*_changed(installed), *_strange(installed, folder)]
    detail = f"{NAME} {installed.version} in {folder}: each file is as it was built"
    if wrong:
        detail = f"not as it was built: {_listed(wrong)} → install it anew with install.sh or install.ps1"
    return Finding(check="program", passed=not wrong, detail=detail)


def _installed(folder: Path) -> Distribution | None:
    """What the installer noted of the program in ``folder``; None where it is used out of its source tree.

    Looked for beside the packages: another one may come first on the path.
    """
    found = next(iter(distributions(name=NAME, path=[str(folder)])), None)
    if found is None or (found.read_text("RECORD") is None):
        return None
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    return None if origin.get("dir_info", {}).get("editable") else found


def _changed(installed: Distribution) -> Iterator[str]:
    for file in installed.files or ():
        if file.hash is None:
            continue  # RECORD itself, and what Python compiles for itself
        path = Path(str(file.locate()))
        if not path.is_file():
            yield f"{file} is gone"
        elif _digest(path, file.hash.mode) != file.hash.value:
            yield f"{file} was changed"


def _digest(path: Path, algorithm: str) -> str:
    """As RECORD has it: base64 for URLs, without its padding."""
    raw = hashlib.new(algorithm, path.read_bytes()).digest()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _strange(installed: Distribution, folder: Path) -> Iterator[str]:
    """Files among the program's own that no wheel brought: Python would run a module of them."""
    known = {str(file) for file in installed.files or ()}
    for package in PACKAGES:
        for path in sorted((folder / package).rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and "__pycache__" not in path.parts and name not in known:
                yield f"{name} is not of this program"


def _dependencies(folder: Path) -> Finding:
    wanted = list(_locked(folder / LOCK))
    wrong = [text for one in wanted if (text := _wrong_version(one))]
    detail = f"{len(wanted)} packages, each in the version that was tried"
    if wrong:
        detail = f"other versions than those that were tried: {_listed(wrong)} → install the program anew"
    return Finding(check="dependencies", passed=not wrong, detail=detail)


def _locked(lock: Path) -> Iterator[Requirement]:
    """The packages of a lock file that this system needs. Raises ProgramError."""
    try:
        lines = lock.read_text("utf-8").splitlines()
    except OSError as error:
        raise ProgramError(
            f"cannot read {lock}: {error.strerror}", hint="Install the program anew: a part of it is missing."
        ) from error
    for line in lines:
        if line[:1].isalnum():
            one = Requirement(line.rstrip("\\ "))
            if one.marker is None or one.marker.evaluate():
                yield one


def _wrong_version(wanted: Requirement) -> str:
    """What is wrong with the installed version of a package, or an empty text."""
    try:
        found = version(wanted.name)
    except PackageNotFoundError:
        return f"{wanted.name} is not here"
    right = wanted.specifier.contains(found, prereleases=True)
    return "" if right else f"{wanted.name} is {found}, not {wanted.specifier}"


def _listed(wrong: Sequence[str]) -> str:
    more = len(wrong) - MOST_TOLD
    return "; ".join(wrong[:MOST_TOLD]) + (f"; and {more} more" if more > 0 else "")
