"""What a copy's own schema says can neither open another file nor load a library while the copy is read."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tasks.sources.sqlite.connection import open_copy


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A database with rows, and a view that loads a library when it is read."""
    with closing(sqlite3.connect(tmp_path / "copy.db")) as connection:
        connection.execute("CREATE TABLE visits (id INTEGER PRIMARY KEY)")
        connection.execute("INSERT INTO visits VALUES (1), (2)")
        connection.execute("CREATE VIEW v AS SELECT load_extension('/tmp/x.so') AS loaded FROM visits")
        connection.commit()
    return tmp_path / "copy.db"


@pytest.mark.parametrize(
    "statement",
    [
        "ATTACH '{other}' AS other",
        "VACUUM INTO '{other}'",
        "SELECT load_extension('/tmp/x.so')",
        "SELECT * FROM v",
        "PRAGMA trusted_schema = ON",
    ],
)
def test_s1_a_copy_reaches_no_other_file_and_no_library(copy: Path, tmp_path: Path, statement: str) -> None:
    other = tmp_path / "other.db"
    with open_copy(copy) as connection:
        with pytest.raises(
            sqlite3.DatabaseError, match=r"not authorized|authorization denied|prohibited|unsafe use"
        ):
            connection.execute(statement.format(other=other)).fetchall()
        assert connection.execute("SELECT count(*) FROM visits").fetchone() == (2,)
        assert connection.execute("PRAGMA trusted_schema").fetchone() == (0,)
    assert not other.exists()
