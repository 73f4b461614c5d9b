"""What a backup does: blocks of the database file and the dbspaces, then the log, under their live names."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO

from tests.standins.sqlanywhere import container
from tests.standins.sqlanywhere.codes import COMMUNICATIONS, FILE, Failure

Ask = Callable[[Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Wanted:
    folder: Path
    databases: bool = True
    log: bool = True
    restart: str = ""
    """"rename", "truncate" or "delete" the live log."""
    dated_name: bool = False
    """Name the copied log yymmddxx.log."""
    checkpoint_log: str = "copy"
    block: int = 128
    fault: dict[str, Any] = field(default_factory=dict)
    """pause, die_after, full_after, skip, spoil, empty: see install.py."""


class Copying:
    """``progress`` gets (bytes done, bytes of all files but the log)."""

    def __init__(self, ask: Ask, wanted: Wanted, progress: Callable[[int, int], None] | None = None) -> None:
        self._ask = ask
        self._wanted = wanted
        self._progress = progress or (lambda _done, _total: None)
        self._blocks = self._done = self._total = 0

    def run(self) -> None:
        begun = self._ask({"command": "begin_backup"})
        try:
            self._copy_all(begun)
        except OSError as error:
            raise Failure(FILE, f"Cannot write {self._wanted.folder}: {error.strerror}") from error
        finally:
            self._end()

    def _end(self) -> None:
        try:
            self._ask({"command": "end_backup"})
        except Failure as failure:
            if failure.code != COMMUNICATIONS:
                raise

    def _copy_all(self, begun: Mapping[str, Any]) -> None:
        if "empty" in self._wanted.fault:
            return
        if self._wanted.databases:
            self._total = sum(file["size"] for file in begun["files"])
            for number, file in enumerate(begun["files"]):
                self._copy(file["name"], file["name"], file["size"])
                if number == 0 and self._wanted.checkpoint_log in ("nocopy", "recover"):
                    _settle(self._wanted.folder / file["name"])
        if self._wanted.log:
            self._copy_log(begun["log"])
        for name in self._wanted.fault.get("spoil", []):
            _spoil(self._wanted.folder / name)

    def _copy_log(self, name: str) -> None:
        """The log may hold operations that came after the checkpoint which the image is of."""
        answer = self._ask({"command": "log", "restart": self._wanted.restart})
        if self._wanted.dated_name:
            name = answer["renamed"] or dated(self._wanted.folder)
        if self._wanted.restart != "delete":
            self._copy("", name, answer["size"])

    def _copy(self, source: str, name: str, size: int) -> None:
        if name in self._wanted.fault.get("skip", []):
            return
        step = self._wanted.block * container.PAGE
        with (self._wanted.folder / name).open("wb") as target:
            for at in range(0, size, step):
                asked = {"command": "read", "name": source, "at": at, "count": min(step, size - at)}
                self._block(target, self._ask(asked)["payload"])

    def _block(self, target: BinaryIO, payload: bytes) -> None:
        fault = self._wanted.fault
        self._blocks += 1
        if self._blocks > fault.get("die_after", self._blocks):
            raise Failure(fault.get("code", COMMUNICATIONS), "Communication error")
        if self._done + len(payload) > fault.get("full_after", self._done + len(payload)):
            raise OSError(errno.ENOSPC, "No space left on device")
        target.write(payload)
        self._done += len(payload)
        self._progress(min(self._done, self._total), self._total)
        time.sleep(fault.get("pause", 0))


def _settle(path: Path) -> None:
    """-k nocopy and recover give an image that needs no checkpoint log."""
    image = container.read(path)
    container.write(path, container.Image({**image.facts, "active": False}, image.pages))


def _spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3] = bytes(byte ^ 0x5A for byte in data[middle : middle + 3])
    path.write_bytes(data)


def dated(folder: Path) -> str:
    """yymmddxx.log with the next xx that is free in ``folder``."""
    day = date.today().strftime("%y%m%d")
    for number in range(26 * 26):
        name = f"{day}{chr(65 + number // 26)}{chr(65 + number % 26)}.log"
        if not (folder / name).exists():
            return name
    raise Failure(FILE, "no name is left for the log")
