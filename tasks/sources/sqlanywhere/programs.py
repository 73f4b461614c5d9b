"""One installation of SQL Anywhere: its programs, its ODBC driver, the environment they need.

Tools carry no version in their names, so a PATH may lead to those of another version: every program is
taken, by its absolute path, from one installation.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.errors import SourceError
from tasks.platform.processes import is_program
from tasks.sources.shared.odbc import manager

VERSIONS = (17, 16, 12, 11)
TOOLS = ("dbbackup", "dbvalid", "dbping", "dbstop", "dblog")
_PROGRAM_FOLDERS = ("bin64", "Bin64", "bin32", "Bin32")


@dataclass(frozen=True)
class Install:
    """An installation that has all its programs. ``driver`` is what ODBC calls its driver, or its file."""

    folder: Path
    programs: Path
    version: int
    driver: str

    def program(self, name: str) -> Path:
        """The absolute path of a tool."""
        return self.programs / _file_name(name)

    @property
    def engine(self) -> Path:
        """The personal engine, or the network engine where that is all there is."""
        personal = self.program(f"dbeng{self.version}")
        return personal if is_program(personal) else self.program(f"dbsrv{self.version}")

    @property
    def environment(self) -> Mapping[str, str]:
        """What its programs need, as ``sa_config.sh`` would set it."""
        found = {f"SQLANY{self.version}": str(self.folder)}
        if os.name == "posix":
            found["LD_LIBRARY_PATH"] = str(_libraries(self.folder, self.programs))
        if "SATMP" in os.environ:
            # Where shared memory connections meet on Unix: engine and tools must agree on it.
            found["SATMP"] = os.environ["SATMP"]
        return found


def find_install(folder: Path | None, version: int, driver: str | None = None) -> Install:
    """The installation of ``version`` in ``folder``, or where that version usually lies.

    Raises SourceError where there is none, or where it lacks a program.
    """
    places = [folder] if folder else list(_usual_places(version))
    for place in places:
        programs = _programs_in(place)
        if programs is not None:
            _refuse_incomplete(programs, version)
            return Install(place, programs, version, driver or _driver_of(place, programs, version))
    looked = ", ".join(str(place) for place in places)
    raise SourceError(
        f"SQL Anywhere {version} is not on this machine: no dbbackup in {looked}",
        hint=f"Install the SQL Anywhere {version} engine and tools, or set `install` under `source` in the "
        "plan to the folder that holds its Bin64 or bin64.",
    )


def find_any_install(recorded: int, folder: Path | None = None) -> Install:
    """An installation that can open a copy made by version ``recorded``: the same, else a newer one.

    Raises SourceError as ``find_install`` does, about the version recorded.
    """
    fitting = [version for version in sorted(VERSIONS) if version >= recorded] or [recorded]
    first: SourceError | None = None
    for version in fitting:
        try:
            return find_install(folder, version)
        except SourceError as error:
            first = first or error
    assert first is not None  # noqa: S101 - the list is never empty
    raise first


def odbc() -> Any:
    """The module pyodbc, set not to keep connections. Raises SourceError where ODBC itself is missing."""
    return manager("ODBC is not on this machine", "Install unixODBC (package unixodbc), then try again.")


def check_driver(install: Install) -> None:
    """Raise SourceError where the ODBC driver manager does not know the installation's driver."""
    if install.driver not in odbc().drivers() and not is_program(Path(install.driver)):
        raise SourceError(
            f"the ODBC driver {install.driver!r} is not on this machine",
            hint=f"Install the ODBC driver of SQL Anywhere {install.version} in the same number of bits as "
            "this Python, or set `driver` under `source` in the plan to the name it goes by.",
        )


def _usual_places(version: int) -> Iterator[Path]:
    told = os.environ.get(f"SQLANY{version}", "")
    if told:
        yield Path(told)
    if os.name == "nt":
        yield Path(os.environ.get("PROGRAMFILES", r"C:\Program Files")) / f"SQL Anywhere {version}"
    else:
        yield Path(f"/opt/sqlanywhere{version}")


def _programs_in(folder: Path) -> Path | None:
    for name in _PROGRAM_FOLDERS:
        if is_program(folder / name / _file_name("dbbackup")):
            return (folder / name).absolute()
    return None


def _refuse_incomplete(programs: Path, version: int) -> None:
    missing = [name for name in TOOLS if not is_program(programs / _file_name(name))]
    engines = (f"dbeng{version}", f"dbsrv{version}")
    if not any(is_program(programs / _file_name(name)) for name in engines):
        missing.append(" or ".join(engines))
    if missing:
        raise SourceError(
            f"the SQL Anywhere {version} installation in {programs} lacks {', '.join(missing)}",
            hint="Install the whole of it (engine and administration tools), or set `version` and `install` "
            "under `source` in the plan to the installation whose engine is running.",
        )


def _driver_of(folder: Path, programs: Path, version: int) -> str:
    """SAP's name for the driver; on Unix the file itself, where nobody has registered the name."""
    name = f"SQL Anywhere {version}"
    # The threaded one: pyodbc is used beside other threads.
    file = _libraries(folder, programs) / f"libdbodbc{version}_r.so"
    return str(file) if name not in odbc().drivers() and is_program(file) else name


def _libraries(folder: Path, programs: Path) -> Path:
    return folder / ("lib64" if programs.name.endswith("64") else "lib32")


def _file_name(program: str) -> str:
    return f"{program}.exe" if os.name == "nt" else program
