"""Installing the stand-in, and running a production server on it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.standins.sqlanywhere import driver
from tests.standins.sqlanywhere.production import Production
from tests.standins.sqlanywhere.site import FAULTS, Site

PACKAGE = Path(__file__).parent
TOOLS = ["dbbackup", "dbvalid", "dbping", "dbstop", "dblog", "dbinfo", "dbspawn"]
DSN = "SOSDATA"


@dataclass(frozen=True)
class StandIn:
    """An install folder like ``/opt/sqlanywhere17``: bin64 with the programs, lib64 with the ODBC driver."""

    site: Site

    @classmethod
    def install(cls, folder: Path, version: int = 17, machine: Path | None = None) -> StandIn:
        """Install into ``folder``, a new one. Installs that name one ``machine`` share its servers."""
        folder = folder.absolute()
        machine = machine or folder / "machine"
        for new in (folder / "bin64", folder / "lib64", folder / "odbc"):
            new.mkdir(parents=True)
        for new in (machine / "work", machine / "running"):
            new.mkdir(parents=True, exist_ok=True)
        site = Site(folder, machine, version, PACKAGE.parents[2])
        facts = {"machine": str(machine), "version": version, "root": str(site.root)}
        (folder / "standin.json").write_text(json.dumps(facts))
        for name in [*TOOLS, f"dbeng{version}", f"dbsrv{version}"]:
            _write_program(folder, name)
        _write_config(folder, version)
        standin = cls(site)
        standin.driver.symlink_to(driver.built(version))
        standin._write_odbc()
        return standin

    @property
    def folder(self) -> Path:
        return self.site.home

    @property
    def version(self) -> int:
        return self.site.version

    @property
    def bin(self) -> Path:
        return self.folder / "bin64"

    @property
    def driver(self) -> Path:
        """The ODBC driver's library; ``Driver=`` takes this path, or the name ``driver_name``."""
        return self.folder / "lib64" / f"libdbodbc{self.version}_r.so"

    @property
    def driver_name(self) -> str:
        return f"SQL Anywhere {self.version}"

    @property
    def environment(self) -> dict[str, str]:
        """For os.environ of a test, or of a program: where ODBC finds the driver and the DSN."""
        return {
            "ODBCSYSINI": str(self.folder / "odbc"),
            "ODBCINI": str(self.folder / "odbc" / "odbc.ini"),
            f"SQLANY{self.version}": str(self.folder),
        }

    def program(self, name: str) -> Path:
        """The path of ``dbbackup``, …, and of ``dbeng`` and ``dbsrv`` with the version added."""
        return self.bin / (f"{name}{self.version}" if name in ("dbeng", "dbsrv") else name)

    def run(
        self, name: str, *arguments: str | Path, sqlconnect: str = "", seconds: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, with nothing on its standard input."""
        added = {"SQLCONNECT": sqlconnect} if sqlconnect else {}
        return subprocess.run(
            [str(word) for word in (self.program(name), *arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            env={"PATH": os.defpath, **self.environment, **added},
            check=False,
        )

    # What happened

    def events(self, name: str = "", **facts: Any) -> list[dict[str, Any]]:
        """What was done on this machine, oldest first: call, exit, load, start, connect, autostart, stop."""
        path = self.site.machine / "events.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        found = [json.loads(line) for line in lines]
        return [
            event
            for event in found
            if name in ("", event["event"]) and all(event.get(k) == v for k, v in facts.items())
        ]

    def servers(self) -> list[str]:
        """Names of the running servers, oldest first."""
        return self.site.servers()

    def end_all(self) -> None:
        """Kill the engines of this machine that still run, by pid."""
        for record in self.site.running.glob("*.json"):
            pid = json.loads(record.read_text())["pid"]
            if self.site.answers(json.loads(record.read_text())["server"]):
                os.kill(pid, signal.SIGKILL)
            record.unlink(missing_ok=True)

    # Faults

    def fault(self, program: str, **fault: Any) -> None:
        """Set the fault of a program (``dbeng`` and ``dbsrv`` without a version); __init__ lists them."""
        path = self.folder / FAULTS
        faults = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**faults, program: fault}))

    def clear_faults(self) -> None:
        (self.folder / FAULTS).unlink(missing_ok=True)

    def fired(self, program: str) -> int:
        """How often a program ran with its fault."""
        return sum(
            bool(event["fault"]) for event in self.events("call") if event["program"].startswith(program)
        )

    # ODBC

    def set_dsn(self, **keys: str) -> None:
        """What the DSN ``SOSDATA`` says; the driver by its path, for unixODBC caches where names are."""
        text = "".join(f"{key} = {value}\n" for key, value in keys.items())
        (self.folder / "odbc" / "odbc.ini").write_text(f"[{DSN}]\nDriver = {self.driver}\n{text}")

    def _write_odbc(self) -> None:
        own = f"[{self.driver_name}]\nDescription = SQL Anywhere stand-in\nDriver = {self.driver}\n\n"
        others = Path("/etc/odbcinst.ini")
        kept = others.read_text() if others.exists() else ""
        (self.folder / "odbc" / "odbcinst.ini").write_text(own + kept)
        self.set_dsn()

    # Production

    @contextmanager
    def production(
        self, folder: Path, *, rows: int = 2_000, checksums: bool = True, dba_id: int = 101, **engine: str
    ) -> Iterator[Production]:
        """A running server with the database that production.py describes, in ``folder``.

        ``engine`` are options of the server, as in ``gd="none"``. The DSN leads to it.
        """
        database = Production.make(self, folder, rows=rows, checksums=checksums, dba_id=dba_id)
        database.start(**engine)
        try:
            yield database
        finally:
            database.stop()


def _write_program(folder: Path, name: str) -> None:
    path = folder / "bin64" / name
    words = [sys.executable, "-I", "-S", str(PACKAGE / "program.py"), name, str(folder)]
    path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    path.chmod(0o755)


def _write_config(folder: Path, version: int) -> None:
    (folder / "bin64" / "sa_config.sh").write_text(
        f"SQLANY{version}={shlex.quote(str(folder))}; export SQLANY{version}\n"
        f'PATH="$SQLANY{version}/bin64:$PATH"; export PATH\n'
        f'LD_LIBRARY_PATH="$SQLANY{version}/lib64:$LD_LIBRARY_PATH"; export LD_LIBRARY_PATH\n'
    )
