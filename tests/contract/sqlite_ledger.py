"""The contract's ledger (source_contract.py) in SQLite, its writer, and a way to damage a copy."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import AbstractContextManager, closing
from pathlib import Path

from tests.contract.source_contract import Writer, running_writer

FILLER = "the same words in every row "


def create_ledger(path: Path, journal_mode: str, rows: int = 2_000, filler_bytes: int = 1_000) -> Path:
    """A database of about 2 × rows × filler_bytes, in the given journal mode."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE entries (id INTEGER PRIMARY KEY, amount INTEGER NOT NULL)")
        connection.execute("CREATE TABLE counter (commits INTEGER NOT NULL)")
        connection.execute("INSERT INTO counter VALUES (0)")
        for half in ("left_half", "right_half"):
            connection.execute(f"CREATE TABLE {half} (id INTEGER PRIMARY KEY, value INTEGER, filler TEXT)")
            connection.execute(
                f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?) "
                f"INSERT INTO {half} SELECT i, i, substr(replace(hex(zeroblob(?)), '00', ?), 1, ?) FROM n",
                (rows, filler_bytes // len(FILLER) + 1, FILLER, filler_bytes),
            )
        connection.execute("COMMIT")
        mode = connection.execute(f"PRAGMA journal_mode = {journal_mode}").fetchone()[0]
        assert mode == journal_mode
    # Else the writers of a test would wait for this to reach the disk.
    with path.open("r+b") as stream:
        os.fsync(stream.fileno())
    return path


def writing(path: Path, pause: float = 0.05) -> AbstractContextManager[Writer]:
    """A separate process that commits to the ledger at ``path`` every ``pause`` seconds."""
    program = Path(__file__).with_name("sqlite_writer.py")
    return running_writer([sys.executable, str(program), str(path), str(pause)])


def damage_text(file: Path) -> None:
    """Alter three bytes inside one row's text, in the middle of the file."""
    data = bytearray(file.read_bytes())
    at = data.index(b"same words", len(data) // 2)
    data[at + 1 : at + 4] = b"###"
    file.write_bytes(data)
