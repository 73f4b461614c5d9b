"""PostgreSQL's own programs: where they lie, which version they are, and how an engine is started as root.

Every major version has its own folder, and only programs of a fitting version can read a copy.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tasks.errors import ProgramError, SourceError
from tasks.platform.accounts import is_root
from tasks.platform.processes import is_program, run

OLDEST = 13
"""The first version that writes a manifest of its base backups, which pg_verifybackup reads."""

WINDOWS = os.name == "nt"
# Debian and Ubuntu, Red Hat, Homebrew, the installers for macOS and Windows.
_USUAL = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/Library/PostgreSQL/*/bin",
)


@dataclass(frozen=True)
class Programs:
    """A folder of programs of one version. ``version`` as they tell it, ``15.6``."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """The number in front: what copies and programs must agree in."""
        return int(self.version.partition(".")[0])

    def path(self, name: str) -> Path:
        """The program ``name`` in this folder, there or not."""
        return _in(self.folder, name)

    def has(self, name: str) -> bool:
        """Whether the folder holds the program ``name``."""
        return is_program(self.path(name))


def programs_for(
    needed: Sequence[str], fits: Callable[[int], bool], wanted: str, folder: Path | None = None
) -> Programs:
    """The programs ``needed``, from ``folder`` or from wherever they usually lie; of several the oldest.

    ``fits`` says which major versions will do, ``wanted`` says so in words. Raises SourceError.
    """
    found = [known for place in _places(folder) if (known := _look(place, needed[0]))]
    complete = [one for one in found if all(one.has(name) for name in needed)]
    fitting = [one for one in complete if fits(one.major)]
    if fitting:
        return min(fitting, key=lambda one: one.major)
    listed = ", ".join(sorted({one.version for one in complete}, key=_as_numbers)) or "none"
    where = f"in {folder}" if folder else "on this machine"
    raise SourceError(
        f"the programs {', '.join(needed)} of PostgreSQL {wanted} are not {where}: found {listed}",
        hint=f"Install PostgreSQL {wanted} (on Debian and Ubuntu the packages postgresql-…), or name the "
        "folder that holds its programs in `programs:`.",
    )


def unprivileged() -> list[str]:
    """What to put before a server's command: PostgreSQL refuses to run as root.

    On Linux the server gets a user namespace, where root's files look like an ordinary account's, and a
    network of its own that leads nowhere: nothing a copy holds can reach out from there. Raises
    SourceError where Datasave runs as root and that is not to be had.
    """
    prefix = _namespace()
    if not prefix and is_root():
        raise SourceError(
            "cannot start PostgreSQL: it refuses to run as root",
            hint="Run Datasave under an account of its own, or install util-linux for its `unshare`.",
        )
    return prefix


@lru_cache(maxsize=1)
def _namespace() -> list[str]:
    """The command that makes the namespaces, empty where the system has none or forbids them."""
    if sys.platform == "win32" or shutil.which("unshare") is None:
        return []
    account = 1000 if is_root() else os.geteuid()
    prefix = ["unshare", "--user", f"--map-user={account}", f"--map-group={account}", "--net"]
    for attempt in (prefix, prefix[:-1]):
        try:
            if run([*attempt, "true"], seconds=10).code == 0:
                return attempt
        except ProgramError:
            continue
    return []


def _places(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        return
    for pattern in _USUAL:
        yield from sorted(Path("/").glob(pattern.removeprefix("/"))) if not WINDOWS else ()
    for variable in ("ProgramFiles", "ProgramW6432"):
        root = os.environ.get(variable) if WINDOWS else None
        yield from sorted(Path(root).glob("PostgreSQL/*/bin")) if root else ()
    yield from (Path(place) for place in os.get_exec_path() if place)


def _look(place: Path, program: str) -> Programs | None:
    """The programs in a folder; None where ``program`` is not there, or is no real one."""
    path = _in(place, program)
    # Debian's /usr/bin holds a wrapper that picks a version by itself.
    if not is_program(path) or path.resolve().name == "pg_wrapper":
        return None
    try:
        ended = run([path, "--version"], seconds=30)
    except ProgramError:
        return None
    version = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)?)", ended.out)
    return Programs(place, version[1]) if ended.code == 0 and version else None


def _in(folder: Path, name: str) -> Path:
    return folder / (f"{name}.exe" if WINDOWS else name)


def _as_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
