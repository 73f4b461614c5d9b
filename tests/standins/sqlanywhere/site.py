"""Where a stand-in is installed, the machine it runs on, and what was done there.

Servers of a machine meet in abstract Unix sockets (the shared memory of the real one): a name is taken once,
and free again as soon as its process is gone. ``events.jsonl`` of the machine lists every program call, start
of an engine, connection and stop.
"""

from __future__ import annotations

import json
import os
import socket
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

FAULTS = "faults.json"


class Site(NamedTuple):
    home: Path
    """The install folder, with bin64 and lib64."""
    machine: Path
    version: int
    root: Path
    """The folder that holds the package ``tests``."""

    @classmethod
    def of(cls, home: Path) -> Site:
        facts = json.loads((home / "standin.json").read_text())
        return cls(home, Path(facts["machine"]), facts["version"], Path(facts["root"]))

    def address(self, kind: str, name: str) -> str:
        """The abstract socket that stands for a server's name, or for a database file in use."""
        text = f"{self.machine}\n{kind}\n{name.lower() if kind == 'server' else name}".encode()
        # hashlib would take a tenth of the time that a program runs.
        return f"\0sqlany-{kind}-{zlib.crc32(text):08x}{zlib.adler32(text):08x}{len(text)}"

    def bind(self, kind: str, name: str) -> socket.socket | None:
        """Take the name; None if someone holds it."""
        taken = socket.socket(socket.AF_UNIX)
        try:
            taken.bind(self.address(kind, name))
        except OSError:
            taken.close()
            return None
        return taken

    def answers(self, server: str) -> bool:
        with socket.socket(socket.AF_UNIX) as knock:
            return knock.connect_ex(self.address("server", server)) == 0

    # Running engines, oldest first

    @property
    def running(self) -> Path:
        return self.machine / "running"

    def servers(self) -> list[str]:
        found = sorted(self.running.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        names = [json.loads(path.read_text())["server"] for path in found]
        return [name for name in names if self.answers(name)]

    def enlist(self, server: str) -> Path:
        record = self.running / f"{os.getpid()}.json"
        record.write_text(json.dumps({"server": server, "pid": os.getpid()}))
        return record

    # What was done

    def event(self, name: str, **facts: Any) -> None:
        line = json.dumps({"event": name, "pid": os.getpid(), **facts}) + "\n"
        descriptor = os.open(self.machine / "events.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    # Faults (install.py tells which there are)

    def take_fault(self, program: str) -> dict[str, Any]:
        """The fault set for a program; counts its ``times`` down."""
        path = self.home / FAULTS
        try:
            faults = json.loads(path.read_text())
        except (OSError, ValueError):
            return {}
        found: dict[str, Any] = faults.get(program, {})
        if "times" in found:
            found["times"] -= 1
            if found["times"] < 0:
                return {}
            with suppress(OSError):
                path.write_text(json.dumps(faults))
        return found
