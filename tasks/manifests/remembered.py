"""Manifests read before, kept on this machine so that they need not be fetched again: they never change.

Only a listing says what is on a target. What is kept here stands in for a manifest that was listed, of the
same size and with the same stamp (Stat.stamp) as when it was read, and is judged like one that was fetched,
by its signature above all. Where stamps are no digests, someone who can write to the target could put another
file there with the stamp of the one before; such stamps are believed only by who merely looks.

The file may be deleted at any time, and whatever is wrong with it makes a shelf slower to read, nothing else.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tasks.errors import StateError
from tasks.platform.files import create_private, private_folder
from tasks.records import Stat

FOLDER = "shelves"
_FILE = "manifests.sqlite"
_SECONDS = 2.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS manifests (place TEXT, name TEXT, bytes INTEGER, stamp TEXT, content BLOB,
    PRIMARY KEY (place, name)) WITHOUT ROWID
"""
_SELECT = "SELECT name, bytes, stamp, content FROM manifests WHERE place = ?"
_DELETE = "DELETE FROM manifests WHERE place = ? AND name = ?"
_KEEP = """
INSERT INTO manifests VALUES (?, ?, ?, ?, ?) ON CONFLICT (place, name) DO
    UPDATE SET bytes = excluded.bytes, stamp = excluded.stamp, content = excluded.content
    WHERE (bytes, stamp, content) IS NOT (excluded.bytes, excluded.stamp, excluded.content)
"""


class Remembered(NamedTuple):
    """What this machine keeps of the manifests in one place.

    ``merely_looked_at``: nothing is done on the strength of what is read.
    """

    state: Path
    place: str
    merely_looked_at: bool = False

    def known(self, stats: Iterable[Stat], *, stamps_prove: bool) -> dict[str, bytes]:
        """The contents of those listed objects that were read before and are as they were then."""
        if not (stamps_prove or self.merely_looked_at):
            return {}
        asked = {stat.name: (stat.bytes, stat.stamp) for stat in stats if stat.stamp}
        with suppress(sqlite3.Error, OSError, StateError), self._opened() as database:
            rows = database.execute(_SELECT, [self.place])
            return {
                name: content
                for name, size, stamp, content in rows
                if asked.get(name) == (size, stamp) and len(content) == size
            }
        return {}

    def keep(self, stats: Iterable[Stat], contents: Mapping[str, bytes], listed: Iterable[str]) -> None:
        """Keep what was read of listed objects; forget those of the place that are no longer ``listed``."""
        rows = [
            (self.place, stat.name, stat.bytes, stat.stamp, contents[stat.name])
            for stat in stats
            if stat.stamp and len(contents.get(stat.name, b"")) == stat.bytes
        ]
        with suppress(sqlite3.Error, OSError, StateError), self._opened() as database, database:
            kept = {name for name, *_ in database.execute(_SELECT, [self.place])}
            gone = kept.difference(listed)
            database.executemany(_DELETE, ((self.place, name) for name in gone))
            database.executemany(_KEEP, rows)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        path = private_folder(self.state / FOLDER) / _FILE
        with suppress(FileExistsError):
            create_private(path).close()
        try:
            with closing(sqlite3.connect(path, timeout=_SECONDS)) as database:
                database.execute("PRAGMA synchronous = OFF")
                database.execute(_SCHEMA)
                yield database
        except sqlite3.OperationalError:
            raise  # busy, or a full disk: the next one may read it
        except sqlite3.DatabaseError:
            path.unlink(missing_ok=True)  # damaged: it is made anew
            raise
