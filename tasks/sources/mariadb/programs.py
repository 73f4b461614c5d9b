"""MariaDB's (or MySQL's) own programs: where they are, and which release they belong to."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tasks.errors import ProgramError
from tasks.platform.accounts import is_root
from tasks.platform.processes import find_program, run

WINDOWS = os.name == "nt"
# Servers and their tools are often outside the PATH of an ordinary account.
USUAL_PLACES = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/usr/local/mysql/bin")
INSTALL_HINT = (
    "Install MariaDB {release} on this machine (Debian: apt install mariadb-server mariadb-backup), or set "
    "`programs` in the plan to the folder with its programs."
)


class Programs:
    """Finds programs in ``folder``, else on the PATH and in the usual places."""

    def __init__(self, folder: Path | None, release: str = "") -> None:
        self._folder = folder
        self._release = release

    @property
    def folders(self) -> list[Path]:
        """The folders that must be seen to run a program: of the plan's one, and of what it leads to."""
        if self._folder is None:
            return []
        installed = self._folder.resolve()
        return [path for path in (self._folder, installed, installed.parent) if path != path.parent]

    def find(self, *names: str) -> Path:
        """The first of ``names`` that is there. Raises ProgramError that says what to install."""
        for name in names:
            for place in self._places():
                try:
                    return find_program(place / name if place else name)
                except ProgramError:
                    continue
        raise ProgramError(
            f"the program {names[0]} is not on this machine",
            hint=INSTALL_HINT.format(release=self._release).replace("  ", " "),
        )

    def matching(self, *names: str) -> Path:
        """As ``find``; raises ProgramError also where the program is of another release than asked for."""
        program = self.find(*names)
        found = release_of(program)
        if found != self._release:
            raise ProgramError(
                f"the program {program.name} is of release {found or 'unknown'}, needed is {self._release}",
                hint=INSTALL_HINT.format(release=self._release),
            )
        return program

    def _places(self) -> list[Path | None]:
        if self._folder is not None:
            return [self._folder]
        installed = sorted(Path("C:/Program Files").glob("M*/M*/bin")) if WINDOWS else []
        installed += sorted(Path("C:/Program Files").glob("MariaDB */bin")) if WINDOWS else []
        return [None, *(installed or map(Path, USUAL_PLACES))]


def release_of(program: Path) -> str:
    """Major and minor version of a program, as "10.11" (MariaDB) or "8.0 MySQL"; empty if it won't say."""
    ended = run([program, "--version"], seconds=60)
    output = ended.out + ended.err
    mariadb = re.search(r"(\d+\.\d+)\.\d+-MariaDB", output, re.IGNORECASE)
    if mariadb:
        return mariadb[1]
    mysql = re.search(r"Ver (\d+\.\d+)\.\d+", output)
    return f"{mysql[1]} MySQL" if mysql else ""


def as_account() -> list[str]:
    """The servers refuse to run as root unless told that this is meant."""
    return ["--user=root"] if is_root() else []
