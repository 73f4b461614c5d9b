"""The contract's ledger (source_contract.py) as plain files.

Copying files promises one thing: each file is whole, as it stood at one moment. So each file shows by
itself whether it is torn: those in ``left`` and ``right`` consist of one byte value, over and over, and
are rewritten in place with another; ``commits`` grows by a byte a commit. What lies in two files belongs
to two moments, and nothing is asked of it.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tasks.sources.files.source import FilesOptions, FilesSource
from tests.contract.source_contract import Writer, one_value, running_writer

SIZE = 1 << 18
FILES = 8


def create_files(folder: Path) -> Path:
    """The ledger of about 4 MiB, settled: nothing in it was written just now."""
    folder.mkdir(mode=0o700)
    for half in ("left", "right"):
        (folder / half).mkdir()
        for number in range(FILES):
            (folder / half / f"{number}.dat").write_bytes(bytes([number]) * SIZE)
    (folder / "commits").touch()
    for path in (*folder.rglob("*"), folder):
        os.utime(path, ns=(1_700_000_000_123_456_789, 1_700_000_000_123_456_789))
    return folder


def writing_files(folder: Path, pause: float = 0.05) -> AbstractContextManager[Writer]:
    """A separate process that commits to the ledger every ``pause`` seconds."""
    program = Path(__file__).with_name("files_writer.py")
    return running_writer([sys.executable, str(program), str(folder), str(pause)])


def commits_in_files(connection: Any) -> int:
    """How many commits a copy counts; fails where a file is torn or missing."""
    cursor = connection.cursor()
    cursor.execute("SELECT sha256 FROM files WHERE path LIKE 'left/%' OR path LIKE 'right/%'")
    found = [row[0] for row in cursor.fetchall()]
    assert len(found) == 2 * FILES
    assert set(found) <= whole_files()
    return int(one_value(connection, "SELECT size FROM files WHERE path = 'commits'"))


@cache
def whole_files() -> frozenset[str]:
    """sha256 of every state that a file of the halves may be in."""
    return frozenset(hashlib.sha256(bytes([value]) * SIZE).hexdigest() for value in range(256))


def damage_file(copy: Path) -> None:
    """Alter three bytes in the middle of one file."""
    with (copy / "files" / "right" / "3.dat").open("r+b") as file:
        file.seek(SIZE // 2)
        file.write(b"###")


@contextmanager
def open_folder(folder: Path) -> Iterator[Any]:
    """A restored folder as a connection: by copying it once more."""
    source = FilesSource(FilesOptions(path=folder))
    with TemporaryDirectory() as room:
        copy, scratch = Path(room) / "copy", Path(room) / "scratch"
        copy.mkdir(mode=0o700)
        scratch.mkdir(mode=0o700)
        source.copy_live(copy)
        with source.open(copy, scratch) as connection:
            yield connection
