"""A database file of the stand-in: the pages of an SQLite file, then what the engine keeps, checksums too.

Layout: SQLite pages of 4096 bytes | JSON | length of the JSON (8 bytes, big-endian) | MAGIC. The pages are as
of the last checkpoint. `sqlite3.connect("file:x.db?immutable=1", uri=True)` reads them.

Facts (the JSON) of a database: ``kind`` "database", ``id``, ``version``, ``checkpoint`` (the offset in the
log), ``chain`` (redo.py), ``log`` (absolute path), ``active`` (needs recovery), ``open`` (statements of
transactions that were open at the checkpoint), ``spaces`` {owner: absolute path}, ``users``, ``procedures``,
``checksums`` (a CRC-32 for each page, or null), ``next`` (transaction number). Of a dbspace: ``kind``
"dbspace", ``id``, ``owner``, ``checkpoint``, ``checksums``.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.standins.sqlanywhere.codes import BAD_DATA, FATAL, FILE, NOT_A_DATABASE, Failure

PAGE = 4096
MAGIC = b"SQLAnyStandIn001"
SQLITE = b"SQLite format 3\0"


@dataclass(frozen=True)
class Image:
    facts: dict[str, Any]
    pages: bytes

    def bad_pages(self) -> list[int]:
        """Numbers of the pages that are not what their checksums say."""
        sums = self.facts["checksums"]
        if sums is None:
            return []
        if len(sums) * PAGE != len(self.pages):
            return [0]
        return [number for number, sum_ in enumerate(sums) if zlib.crc32(self.page(number)) != sum_]

    def page(self, number: int) -> bytes:
        return self.pages[number * PAGE : (number + 1) * PAGE]

    def checksums_of(self, pages: bytes) -> list[int] | None:
        """Checksums of what these pages have become. A page that was not written keeps its old one, damaged
        or not; one that was written had been read before, and reading it finds its damage.
        """
        sums = self.facts["checksums"]
        if sums is None:
            return None
        result = []
        for number in range(len(pages) // PAGE):
            page = pages[number * PAGE : (number + 1) * PAGE]
            old = self.page(number)
            if page == old:
                result.append(sums[number])
                continue
            if old and zlib.crc32(old) != sums[number]:
                raise Failure(
                    FATAL, f"*** ERROR *** Assertion failed: 200502 Checksum failure on page {number}"
                )
            result.append(zlib.crc32(page))
        return result


def checksums(pages: bytes) -> list[int]:
    return [zlib.crc32(pages[at : at + PAGE]) for at in range(0, len(pages), PAGE)]


def read(path: Path, kind: str = "database") -> Image:
    """The file's pages and facts. Raises Failure 3, 14 (never was one) or 2 (cut short)."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Failure(FILE, f"Cannot open {path}: {error.strerror}") from error
    if not data.startswith(SQLITE):
        raise Failure(NOT_A_DATABASE, f"{path} is not a database")
    if not data.endswith(MAGIC):
        raise Failure(BAD_DATA, f"{path}: unexpected end of file")
    at = len(data) - len(MAGIC) - 8
    length = int.from_bytes(data[at : at + 8], "big")
    try:
        facts = json.loads(data[at - length : at])
    except ValueError as error:
        raise Failure(BAD_DATA, f"{path}: header damaged") from error
    if facts["kind"] != kind:
        raise Failure(NOT_A_DATABASE, f"{path} is not a {kind}")
    return Image(facts, data[: at - length])


def trailer(facts: dict[str, Any]) -> bytes:
    text = json.dumps(facts).encode()
    return text + len(text).to_bytes(8, "big") + MAGIC


def write(path: Path, image: Image) -> None:
    """Write the file so that a killed engine leaves the old one or the new one."""
    part = path.with_name(f"~{path.name}.{os.getpid()}")
    try:
        part.write_bytes(image.pages + trailer(image.facts))
        if path.exists():
            part.chmod(path.stat().st_mode & 0o777)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise Failure(FILE, f"Cannot write {path}: {error.strerror}") from error
