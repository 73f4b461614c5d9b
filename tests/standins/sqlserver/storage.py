"""Databases as files, and the ``.bak``: a header, then each page with a checksum of its own, then an end."""

from __future__ import annotations

import json
import sqlite3
import struct
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from tests.standins.sqlserver.dialect import Refused

PAGE = 4096
MAGIC, END = b"TAPE\x00\x00\x03\x8c", b"SFMB-END"
_MODULES = (
    'CREATE TABLE IF NOT EXISTS "_modules" '
    "(kind TEXT, schema TEXT, name TEXT, parent TEXT, definition TEXT, PRIMARY KEY (schema, name))"
)


@dataclass
class Database:
    """One database. ``users`` are logins and their roles in it; ``state`` is ONLINE, OFFLINE or RESTORING."""

    name: str
    mdf: Path
    owner: str
    users: dict[str, set[str]] = field(default_factory=dict)
    state: str = "ONLINE"
    recovery: str = "FULL"
    family: str = ""
    created: datetime = field(default_factory=datetime.now)
    read_only: bool = False
    single_user: bool = False
    encrypted: bool = False
    snapshot_of: int | None = None
    differential_base: str = "never"
    id: int = 0

    @property
    def ldf(self) -> Path:
        return self.mdf.with_name(self.mdf.stem + "_log.ldf")

    log: Path | None = None

    def files(self) -> list[tuple[int, str, Path, str]]:
        """(file id, logical name, path, type) of each file."""
        return [(1, self.name, self.mdf, "D"), (2, f"{self.name}_log", self.log or self.ldf, "L")]


def create_files(database: Database) -> None:
    with closing(sqlite3.connect(database.mdf, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(_MODULES)
    (database.log or database.ldf).write_bytes(b"log" + bytes(8189))


@dataclass
class Header:
    """What RESTORE HEADERONLY and FILELISTONLY tell of a backup."""

    database: str
    pages: int
    family: str
    recovery: str
    version: str
    checksums: bool
    copy_only: bool
    damaged: bool
    started: str
    owner: str
    users: dict[str, list[str]]
    files: list[list[Any]]
    name: str = ""


def snapshot(mdf: Path, to: Path) -> int:
    """The database's pages as of now, in ``to``; how many they are."""
    with closing(sqlite3.connect(mdf)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)
    return to.stat().st_size // PAGE


def write_backup(out: BinaryIO, header: Header, pages: Path, step: Callable[[int], None]) -> None:
    """Write a .bak; ``step`` is called with each percentage reached, and may raise."""
    told = json.dumps(asdict(header)).encode()
    out.write(MAGIC + struct.pack("<II", len(told), zlib.crc32(told)) + told)
    shown = 0
    with pages.open("rb") as source:
        for index in range(header.pages):
            page = source.read(PAGE)
            out.write(struct.pack("<I", zlib.crc32(page) if header.checksums else 0) + page)
            percent = (index + 1) * 100 // header.pages
            while shown < percent:
                shown += 1
                out.flush()
                step(shown)
    out.write(END)


def read_header(stream: BinaryIO) -> Header:
    """Raises Refused 3241 where it is no backup, 3242 where the header is damaged."""
    if stream.read(len(MAGIC)) != MAGIC:
        raise Refused(3241, "The media family on device is incorrectly formed.")
    length, digest = struct.unpack("<II", stream.read(8).ljust(8, b"\0"))
    told = stream.read(min(length, 1 << 20))
    if zlib.crc32(told) != digest:
        raise Refused(3242, "The file on device is not a valid Microsoft Tape Format backup set.")
    return Header(**json.loads(told))


def read_pages(stream: BinaryIO, header: Header, sink: Callable[[int, bytes], None], damage: Refused) -> None:
    """Hand each page to ``sink``. Raises ``damage`` for a wrong checksum, Refused 3203 at an early end."""
    for index in range(header.pages):
        data = stream.read(4 + PAGE)
        if len(data) < 4 + PAGE:
            raise Refused(3203, "Read on device failed: 38(Reached the end of the file.)")
        if header.checksums and zlib.crc32(data[4:]) != struct.unpack("<I", data[:4])[0]:
            raise damage
        sink(index, data[4:])
    if stream.read() != END:
        raise Refused(3203, "Read on device failed: 38(Reached the end of the file.)")
