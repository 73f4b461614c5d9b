"""An engine's command line: options of the server, then database files with options of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.standins.sqlanywhere.codes import FILE, Failure, usage
from tests.standins.sqlanywhere.redo import RedoLog
from tests.standins.sqlanywhere.wire import expand

SERVER_FLAGS = "ud ui ux ga z zl zn q qi qn qp qs qw r f m cs es u v fips bc"
SERVER_VALUES = (
    "n x c ch cl o oe os on ot gk gd gl gu gp gm gn gna gnh gnl gr gc gt gtc ti tl tq zo zr zs zt zp dt ca "
    "cp sb ec ep k kl s p b"
)
DATABASE_FLAGS = "r m"
DATABASE_VALUES = "n ds a ad ek ar as"


class CommandLine:
    """What an engine was asked for: ``server`` options, then files with options of their own."""

    def __init__(self, arguments: list[str]) -> None:
        self.server: dict[str, str] = {}
        self.files: list[tuple[Path, dict[str, str]]] = []
        words = iter(expand(arguments))
        for word in words:
            if not word.startswith("-"):
                path = Path(word)
                self.files.append((path if path.suffix else path.with_suffix(".db"), {}))
            else:
                self._option(word[1:], words)
        if not re.fullmatch(r"\d+(\.\d+)?[kKmMgGpP%]?", self.server.get("c", "8M")):
            raise usage(f"Invalid cache size {self.server['c']}")
        if not self.server.get("n", "x").strip():
            raise usage("-n needs a name")

    def _option(self, name: str, words: Iterator[str]) -> None:
        flags, values = (DATABASE_FLAGS, DATABASE_VALUES) if self.files else (SERVER_FLAGS, SERVER_VALUES)
        into = self.files[-1][1] if self.files else self.server
        if name in flags.split():
            into[name] = ""
        elif name in values.split():
            value = next(words, None)
            if value is None:
                raise usage(f"-{name} needs a value")
            into[name] = value
        else:
            raise usage(f"Invalid option -{name}")

    @property
    def port(self) -> int | None:
        """The TCP port to listen on; 0 for any, None for none. Without -x every protocol is served."""
        told = self.server.get("x")
        if told is None:
            return 0
        if told.lower() in ("none", "shmem", "sharedmemory"):
            return None
        tcp = re.search(r"tcpip(?:\((.*?)\))?", told, re.IGNORECASE)
        if tcp is None:
            raise usage(f"Invalid protocol {told}")
        port = re.search(r"port=(\d+)", tcp[1] or "", re.IGNORECASE)
        return int(port[1]) if port else 0


def logs(told: Mapping[str, str]) -> list[Path] | None:
    """The logs to apply: the one of -a, or all in the folder of -ad, by their offsets."""
    if "a" in told:
        return [Path(told["a"])]
    if "ad" not in told:
        return None
    folder = Path(told["ad"])
    if not folder.is_dir():
        raise Failure(FILE, f"The folder {folder} does not exist")
    return sorted(folder.glob("*.log"), key=lambda path: RedoLog(path).start)
