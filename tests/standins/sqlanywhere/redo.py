"""The transaction log of the stand-in.

Layout: a page of 4096 bytes with JSON (``id`` of the database, ``start`` offset, ``chain`` there, ``name``),
then records: kind (1 byte), transaction, length, chain (4 bytes each, big-endian), payload. ``chain`` is the
CRC-32 of everything since the database was made: a log fits a database where offset *and* chain agree, which
is how a copy that was opened by mistake no longer takes production's later logs. The live file is grown ahead
with zeros, so a copy is smaller. Offsets count bytes of records and go on from log to log.
"""

from __future__ import annotations

import base64
import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.standins.sqlanywhere.codes import FILE, LOG, Failure

HEADER = 4096
GROWTH = 64 * 1024
HEAD = struct.Struct(">cIII")
STATEMENT, COMMIT, ROLLBACK, CHECKPOINT = b"S", b"C", b"R", b"K"
FIRST_OFFSET = 402_134


@dataclass(frozen=True)
class Record:
    kind: bytes
    transaction: int
    payload: bytes
    offset: int
    """Where it begins."""
    chain: int
    """After it."""

    @property
    def end(self) -> int:
        return self.offset + HEAD.size + len(self.payload)


class RedoLog:
    """A log file, read whole; `append` writes where the records end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            data = path.read_bytes()
        except OSError as error:
            raise Failure(LOG, f"Cannot open transaction log file {path}: {error.strerror}") from error
        try:
            self.facts: dict[str, Any] = json.loads(data[:HEADER].rstrip(b"\0"))
        except ValueError as error:
            raise Failure(LOG, f"{path} is not a transaction log file") from error
        self.start: int = self.facts["start"]
        self.records = list(_records(data, self.start, self.facts["chain"]))
        self.end = self.records[-1].end if self.records else self.start
        self.chain: int = self.records[-1].chain if self.records else self.facts["chain"]
        self._file = -1

    @classmethod
    def create(cls, path: Path, database_id: str, start: int, chain: int) -> RedoLog:
        facts = {"id": database_id, "start": start, "chain": chain, "name": path.name}
        try:
            path.write_bytes(json.dumps(facts).encode().ljust(HEADER, b"\0") + bytes(GROWTH))
        except OSError as error:
            raise Failure(FILE, f"Cannot create {path}: {error.strerror}") from error
        return cls(path)

    @property
    def bytes(self) -> int:
        """Of the file without the zeros ahead."""
        return HEADER + self.end - self.start

    def fits(self, offset: int, chain: int) -> bool:
        """Whether a database at this point can go on with this log."""
        if offset == self.start:
            return chain == self.facts["chain"]
        return any(record.end == offset and record.chain == chain for record in self.records)

    def after(self, offset: int) -> list[Record]:
        return [record for record in self.records if record.offset >= offset]

    def append(self, kind: bytes, transaction: int = 0, payload: bytes = b"") -> None:
        if self._file < 0:
            self._file = os.open(self.path, os.O_RDWR)
        chain = zlib.crc32(kind + transaction.to_bytes(4, "big") + payload, self.chain)
        record = HEAD.pack(kind, transaction, len(payload), chain) + payload
        at = self.bytes
        if os.fstat(self._file).st_size < at + len(record) + HEAD.size:
            os.ftruncate(self._file, at + len(record) + GROWTH)
        os.pwrite(self._file, record, at)
        self.end += len(record)
        self.chain = chain

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _records(data: bytes, offset: int, chain: int) -> Iterator[Record]:
    """Up to the zeros ahead, or to the first record that is not whole."""
    at = HEADER
    while at + HEAD.size <= len(data):
        kind, transaction, length, told = HEAD.unpack_from(data, at)
        payload = data[at + HEAD.size : at + HEAD.size + length]
        chain = zlib.crc32(kind + transaction.to_bytes(4, "big") + payload, chain)
        if chain != told or len(payload) != length:
            return
        yield Record(kind, transaction, payload, offset, chain)
        at += HEAD.size + length
        offset += HEAD.size + length


def dump_statement(sql: str, values: list[Any]) -> bytes:
    packed = [{"b": base64.b64encode(v).decode()} if isinstance(v, bytes) else v for v in values]
    return json.dumps([sql, packed]).encode()


def load_statement(payload: bytes) -> tuple[str, list[Any]]:
    sql, packed = json.loads(payload)
    return sql, [base64.b64decode(v["b"]) if isinstance(v, dict) else v for v in packed]
